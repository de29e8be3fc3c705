"""How a database comes to the schema of this program: `state()` tells, `upgrade()` does, `sql()` prints.

A revision is one file in `versions/`, numbered 0001, 0002, ...; a new one is also added to `REVISIONS` here. It spells
its tables out and never imports `storage.schema`, which goes on changing. It can be run again where it was cut short:
not every database takes back a CREATE TABLE. The view is in no revision: an upgrade drops it first and makes the newest
last, so it never stands in the way of a change to the table.

All take the `Tables` that say what the queue's tables are called. The queue shares its database with whoever is there:
neither another prefix nor another PostgreSQL schema is touched.

Alembic is imported when something must be migrated, so a start that finds its tables as they should be does not pay
for it. Alembic keeps its context in globals: one upgrade at a time in a thread.
"""

import contextlib
import enum
import io
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any, Final, TextIO

from sqlalchemy import URL, Connection, String, column, inspect, literal_column, make_url, select, table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.migrations.lock import migration_lock
from gearmand_py.storage.base import SchemaTooNew, StorageError
from gearmand_py.storage.schema import DEFAULT, Tables

__all__ = ["HEAD", "REVISIONS", "SchemaState", "SchemaUnknown", "sql", "state", "upgrade"]

REVISIONS: Final = ("0001", "0002", "0003")
HEAD: Final = REVISIONS[-1]

# The table as revision 0001 left it: what it takes to adopt one that has lost its version.
_FIRST_COLUMNS: Final = frozenset(
    ("id", "function_name", "unique_key", "priority", "attempts", "node", "run_at", "reducer", "data")
)

_NO_SUCH_TABLE: Final = 1146  # of MySQL and MariaDB


class SchemaState(enum.Enum):
    """How the tables of a database stand to this program."""

    EMPTY = "empty"
    CURRENT = "current"
    OLD = "old"
    NEWER = "newer"


class SchemaUnknown(StorageError):
    """The tables are not those of any revision; only a person can say whose they are."""


async def state(connection: AsyncConnection, tables: Tables = DEFAULT) -> SchemaState:
    """Compare the database with this program, changing nothing.

    A `gearman_job` without a version is what a restored backup of that table alone, or a first migration cut short,
    leaves behind. With the columns and key of revision 0001 it is OLD, and `upgrade` adopts it with the jobs in it.

    Raises SchemaUnknown when the table is another, or one is gone while the version is there; StorageError when the
    database cannot be read.
    """
    with _plain_errors("cannot read the schema"):
        return await connection.run_sync(_state, tables)


async def upgrade(engine: AsyncEngine, tables: Tables = DEFAULT) -> bool:
    """Bring the database to HEAD, with the view; where it is there already, only look. Returns whether it acted.

    All of it or nothing on a database whose DDL is transactional (SQLite, PostgreSQL). MySQL and MariaDB commit each
    statement, so that a migration cut short leaves a part: another upgrade goes on from there. Raises SchemaTooNew,
    SchemaUnknown, or StorageError with the database's reason.
    """
    with _plain_errors(f"cannot migrate to revision {HEAD}"):
        async with engine.connect() as connection:
            if await _is_complete(connection, tables):
                return False
        async with engine.connect() as connection, migration_lock(connection, tables):
            # Looked at again: another server may have migrated before this one got the lock.
            if await _is_complete(connection, tables):
                return False
            await connection.run_sync(_upgrade, tables)
            await connection.commit()
            return True


def sql(url: str | URL, tables: Tables = DEFAULT, start: str | None = None) -> str:
    """The script that brings a database at revision `start`, or an empty one, to HEAD. Connects to nothing.

    It is for `sqlite3`, `psql` or `mysql`; give these two an option to stop at the first error.

    Raises SchemaTooNew for a `start` that this program does not know.
    """
    if start is not None and start not in REVISIONS:
        raise SchemaTooNew(_too_new([start]))
    if start == HEAD:
        return ""
    output = io.StringIO()
    _run_alembic(output, f"{start or 'base'}:{HEAD}", tables=tables, url=make_url(url))
    return output.getvalue().strip() + "\n"


def _state(connection: Connection, tables: Tables) -> SchemaState:
    revisions = _revisions(connection, tables)
    if not revisions:
        return _unversioned_state(connection, tables)
    if not revisions.issubset(REVISIONS):
        return SchemaState.NEWER
    if not _has(connection, tables.job_name, tables.schema):
        raise SchemaUnknown(
            f"{tables.version_name} says the schema is at revision {', '.join(sorted(revisions))}, but there is no"
            f" table {tables.job_name}: restore it from a backup, or drop {tables.version_name} to start with an empty"
            " queue"
        )
    if revisions != {HEAD}:
        return SchemaState.OLD
    if not _has(connection, tables.node_name, tables.schema):
        raise SchemaUnknown(
            f"{tables.version_name} says the schema is at revision {HEAD}, but there is no table {tables.node_name}:"
            f" restore it from a backup, or drop {tables.version_name} and run gearmand-py migrate, which makes it anew"
        )
    return SchemaState.CURRENT


def _revisions(connection: Connection, tables: Tables) -> set[str]:
    """What the version table holds: one revision, or none if the table is not there or was never filled."""
    if not _has(connection, tables.version_name, tables.schema):
        return set()
    version = column("version_num", String)
    return set(
        connection.scalars(select(version).select_from(table(tables.version_name, version, schema=tables.schema)))
    )


def _unversioned_state(connection: Connection, tables: Tables) -> SchemaState:
    if not _has(connection, tables.job_name, tables.schema):
        return SchemaState.EMPTY
    inspector = inspect(connection)
    columns = {found["name"] for found in inspector.get_columns(tables.job_name, tables.schema)}
    # A copy made by CREATE TABLE AS has the columns but no key, and without the key a batch is not safe to repeat.
    key = inspector.get_pk_constraint(tables.job_name, tables.schema)["constrained_columns"]
    if columns == _FIRST_COLUMNS and key == ["id"]:
        return SchemaState.OLD
    raise SchemaUnknown(
        f"there is a table {tables.job_name}, but no {tables.version_name} that tells its revision: restore both from"
        f" the same backup, or rename {tables.job_name} if it is not this program's"
    )


async def _is_complete(connection: AsyncConnection, tables: Tables) -> bool:
    """Current, and with its view, which an upgrade of MySQL that was cut short has not. A server does without."""
    found = await state(connection, tables)
    if found is SchemaState.NEWER:
        raise SchemaTooNew(_too_new(sorted(await connection.run_sync(_revisions, tables))))
    return found is SchemaState.CURRENT and await connection.run_sync(_has_view, tables)


def _has_view(connection: Connection, tables: Tables) -> bool:
    return _has(connection, tables.view_name, tables.schema)


def _has(connection: Connection, name: str, schema: str | None) -> bool:
    """Is there such a table or view? MariaDB's DESCRIBE fails while another session makes it; a query waits."""
    if connection.dialect.name not in {"mysql", "mariadb"}:
        return inspect(connection).has_table(name, schema)
    try:
        connection.execute(select(literal_column("1")).select_from(table(name, schema=schema)).limit(0))
    except DBAPIError as error:
        if _mysql_code(error) != _NO_SUCH_TABLE:
            raise
        return False
    return True


def _mysql_code(error: DBAPIError) -> object:
    return error.orig.args[0] if error.orig and error.orig.args else None


def _too_new(revisions: list[str]) -> str:
    return (
        f"the schema is at revision {', '.join(revisions)}, this program knows up to {HEAD}:"
        " use the gearmand-py that migrated the database, or a newer one"
    )


def _upgrade(connection: Connection, tables: Tables) -> None:
    _run_alembic(io.StringIO(), HEAD, tables=tables, connection=connection)


def _run_alembic(output: TextIO, revision: str, **attributes: Any) -> None:
    """`attributes` is what env.py gets: the `tables`; a `connection` to migrate, or a `url` to write the script for."""
    from alembic import command
    from alembic.config import Config

    # The scripts may lie in a zip file; as_file gives them a place on disk for as long as they are read.
    with as_file(files("gearmand_py.migrations")) as scripts:
        config = Config(output_buffer=output, attributes=attributes)
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        command.upgrade(config, revision, sql="url" in attributes)


@contextlib.contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """What the database says, without the wrapping of SQLAlchemy, which shows the statement and links to a website."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:  # asyncpg lets the network's own errors through
        raise StorageError(f"{what}: {_reason(error)}") from error


def _reason(error: SQLAlchemyError | OSError) -> str:
    """The message of the database in one line. SQLAlchemy's asyncpg puts a class before it, PyMySQL a number."""
    driver = getattr(error, "orig", None) or error
    said = driver.__cause__ or driver
    if len(said.args) == 2 and isinstance(said.args[0], int):
        said = said.args[1]
    return " ".join(str(said).split())
