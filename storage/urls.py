"""From a database URL to its storage."""

import importlib.util
import re
from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.credentials import Password
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import SqlStorage

FORMS: Final = "sqlite:////path/to/queue.db, postgresql://user@host/database, mysql://... or mariadb://..."
# The driver behind each database, and those that can be named instead.
DRIVERS: Final = {
    "sqlite": ("aiosqlite",),
    "postgresql": ("asyncpg",),
    "mysql": ("aiomysql", "asyncmy"),
    "mariadb": ("aiomysql", "asyncmy"),
}
ALIASES: Final = {"postgres": "postgresql"}


def storage_for(
    database: str,
    tables: Tables | None = None,
    *,
    node: int = 0,
    synchronous: str = "FULL",
    password: Password = lambda: None,
    patience: float = 30.0,
) -> SqlStorage:
    """A storage for `database`, not yet opened.

    `synchronous` is SQLite's; `node`, `password` and `patience` (seconds for a commit) are the others'. Raises
    StorageError for a URL that cannot be.
    """
    url = parse(database)
    tables = tables or Tables()
    settings: dict[str, Any] = {"node": node, "password": password, "patience": patience}
    match url.get_backend_name():
        case "sqlite":
            from gearmand_py.storage.sqlite import SqliteStorage

            if tables.schema:
                raise StorageError("--database-schema is PostgreSQL's: leave it out with SQLite")
            return SqliteStorage(url, tables, synchronous=synchronous)
        case "postgresql":
            from gearmand_py.storage.postgresql import PostgresStorage

            return PostgresStorage(url, tables, **settings)
    from gearmand_py.storage.mysql import MysqlStorage

    if tables.schema:
        raise StorageError("--database-schema is PostgreSQL's: name the database in --database instead")
    if not url.database:
        raise StorageError("--database names no database: use mysql://user@host/database")
    return MysqlStorage(url, tables, **settings)


def parse(database: str) -> URL:
    """The URL with its driver. Raises StorageError, which shows nothing that may be a password."""
    try:
        database.encode()
        url = make_url(database)
    except UnicodeEncodeError:
        raise StorageError("--database is not UTF-8") from None
    except (ArgumentError, ValueError):
        shown = repr(database) if re.fullmatch(r"[\w./-]+", database) else "--database"  # may hold a password
        raise StorageError(f"{shown} is not a database URL: use {FORMS}") from None
    name, _, driver = url.drivername.partition("+")
    name = ALIASES.get(name, name)
    if name not in DRIVERS:
        raise StorageError(f"{url.drivername}: is not a database this version can use: use {FORMS}")
    if driver not in DRIVERS[name]:  # none, or one that another program with the same URL uses
        driver = DRIVERS[name][0]
    if importlib.util.find_spec(driver) is None:
        raise StorageError(f"{url.drivername}: the driver is not installed: pip install {driver}")
    if password := url.query.get("password"):  # libpq's way; messages hide what is in the usual place
        url = url.difference_update_query(["password"]).set(password=str(password))
    return url.set(drivername=f"{name}+{driver}")
