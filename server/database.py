"""The database of the settings: its storage, and its tables brought up to date."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from gearmand_py.migrations import SchemaState, state, upgrade
from gearmand_py.server.config import DATABASE_NAMES, Settings, default_state_directory, made_by_us, without_password
from gearmand_py.storage.base import SchemaTooNew, SchemaTooOld, StorageError
from gearmand_py.storage.builtin import BUILTIN, NoStorage
from gearmand_py.storage.credentials import password_from
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.urls import storage_for

log = logging.getLogger(__name__)

ServerStorage = SqlStorage | NoStorage

SHORTEST_PATIENCE: Final = 1.0  # seconds that a commit may take, however little submitters are to wait


def storage_of(settings: Settings) -> ServerStorage:
    """The storage of a server, not opened; that of `builtin` keeps nothing. Raises StorageError."""
    return NoStorage() if settings.database == BUILTIN else make_storage(settings)


def make_storage(settings: Settings) -> SqlStorage:
    """The database of the settings, not opened. Raises StorageError."""
    if settings.database == BUILTIN:
        raise StorageError("builtin keeps nothing, so it has no tables: give --database, or another --queue-type")
    return storage_for(
        settings.database,
        Tables(settings.table_prefix, settings.database_schema or None),
        node=settings.node,
        synchronous=settings.synchronous.upper(),
        password=password_from(Path(settings.database_password_file) if settings.database_password_file else None),
        patience=max(settings.storage_timeout, SHORTEST_PATIENCE),
    )


def make_directory(settings: Settings) -> list[str]:
    """The default places get their directory; returns it if they are used. Raises StorageError."""
    directory = default_state_directory()
    if not (made_by_us(settings.database) or Path(settings.log_file).parent == directory):
        return []
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the state directory: {error}; give --database another place") from None
    return [str(directory)]


async def schema_state(storage: SqlStorage, connection: AsyncConnection) -> SchemaState:
    """How the schema stands; what a newer program migrated is left alone. Raises StorageError."""
    with told_by(storage):
        found = await state(connection, storage.tables)
        await connection.rollback()
    if found is SchemaState.NEWER:
        raise SchemaTooNew(
            f"{storage.description} was made by a newer gearmand-py: start that version, "
            "or give this one another --database"
        )
    return found


async def prepare_schema(settings: Settings, storage: SqlStorage) -> None:
    """The embedded SQLite file migrates itself, another database if told to. Raises StorageError."""
    found = await schema_state(storage, await storage.connection())
    if found is SchemaState.CURRENT:
        return
    if not (settings.migrate or storage.embedded):
        lack = "has no tables of gearmand-py yet" if found is SchemaState.EMPTY else "has older tables"
        raise SchemaTooOld(f"{storage.description} {lack}: run {migrate_command(settings)}, or start with --migrate")
    if found is not SchemaState.EMPTY:
        log.info("migrating %s", storage.description)
    await bring_up_to_date(storage)


async def bring_up_to_date(storage: SqlStorage) -> bool:
    """Migrate; whether there was something to do. Raises StorageError."""
    with told_by(storage):
        return await upgrade(storage.engine, storage.tables)


@contextmanager
def told_by(storage: SqlStorage) -> Iterator[None]:
    """Errors of the schema's side in the storage's words: where, and what to do."""
    try:
        yield
    except StorageError as error:
        if isinstance(error.__cause__, SQLAlchemyError | OSError):
            raise storage.translate(error.__cause__) from error
        raise StorageError(f"{storage.description}: {error}") from error


def migrate_command(settings: Settings) -> str:
    """The command that brings the settings' database up to date; a password is to be filled in."""
    return shlex.join(["gearmand-py", "migrate", *database_words(settings)])


def database_words(settings: Settings) -> list[str]:
    """The options that name the settings' tables, without a password."""
    given = {name: value for name in DATABASE_NAMES if (value := getattr(settings, name))}
    given["database"] = without_password(settings.database)
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
