"""The databases that migrations are tried on: how to get an empty one, and how to list what is in it.

A further database joins with an entry in DRIVERS, CATALOGUES and SCRIPT_RUNNERS.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gearmand_py import migrations
from gearmand_py.migrations import SchemaState
from gearmand_py.storage import view
from gearmand_py.storage.base import RUN_AT_ONCE, JobRecord, id_floor
from gearmand_py.storage.schema import DEFAULT, Tables
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server

# 2024-02-29T12:30:15.250Z
SUBMITTED_MS: Final = 1_709_209_815_250
ID: Final = id_floor(SUBMITTED_MS, 7)
JOB: Final = JobRecord(ID, b"resize", b"k", 1, 0, 7, RUN_AT_ONCE, None, b"payload")
COLUMNS: Final = [column.name for column in DEFAULT.job.columns]

DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}

Catalogue = set[tuple[Any, ...]]


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[URL]:
    """A database of the test's own."""
    if kind == "sqlite":
        # The driver's 5 s for a lock are few where others wait for the same disk.
        yield URL.create(DRIVERS[kind], database=str(folder / f"{secrets.token_hex(6)}.db"), query={"timeout": "60"})
        return
    server = shared_server(kind)
    url = postgresql_database(server) if kind == "postgresql" else server.create_database()
    try:
        yield url.set(drivername=DRIVERS[kind])
    finally:
        server.drop_database(url)


def postgresql_database(server: DatabaseServer, encoding: str = "UTF8") -> URL:
    """A server's own encoding depends on where it comes from."""
    name = f"gearmand_py_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    return server.url.set(database=name)


# ---- what is in a database: everything but the version tables


def sqlite_catalogue(connection: Connection) -> Catalogue:
    rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE tbl_name NOT LIKE '%alembic%'"))
    return {(kind, name, " ".join((statement or "").split())) for kind, name, statement in rows}


RELATION: Final = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^(pg_|information_schema)' AND c.relname !~ 'alembic'
"""
POSTGRESQL_CATALOGUE: Final = (
    f"""SELECT n.nspname, c.relname, CAST(c.relkind AS text), CASE c.relkind
        WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid)
        ELSE array_to_string(c.reloptions, ',') END {RELATION}""",
    f"""SELECT relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, atthasdef,
        col_description(oid, attnum) FROM pg_attribute JOIN (SELECT c.* {RELATION}) AS c ON oid = attrelid
        WHERE attnum > 0""",
    f"""SELECT relname, conname, pg_get_constraintdef(o.oid)
        FROM pg_constraint o JOIN (SELECT c.* {RELATION}) AS c ON c.oid = conrelid""",
)


def postgresql_catalogue(connection: Connection) -> Catalogue:
    return {tuple(row) for query in POSTGRESQL_CATALOGUE for row in connection.execute(text(query))}


def mysql_catalogue(connection: Connection) -> Catalogue:
    here = connection.scalar(text("SELECT DATABASE()"))
    names = [name for name in connection.scalars(text("SHOW TABLES")) if "alembic" not in name]
    made = {name: connection.execute(text(f"SHOW CREATE TABLE `{name}`")).one()[1] for name in names}
    return {(name, statement.replace(f"`{here}`.", "")) for name, statement in made.items()}


CATALOGUES: Final[dict[str, Callable[[Connection], Catalogue]]] = {
    "sqlite": sqlite_catalogue,
    "postgresql": postgresql_catalogue,
    "mysql": mysql_catalogue,
}


async def catalogue(engine: AsyncEngine) -> Catalogue:
    async with engine.connect() as connection:
        return await connection.run_sync(CATALOGUES[engine.dialect.name])


# ---- a script as it is printed, in one piece


async def sqlite_script(driver: Any, script: str) -> None:
    await driver.executescript(script)


async def postgresql_script(driver: Any, script: str) -> None:
    await driver.execute(script)


async def mysql_script(driver: Any, script: str) -> None:
    async with driver.cursor() as cursor:
        await cursor.execute(script)
        while await cursor.nextset():
            pass
    await driver.commit()


SCRIPT_RUNNERS: Final[dict[str, Callable[[Any, str], Awaitable[None]]]] = {
    "sqlite": sqlite_script,
    "postgresql": postgresql_script,
    "mysql": mysql_script,
}


async def run_script(engine: AsyncEngine, tables: Tables = DEFAULT) -> None:
    script = migrations.sql(f"{engine.url.drivername}://", tables)
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await SCRIPT_RUNNERS[engine.dialect.name](driver, script)


# ---- what tests do with a database


async def state(engine: AsyncEngine, tables: Tables = DEFAULT) -> SchemaState:
    async with engine.connect() as connection:
        return await migrations.state(connection, tables)


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def create_fresh(engine: AsyncEngine, tables: Tables = DEFAULT) -> None:
    """The schema as storage/schema.py and view.py have it, with no migration involved."""
    async with engine.begin() as connection:
        await connection.run_sync(tables.metadata.create_all)
        await connection.exec_driver_sql(view.view_ddl(engine.dialect, tables))


async def add_jobs(engine: AsyncEngine, *jobs: JobRecord, tables: Tables = DEFAULT) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(tables.job), [dict(zip(COLUMNS, job, strict=True)) for job in jobs])


async def all_jobs(engine: AsyncEngine, tables: Tables = DEFAULT) -> list[JobRecord]:
    async with engine.connect() as connection:
        rows = await connection.execute(select(tables.job).order_by(tables.job.c.id))
        return [JobRecord(*row) for row in rows]


async def shown(engine: AsyncEngine, tables: Tables = DEFAULT, before: str | None = None) -> list[dict[str, Any]]:
    """The rows of the view, in a session in which the statement `before` was done."""
    name = engine.dialect.identifier_preparer.format_table(tables.job, name=tables.view_name)
    async with engine.connect() as connection:
        if before:
            await connection.execute(text(before))
        rows = await connection.execute(text(f"SELECT * FROM {name} ORDER BY id"))
        return [dict(row) for row in rows.mappings()]
