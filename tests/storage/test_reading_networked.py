"""What readers of databases behind a network owe: their sessions may end, hang and be cut at any time."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text

from gearmand_py.storage.base import DEAD, StorageUnavailable
from gearmand_py.storage.mysql import MysqlStorage
from gearmand_py.storage.networked import NetworkedStorage
from gearmand_py.storage.postgresql import PostgresStorage
from gearmand_py.storage.reading.mysql import all_of
from gearmand_py.storage.reading.networked import NetworkedReader
from gearmand_py.storage.sql import SqlStorage
from tests.storage.databases import DATABASES, StorageFactory, migrate
from tests.storage.readers import SOON, TOP, all_entries, entries, random_jobs, read_back
from tests.storage.records import insert, job, jobs
from tests.storage.test_networked import end, networked_by, server_of

NETWORKED: Final = [name for name in DATABASES if name != "sqlite"]
POSTGRESQL: Final = [name for name in NETWORKED if name.startswith("postgresql")]
MYSQL: Final = [name for name in NETWORKED if name not in POSTGRESQL]


@pytest.fixture(params=NETWORKED)
async def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has its tables and no jobs."""
    with DATABASES[request.param](tmp_path) as make:
        await migrate(make)
        yield make


@pytest.fixture
async def storage(make_storage: StorageFactory) -> AsyncIterator[NetworkedStorage]:
    """An open storage without jobs."""
    async with networked_by(make_storage) as storage:
        yield storage


@pytest.fixture
async def reader(storage: NetworkedStorage) -> AsyncIterator[NetworkedReader]:
    """Reads the storage's queue."""
    reader = storage.reader()
    assert isinstance(reader, NetworkedReader)
    yield reader
    await reader.close()


async def ask(driver: Any, query: str) -> Any:
    """One value."""
    return await driver.fetchval(query) if hasattr(driver, "fetchval") else (await all_of(driver, query))[0][0]


def query_of(storage: NetworkedStorage, postgresql: str, mysql: str) -> str:
    return postgresql if isinstance(storage, PostgresStorage) else mysql


async def test_a_statement_that_is_cancelled(storage: NetworkedStorage, reader: NetworkedReader) -> None:
    await storage.commit(insert(job(1)))
    waits = query_of(storage, "SELECT 1 FROM pg_sleep(600)", "SELECT sleep(600)")

    async def wait(begun: asyncio.Event) -> None:
        async with reader.session(600) as driver:
            begun.set()
            await ask(driver, waits)

    for _ in range(3):
        begun = asyncio.Event()
        task = asyncio.create_task(wait(begun))
        await begun.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SOON):
            assert await reader.highest() == 1


async def test_a_session_that_ends_under_a_call(storage: NetworkedStorage, reader: NetworkedReader) -> None:
    await storage.commit(insert(job(1)))
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await end_in_a_call(storage, reader)
        assert await reader.highest() == 1


async def end_in_a_call(storage: NetworkedStorage, reader: NetworkedReader) -> None:
    async with reader.session(SOON) as driver:
        session = await session_in_transaction(storage, driver)
        await asyncio.to_thread(end, server_of(storage), session)
        await ask(driver, "SELECT 1")


async def session_in_transaction(storage: NetworkedStorage, driver: Any) -> int:
    """The database's number for the session; a transaction is begun, so that a proxy keeps to it."""
    await all_in(driver, "BEGIN")
    return int(await ask(driver, query_of(storage, "SELECT pg_backend_pid()", "SELECT connection_id()")))


async def all_in(driver: Any, statement: str) -> None:
    await (driver.execute(statement) if hasattr(driver, "fetchval") else all_of(driver, statement))


async def test_a_session_that_ended_between_calls(storage: NetworkedStorage, reader: NetworkedReader) -> None:
    await storage.commit(insert(job(1)))
    async with reader.session(SOON) as driver:
        session = await session_in_transaction(storage, driver)
        await all_in(driver, "ROLLBACK")
    await asyncio.to_thread(end, server_of(storage), session)
    with suppress(StorageUnavailable):  # it may have to be told by its first failure
        await reader.highest()
    assert await reader.highest() == 1


async def test_a_connection_that_was_cut_between_calls(storage: NetworkedStorage, reader: NetworkedReader) -> None:
    await storage.commit(insert(job(1)))
    assert await reader.highest() == 1
    storage.transport_of(reader._driver).abort()
    with suppress(StorageUnavailable):
        await reader.highest()
    assert await reader.highest() == 1


async def test_a_database_that_does_not_answer_is_not_waited_for(
    make_storage: StorageFactory, storage: NetworkedStorage
) -> None:
    reader = make_storage(patience=3.0).reader()
    async with storage.engine.connect() as other:
        assert await reader.highest() == 0
        table = storage.table
        await other.execute(text(query_of(storage, f"LOCK TABLE {table}", f"LOCK TABLES {table} WRITE")))
        async with asyncio.timeout(SOON):
            with pytest.raises(StorageUnavailable):
                await reader.rows([1])
        await other.rollback()
        if isinstance(storage, MysqlStorage):
            await other.execute(text("UNLOCK TABLES"))
    assert await reader.highest() == 0
    await reader.close()


async def test_between_calls_the_database_keeps_nothing_for_a_reader(
    storage: NetworkedStorage, reader: NetworkedReader
) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    postgresql = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND backend_xmin IS NOT NULL"
    open_ones = "SELECT count(*) FROM information_schema.innodb_trx"
    await all_entries(reader)
    await reader.rows([1, 2])
    await reader.count()
    await reader.backlog(0, TOP)
    query = query_of(storage, postgresql.format(storage.url.database), open_ones)
    assert server_of(storage).execute(query) == [(0,)]


# ---- MySQL's limit of what is joined


@pytest.mark.parametrize("make_storage", MYSQL, indirect=True)
@pytest.mark.parametrize("limit", [4, 64, 500, 2000, 10_000, 40_000])
async def test_a_page_that_the_database_cuts_short_is_read_all_the_same(
    storage: NetworkedStorage, reader: NetworkedReader, limit: int
) -> None:
    chance = random.Random(limit)
    stored = [
        record._replace(node=0) for record in sorted(random_jobs(chance, 300)) if record.data or record.unique != b"-"
    ]
    await storage.commit(insert(*stored))
    await reader.highest()
    await all_of(reader._driver, f"SET SESSION group_concat_max_len = {limit}")
    await read_back(reader, stored)
    at_once = {(record.function, record.priority) for record in stored if record.run_at == 0}
    assert await reader.backlog(0, TOP) == at_once
    keys = [(record.function, record.unique) for record in stored if record.unique is not None]
    alive = [record for record in stored if record.run_at != DEAD and record.unique is not None]
    assert sorted(await reader.find(keys, 0, TOP)) == entries(alive)
    assert await ask(reader._driver, "SELECT @@group_concat_max_len") == limit  # it was the same session


# ---- PostgreSQL's plans


@pytest.mark.parametrize("make_storage", [name for name in POSTGRESQL if name == "postgresql"], indirect=True)
async def test_pages_are_read_by_the_key_though_nobody_analysed_the_table(
    storage: NetworkedStorage, reader: NetworkedReader
) -> None:
    """Else each is a scan and a sort of all rows. The database counts what its sessions have read."""
    async with storage.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {storage.table} SET (autovacuum_enabled = off)"))
    for _ in range(10):
        assert list(await reader.entries(0, TOP, 10_000)) == []
    for first in range(1, 200_001, 20_000):
        await storage.commit(insert(*jobs(first, first + 19_999)))
    for after in range(0, 200_000, 20_000):
        assert len(await reader.entries(after, TOP, 10_000)) == 10_000
    await reader.close()  # with its end a session reports what it did
    async with asyncio.timeout(SOON):
        while (read := await rows_read(storage))[0] + read[1] < 100_000:
            await asyncio.sleep(0.05)
    assert read == (0, 100_000)


async def rows_read(storage: SqlStorage) -> tuple[int, int]:
    """By scans, and by the key."""
    query = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = :name"
    async with storage.engine.connect() as connection:
        found = (await connection.execute(text(query), {"name": storage.tables.job_name})).one()
    return found[0], found[1]
