"""One migration of a queue's tables at a time, so that servers that start together go one after the other.

Each database has a lock of its own kind for it. The word "migrate" in its name keeps it apart from the lock of the
server that has the queue: migrating while a server runs is no conflict of this kind.
"""

import contextlib
from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gearmand_py.storage.base import StorageUnavailable
from gearmand_py.storage.schema import Tables

# A migration may have a long table to change. MySQL knows no waiting without end that MariaDB also knows.
_MYSQL_SECONDS: Final = 3600
_NAME: Final = "gearmand-py migrate"


@contextlib.asynccontextmanager
async def migration_lock(connection: AsyncConnection, tables: Tables) -> AsyncIterator[None]:
    """Wait for the others and keep them away. What is not committed inside is rolled back.

    `connection` must not have been used before. Raises StorageUnavailable.
    """
    match connection.dialect.name:
        case "sqlite":
            # Its Python driver opens no transaction before DDL, which would then be done in pieces.
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
        case "postgresql":
            await _lock_postgresql(connection)
            yield
        case _:
            async with _mysql_lock(connection, tables):
                yield


async def _lock_postgresql(connection: AsyncConnection) -> None:
    """The lock ends with the transaction. Its reach is one database, and all queues in it wait for each other: two may
    be about to make the same schema.
    """
    # A stricter level would show the database as it was before the wait.
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
    key = int.from_bytes(_digest()[:8], signed=True)
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


@contextlib.asynccontextmanager
async def _mysql_lock(connection: AsyncConnection, tables: Tables) -> AsyncIterator[None]:
    """The lock is the session's and its reach the whole server, so its name has the database in it."""
    database = await connection.scalar(text("SELECT DATABASE()"))
    name = {"name": f"{_NAME} {_digest(database, tables.prefix).hex()}"}
    got = await connection.scalar(text(f"SELECT GET_LOCK(:name, {_MYSQL_SECONDS})"), name)
    if got != 1:
        raise StorageUnavailable(f"another migration has not ended for {_MYSQL_SECONDS} seconds: see SHOW PROCESSLIST")
    try:
        yield
    except BaseException:
        await connection.invalidate()  # who knows what state it is in; the lock ends with it
        raise
    await connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)


def _digest(*names: str | None) -> bytes:
    """16 bytes, as MySQL's lock names end at 64 characters."""
    return blake2b("\0".join([_NAME, *map(str, names)]).encode(), digest_size=16).digest()
