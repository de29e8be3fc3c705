"""What PostgreSQL alone has: schemas, roles without rights, encodings, transaction isolation by default."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gearmand_py import migrations
from gearmand_py.migrations import SchemaState
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.schema import DEFAULT, Tables
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.migrations.conftest import MakeEngine
from tests.migrations.databases import (
    DRIVERS,
    ID,
    JOB,
    add_jobs,
    all_jobs,
    catalogue,
    create_fresh,
    execute,
    postgresql_database,
    run_script,
    shown,
    state,
)

QUEUES = Tables("", "queues")


@pytest.fixture
def kind() -> str:
    return "postgresql"


@pytest.fixture
def server() -> DatabaseServer:
    return shared_server("postgresql")


async def create_schema(engine: AsyncEngine, tables: Tables) -> None:
    await execute(engine, f'CREATE SCHEMA IF NOT EXISTS "{tables.schema}"')


class TestSchema:
    @pytest.mark.parametrize("tables", [QUEUES, Tables("Mail_", "Queues"), Tables("", "select")], ids=str)
    async def test_every_road_makes_the_same_names(self, new_engine: MakeEngine, tables: Tables) -> None:
        fresh, upgraded, by_script = new_engine(), new_engine(), new_engine()
        await create_schema(fresh, tables)
        await create_fresh(fresh, tables)
        await migrations.upgrade(upgraded, tables)
        await run_script(by_script, tables)
        assert await catalogue(fresh) == await catalogue(upgraded) == await catalogue(by_script)
        assert await state(by_script, tables) is SchemaState.CURRENT
        assert not await migrations.upgrade(by_script, tables)

    async def test_autogenerate_finds_nothing_to_do(self, engine: AsyncEngine) -> None:
        await migrations.upgrade(engine, QUEUES)
        options = {
            "version_table": QUEUES.version_name,
            "version_table_schema": QUEUES.schema,
            "include_schemas": True,
            "compare_type": True,
        }

        def differences(connection: Connection) -> int:
            context = MigrationContext.configure(connection, opts=options)
            return len(list(compare_metadata(context, QUEUES.metadata)))

        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == 0

    async def test_looking_makes_no_schema(self, engine: AsyncEngine) -> None:
        assert await state(engine, QUEUES) is SchemaState.EMPTY
        async with engine.connect() as connection:
            found = "SELECT count(*) FROM pg_namespace WHERE nspname = 'queues'"
            assert await connection.scalar(text(found)) == 0

    async def test_two_schemas_know_nothing_of_each_other(self, engine: AsyncEngine) -> None:
        await migrations.upgrade(engine, QUEUES)
        assert await state(engine) is SchemaState.EMPTY
        assert await migrations.upgrade(engine)
        assert await migrations.upgrade(engine, Tables("", "Queues"))
        await add_jobs(engine, JOB, tables=QUEUES)
        assert await all_jobs(engine, QUEUES) == [JOB]
        assert len(await shown(engine, QUEUES)) == 1
        assert await all_jobs(engine) == []
        assert await shown(engine, Tables("", "Queues")) == []

    async def test_without_one_the_search_path_decides(self, new_engine: MakeEngine) -> None:
        first = new_engine()
        await create_schema(first, QUEUES)
        second = new_engine(first.url, connect_args={"server_settings": {"search_path": "queues"}})
        await migrations.upgrade(second)
        assert await state(first, QUEUES) is SchemaState.CURRENT
        assert await state(first) is SchemaState.EMPTY

    async def test_adoption(self, engine: AsyncEngine) -> None:
        await migrations.upgrade(engine, QUEUES)
        await add_jobs(engine, JOB, tables=QUEUES)
        await execute(engine, "DROP TABLE queues.gearman_alembic_version")
        assert await state(engine, QUEUES) is SchemaState.OLD
        assert await migrations.upgrade(engine, QUEUES)
        assert await all_jobs(engine, QUEUES) == [JOB]


class TestRoles:
    """An ordinary role may not create in `public` since PostgreSQL 15."""

    @pytest.fixture
    def ordinary(self, server: DatabaseServer, new_engine: MakeEngine) -> Iterator[AsyncEngine]:
        role, password = f"gearmand_py_{secrets.token_hex(6)}", secrets.token_hex(8)
        administrator = new_engine()
        database = administrator.url.database
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
        server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        try:
            yield new_engine(administrator.url.set(username=role, password=password))
        finally:
            server.execute(f"DROP OWNED BY {role}", database)
            server.execute(f"DROP ROLE {role}")

    @pytest.mark.parametrize(
        ("tables", "reason"),
        [(DEFAULT, "permission denied for schema public"), (QUEUES, "permission denied for database .*")],
        ids=["public", "a schema of its own"],
    )
    async def test_a_missing_right_is_said_in_a_line(self, ordinary: AsyncEngine, tables: Tables, reason: str) -> None:
        with pytest.raises(StorageError) as caught:
            await migrations.upgrade(ordinary, tables)
        assert re.fullmatch(f"cannot migrate to revision {migrations.HEAD}: {reason}", str(caught.value))

    async def test_a_schema_that_is_there_takes_no_right_to_make_one(
        self, server: DatabaseServer, ordinary: AsyncEngine
    ) -> None:
        server.execute(f"CREATE SCHEMA queues AUTHORIZATION {ordinary.url.username}", ordinary.url.database)
        assert await migrations.upgrade(ordinary, QUEUES)
        await run_script(ordinary, Tables("by_script_", "queues"))
        assert await state(ordinary, QUEUES) is SchemaState.CURRENT


class TestEncodings:
    """There only ASCII is sure to be text."""

    @pytest.fixture(params=["SQL_ASCII", "LATIN1", "EUC_JP"])
    async def elsewhere(
        self, request: pytest.FixtureRequest, server: DatabaseServer, new_engine: MakeEngine
    ) -> AsyncIterator[AsyncEngine]:
        with database_of(server, str(request.param)) as url:
            engine = new_engine(url)
            await migrations.upgrade(engine)
            yield engine
            await engine.dispose()

    async def test_no_bytes_break_it(self, elsewhere: AsyncEngine) -> None:
        names = [b"resize", "größe".encode(), b"caf\xe9", "日本".encode(), b"\0", bytes(range(256)) * 2]
        await add_jobs(elsewhere, *(JOB._replace(id=ID + n, function=name) for n, name in enumerate(names)))
        seen = [row["function_name"] for row in await shown(elsewhere)]
        assert seen[:5] == ["resize", r"gr\303\266\303\237e", r"caf\351", r"\346\227\245\346\234\254", r"\000"]
        assert seen[5].isascii()


@contextmanager
def database_of(server: DatabaseServer, encoding: str) -> Iterator[URL]:
    url = postgresql_database(server, encoding)
    try:
        yield url.set(drivername=DRIVERS["postgresql"])
    finally:
        server.drop_database(url)


async def test_columns_of_the_view_have_types(migrated: AsyncEngine) -> None:
    async with migrated.connect() as connection:
        columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'gearman_jobs'"
        found = dict(map(tuple, await connection.execute(text(columns))))
    assert found == {
        "id": "bigint",
        "function_name": "text",
        "unique_key": "text",
        "priority": "text",
        "state": "text",
        "attempts": "smallint",
        "node": "smallint",
        "submitted_at": "timestamp with time zone",
        "run_at": "timestamp with time zone",
        "age_seconds": "bigint",
        "data_bytes": "integer",
    }


async def test_a_stricter_isolation_by_default(new_engine: MakeEngine) -> None:
    """Its snapshot is from before the wait for the lock."""
    first = new_engine()
    strict = {"server_settings": {"default_transaction_isolation": "serializable"}}
    engines = [new_engine(first.url, connect_args=strict) for _ in range(4)]
    acted = await asyncio.gather(*map(migrations.upgrade, engines))
    assert sorted(acted) == [False, False, False, True]


async def test_no_server_is_said_in_a_line(new_engine: MakeEngine) -> None:
    engine = new_engine(make_url(f"{DRIVERS['postgresql']}://postgres@127.0.0.1:1/postgres"))
    with pytest.raises(StorageError, match=r"^cannot migrate to revision \d+: Connect call failed"):
        await migrations.upgrade(engine)
