"""What `gearmand-py migrate` does."""

from gearmand_py.migrations import HEAD, SchemaState, sql
from gearmand_py.server.config import Settings
from gearmand_py.server.database import bring_up_to_date, make_directory, make_storage, migrate_command, schema_state


async def migrate(settings: Settings) -> str:
    """Bring the database up to date; returns what was done. Raises StorageError."""
    make_directory(settings)
    async with make_storage(settings) as storage:
        await schema_state(storage, await storage.connection())
        done = await bring_up_to_date(storage)
        return f"{storage.description} is {'now at' if done else 'at'} revision {HEAD}{'' if done else ' already'}"


async def check_schema(settings: Settings) -> tuple[bool, str]:
    """Is the schema current, and a line that says so; also beside a running server. Raises StorageError."""
    storage = make_storage(settings)
    try:
        found = await schema_state(storage, await storage.look())
    finally:
        await storage.close()
    if found is SchemaState.CURRENT:
        return True, f"{storage.description} is at revision {HEAD}"
    return False, f"{storage.description} needs a migration: run {migrate_command(settings)}"


def migration_sql(settings: Settings) -> str:
    """The script for an empty database. Raises StorageError."""
    storage = make_storage(settings)
    return sql(storage.url, storage.tables)
