"""From a database URL to gearmand's queue in it."""

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.credentials import Password
from gearmand_py.storage.gearmand.queue import Source, about_source
from gearmand_py.storage.urls import parse, storage_for


def source_of(database: str, table: str | None = None, password: Password = lambda: None) -> Source:
    """The queue in `database`, a URL; not yet opened. Without `table` the one that gearmand takes by itself.

    Raises StorageError for a URL that cannot be.
    """
    try:
        url = parse(database)
        if url.get_backend_name() == "sqlite":
            from gearmand_py.storage.gearmand.sqlite import SqliteSource

            return SqliteSource(url, table)
        storage = storage_for(database, password=password)
    except StorageError as error:
        raise about_source(error) from None
    from gearmand_py.storage.gearmand.networked import MysqlSource, PostgresSource
    from gearmand_py.storage.networked import NetworkedStorage

    assert isinstance(storage, NetworkedStorage)
    return (PostgresSource if url.get_backend_name() == "postgresql" else MysqlSource)(storage, table)
