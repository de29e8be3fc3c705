"""From a database URL to its storage."""

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.sqlite import SqliteStorage


def storage_for(database: str, *, synchronous: str = "FULL") -> SqlStorage:
    """A storage for `database`, not yet opened. Raises StorageError for a URL that cannot be."""
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        shown = "--database" if "@" in database else repr(database)  # what is before an @ may be a password
        raise StorageError(f"{shown} is not a database URL: use sqlite:////path/to/queue.db") from None
    if url.get_backend_name() == "sqlite":
        return SqliteStorage(url, synchronous=synchronous)
    raise StorageError(f"{url.drivername}: is not a database this version can use: use sqlite:////path/to/queue.db")
