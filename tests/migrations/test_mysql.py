"""What MySQL and MariaDB alone have: engines to choose from, statements that commit each by itself, many rights."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from gearmand_py import migrations
from gearmand_py.migrations import SchemaState
from gearmand_py.storage.base import StorageError
from tests.databases.selection import SERVERS
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.migrations.conftest import MakeEngine
from tests.migrations.databases import ID, JOB, add_jobs, execute, run_script, shown, state

TABLE_RIGHTS = "SELECT, INSERT, UPDATE, CREATE, DROP"


@pytest.fixture(params=[kind for kind in SERVERS if kind != "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str) -> DatabaseServer:
    return shared_server(kind)


@contextmanager
def user_of(server: DatabaseServer, rights: str, database: str) -> Iterator[tuple[str, str]]:
    """Name and password of one who has these rights on a database."""
    name, password = f"gearmand_{secrets.token_hex(6)}", secrets.token_hex(8)
    server.execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'")
    try:
        server.execute(f"GRANT {rights} ON {database}.* TO {name}@'%'")
        yield name, password
    finally:
        server.execute(f"DROP USER {name}@'%'")


@pytest.mark.parametrize("by_script", [False, True], ids=["upgrade", "script"])
async def test_the_table_is_of_the_engine_that_keeps_promises(new_engine: MakeEngine, by_script: bool) -> None:
    engine = new_engine(connect_args={"init_command": "SET default_storage_engine = MyISAM"})
    await (run_script(engine) if by_script else migrations.upgrade(engine))
    async with engine.connect() as connection:
        query = "SELECT engine FROM information_schema.tables WHERE table_name = 'gearman_job' AND table_schema = :it"
        assert await connection.scalar(text(query), {"it": engine.url.database}) == "InnoDB"


async def test_what_fails_for_a_missing_right_goes_on_when_it_is_given(
    server: DatabaseServer, new_engine: MakeEngine
) -> None:
    administrator = new_engine()
    database = str(administrator.url.database)
    with user_of(server, TABLE_RIGHTS, database) as (name, password):
        engine = new_engine(administrator.url.set(username=name, password=password))
        with pytest.raises(StorageError) as caught:
            await migrations.upgrade(engine)
        assert re.fullmatch(r"cannot migrate to revision \d+: CREATE VIEW command denied to user .*", str(caught.value))
        assert await state(engine) is SchemaState.CURRENT
        await add_jobs(engine, JOB)
        server.execute(f"GRANT CREATE VIEW ON {database}.* TO {name}@'%'")
        await engine.dispose()
        assert await migrations.upgrade(engine)
        assert len(await shown(engine)) == 1
        await engine.dispose()


async def test_a_session_is_as_it_was(new_engine: MakeEngine) -> None:
    """Notes are heard again and the lock is free, though the pool keeps the session."""
    engine = new_engine(pool_size=1, max_overflow=0)
    session = "SELECT connection_id(), @@sql_notes"
    async with engine.connect() as connection:
        before = (await connection.execute(text(session))).one()
    await migrations.upgrade(engine)
    async with engine.connect() as connection:
        assert (await connection.execute(text(session))).one() == before
    other = new_engine(engine.url)
    await execute(other, "DROP VIEW gearman_jobs")
    assert await migrations.upgrade(other)


async def test_modes_of_a_session_change_nothing(new_engine: MakeEngine) -> None:
    first = new_engine()
    modes = "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES'"
    engine = new_engine(first.url, connect_args={"init_command": modes})
    await migrations.upgrade(engine)
    await add_jobs(first, JOB._replace(function=b"a\\b"))
    for looking in (first, engine):
        assert [row["function_name"] for row in await shown(looking)] == ["a\\b"]


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1", "binary", "ascii", "cp1251"])
async def test_the_character_set_of_a_session_changes_nothing(new_engine: MakeEngine, charset: str) -> None:
    first = new_engine()
    engine = new_engine(first.url, connect_args={"init_command": f"SET character_set_connection = {charset}"})
    await migrations.upgrade(engine)
    await add_jobs(first, JOB, JOB._replace(id=ID + 1, function="größe".encode(), unique=b"\xe9"))
    for looking in (first, engine):
        rows = [(row["function_name"], row["unique_key"], row["state"]) for row in await shown(looking)]
        assert rows == [("resize", "k", "waiting"), ("größe", "é", "waiting")]
        async with looking.connect() as connection:
            count = "SELECT count(*) FROM gearman_jobs WHERE function_name = 'resize' AND state = 'waiting'"
            assert await connection.scalar(text(count)) == 1
