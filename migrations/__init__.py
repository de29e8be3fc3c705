"""How a database comes to the schema of this program: `state()` tells, `upgrade()` does, `sql()` prints.

A revision is one file in `versions/`, numbered 0001, 0002, ...; a new one is also added to `REVISIONS` here. It spells
its tables out and never imports `storage.schema`, which goes on changing. It can be run again where it was cut short:
not every database takes back a CREATE TABLE. The view is in no revision: an upgrade drops it first and makes the newest
last, so it never stands in the way of a change to the table.

Alembic is imported when something must be migrated, so a start that finds its tables as they should be does not pay
for it. Alembic keeps its context in globals: one upgrade at a time in a process.
"""

import contextlib
import enum
import io
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any, Final, TextIO

from sqlalchemy import URL, Connection, String, column, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.storage.base import SchemaTooNew, StorageError
from gearmand_py.storage.schema import JOB_TABLE

__all__ = ["HEAD", "REVISIONS", "VERSION_TABLE", "SchemaState", "SchemaUnknown", "sql", "state", "upgrade"]

# Alembic's usual name would collide with the application whose database we may share.
VERSION_TABLE: Final = "gearman_alembic_version"
REVISIONS: Final = ("0001",)
HEAD: Final = REVISIONS[-1]

# The table as revision 0001 left it: what it takes to adopt one that has lost its version.
_FIRST_COLUMNS: Final = frozenset(
    ("id", "function_name", "unique_key", "priority", "attempts", "node", "run_at", "reducer", "data")
)


class SchemaState(enum.Enum):
    """How the tables of a database stand to this program."""

    EMPTY = "empty"
    CURRENT = "current"
    OLD = "old"
    NEWER = "newer"


class SchemaUnknown(StorageError):
    """The tables are not those of any revision; only a person can say whose they are."""


async def state(connection: AsyncConnection) -> SchemaState:
    """Compare the database with this program, changing nothing.

    A `gearman_job` without a version is what a restored backup of that table alone, or a first migration cut short,
    leaves behind. With the columns and key of revision 0001 it is OLD, and `upgrade` adopts it with the jobs in it.

    Raises SchemaUnknown when the table is another, or is gone while its version is there; StorageError when the
    database cannot be read.
    """
    with _plain_errors("cannot read the schema"):
        return await connection.run_sync(_state)


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to HEAD; where it is there already, only look.

    All of it or nothing on a database whose DDL is transactional (SQLite, PostgreSQL). Raises SchemaTooNew,
    SchemaUnknown, or StorageError with the database's reason.
    """
    with _plain_errors(f"cannot migrate to revision {HEAD}"):
        async with engine.connect() as connection:
            if await _is_current(connection):
                return
        async with engine.begin() as connection:
            await _lock(connection)
            # Looked at again: another server may have migrated before this one got the lock.
            if not await _is_current(connection):
                await connection.run_sync(_upgrade)


def sql(url: str | URL, start: str | None = None) -> str:
    """The script that brings a database at revision `start`, or an empty one, to HEAD. Connects to nothing.

    Raises SchemaTooNew for a `start` that this program does not know.
    """
    if start is not None and start not in REVISIONS:
        raise SchemaTooNew(_too_new([start]))
    if start == HEAD:
        return ""
    output = io.StringIO()
    _run_alembic(output, f"{start or 'base'}:{HEAD}", url=url)
    return output.getvalue().strip() + "\n"


def _state(connection: Connection) -> SchemaState:
    revisions = _revisions(connection)
    if not revisions:
        return _unversioned_state(connection)
    if not revisions.issubset(REVISIONS):
        return SchemaState.NEWER
    if not inspect(connection).has_table(JOB_TABLE):
        raise SchemaUnknown(
            f"{VERSION_TABLE} says the schema is at revision {', '.join(sorted(revisions))}, but there is no table"
            f" {JOB_TABLE}: restore it from a backup, or drop {VERSION_TABLE} to start with an empty queue"
        )
    return SchemaState.CURRENT if revisions == {HEAD} else SchemaState.OLD


def _revisions(connection: Connection) -> set[str]:
    """What the version table holds: one revision, or none if the table is not there or was never filled."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return set()
    version = column("version_num", String)
    return set(connection.scalars(select(version).select_from(table(VERSION_TABLE, version))))


def _unversioned_state(connection: Connection) -> SchemaState:
    inspector = inspect(connection)
    if not inspector.has_table(JOB_TABLE):
        return SchemaState.EMPTY
    columns = {found["name"] for found in inspector.get_columns(JOB_TABLE)}
    # A copy made by CREATE TABLE AS has the columns but no key, and without the key a batch is not safe to repeat.
    key = inspector.get_pk_constraint(JOB_TABLE)["constrained_columns"]
    if columns == _FIRST_COLUMNS and key == ["id"]:
        return SchemaState.OLD
    raise SchemaUnknown(
        f"there is a table {JOB_TABLE}, but no {VERSION_TABLE} that tells its revision: restore both from the same"
        f" backup, or rename {JOB_TABLE} if it is not this program's"
    )


async def _is_current(connection: AsyncConnection) -> bool:
    found = await state(connection)
    if found is SchemaState.NEWER:
        raise SchemaTooNew(_too_new(sorted(await connection.run_sync(_revisions))))
    return found is SchemaState.CURRENT


def _too_new(revisions: list[str]) -> str:
    return (
        f"the schema is at revision {', '.join(revisions)}, this program knows up to {HEAD}:"
        " use the gearmand-py that migrated the database, or a newer one"
    )


async def _lock(connection: AsyncConnection) -> None:
    """Let servers that start together migrate one after the other.

    SQLite also needs the word: its Python driver opens no transaction before DDL, which would then be done in pieces.
    """
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection) -> None:
    _run_alembic(io.StringIO(), HEAD, connection=connection)


def _run_alembic(output: TextIO, revision: str, **attributes: Any) -> None:
    """`attributes` is what env.py gets: a `connection` to migrate, or a `url` to write the script for."""
    from alembic import command
    from alembic.config import Config

    # The scripts may lie in a zip file; as_file gives them a place on disk for as long as they are read.
    with as_file(files("gearmand_py.migrations")) as scripts:
        config = Config(output_buffer=output, attributes=attributes)
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        command.upgrade(config, revision, sql="url" in attributes)


@contextlib.contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """What the database says, without SQLAlchemy's wrapping, which shows the statement and links to a website."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise StorageError(f"{what}: {reason}") from error
