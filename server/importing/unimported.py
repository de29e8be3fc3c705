"""A look for jobs that a C gearmand has left in the server's own database, where nobody runs them."""

import shlex
from contextlib import suppress
from typing import Final

from sqlalchemy import Connection, func, inspect, literal_column, select, table, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gearmand_py.server.config import Settings, without_password
from gearmand_py.server.database import ServerStorage, database_words
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.gearmand.queue import REQUIRED
from gearmand_py.storage.gearmand.sources import source_of
from gearmand_py.storage.imports import Imports
from gearmand_py.storage.sql import SqlStorage

SCHEMA_OF: Final = text(
    "SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE pg_class.oid = to_regclass(:name)"
)
MOST_COUNTED: Final = 1_000_000  # a start does not wait for more


async def unimported(settings: Settings, storage: ServerStorage) -> list[str]:
    """A line that tells of a queue of gearmand's with jobs that were not imported; none if there is none.

    `storage` is open, its tables up to date. What may not be looked at is not there. Raises StorageError.
    """
    if not isinstance(storage, SqlStorage):
        return []
    own = settings.table_prefix.removesuffix("_") or None  # of --mysql-table and the like
    source = source_of(storage.url.render_as_string(hide_password=False), own)
    connection = await storage.connection()
    try:
        found = await connection.run_sync(queue_in, own or source.default_table)
    except SQLAlchemyError:
        return []
    finally:
        await let_go(connection)
    if not found:
        return []
    source.table, rows = found
    record = await Imports(storage).find(source.id)
    if not rows or (record and record.finished_at and rows == record.source_rows):
        return []
    jobs = "a job" if rows == 1 else f"{rows:,} jobs" if rows < MOST_COUNTED else f"{MOST_COUNTED:,} jobs or more"
    begun = f", of which {record.rows_done:,} are done already" if record and record.rows_done <= rows else ""
    left = f"table {source.table} holds {jobs} of the C gearmand{begun}, which this server does not run"
    return [f"{left}: stop that one, and import them with {import_command(settings, own)}"]


def queue_in(connection: Connection, name: str) -> tuple[str, int] | None:
    """The queue's full name as a `Source` has it, and its number of rows, at most MOST_COUNTED; None without one."""
    inspector = inspect(connection)
    if not inspector.has_table(name):
        return None
    if not {column["name"] for column in inspector.get_columns(name)}.issuperset(REQUIRED):
        return None
    some = select(literal_column("1").label("one")).select_from(table(name)).limit(MOST_COUNTED).subquery()
    rows = connection.scalar(select(func.count()).select_from(some)) or 0
    schema = connection.scalar(SCHEMA_OF, {"name": name}) if connection.dialect.name == "postgresql" else None
    return (f"{schema}.{name}" if schema else name), rows


async def let_go(connection: AsyncConnection) -> None:
    """End the transaction of the look."""
    with suppress(SQLAlchemyError, StorageError):
        await connection.rollback()


def import_command(settings: Settings, table_name: str | None) -> str:
    """The command that imports from the settings' database into itself; a password is to be filled in."""
    words = ["gearmand-py", "import", "--from", without_password(settings.database)]
    named = ["--table", table_name] if table_name else []
    return shlex.join([*words, *named, *database_words(settings)])
