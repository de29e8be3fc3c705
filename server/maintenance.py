"""What `gearmand-py migrate` does."""

from gearmand_py.migrations import HEAD, SchemaState, sql, upgrade
from gearmand_py.server.app import make_directory, make_storage, schema_state
from gearmand_py.server.config import Settings


async def migrate(settings: Settings) -> str:
    """Bring the database up to date; returns what was done. Raises StorageError."""
    make_directory(settings)
    async with make_storage(settings) as storage:
        await schema_state(storage, await storage.connection())
        done = await upgrade(storage.engine, storage.tables)
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
    return False, f"{storage.description} needs a migration: run gearmand-py migrate"


def migration_sql(settings: Settings) -> str:
    """The script for an empty database. Raises StorageError."""
    storage = make_storage(settings)
    return sql(storage.url, storage.tables)
