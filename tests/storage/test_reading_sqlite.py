"""What is particular to reading a queue in a SQLite file: what it leaves alone, and what is done to the file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url

from gearmand_py.migrations import upgrade
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.reading.sqlite import FETCHED_AT_ONCE
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sqlite import SqliteStorage
from tests.storage.readers import SOON, all_entries, entries, reader_of
from tests.storage.records import delete, insert, job, jobs, update


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the queue is, or will be."""
    return tmp_path / "queue.db"


@pytest.fixture
async def in_file(file: Path) -> AsyncIterator[SqliteStorage]:
    """An open storage with the rows 1, 2 and 3."""
    async with SqliteStorage(make_url(f"sqlite:///{file}"), Tables()) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(*jobs(1, 3)))
        yield storage


async def test_an_idle_reader_lets_the_log_be_written_back(in_file: SqliteStorage, file: Path) -> None:
    async with reader_of(in_file) as reader:
        assert await all_entries(reader) == entries(jobs(1, 3))
        await in_file.commit(insert(*jobs(4, 5000)))
        assert len(await reader.rows(range(1, 5001))) == 5000
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert file.with_name("queue.db-wal").stat().st_size == 0
        assert await reader.count() == 5000
        await in_file.commit(delete(1))
        assert await reader.count() == 4999


async def test_a_reader_makes_no_file(file: Path) -> None:
    storage = SqliteStorage(make_url(f"sqlite:///{file}"), Tables())
    async with reader_of(storage) as reader:
        for _ in range(2):
            with pytest.raises(StorageError, match="cannot be opened"):
                await reader.highest()
        assert list(file.parent.iterdir()) == []
        async with storage:
            await upgrade(storage.engine)
            assert await reader.highest() == 0


async def test_a_reader_cannot_write(in_file: SqliteStorage) -> None:
    reader = in_file.reader()
    with pytest.raises(StorageError, match="read-only"):
        await reader._in_thread(lambda database: database.execute("DELETE FROM gearman_job"))
    assert await reader.count() == 3
    await reader.close()


async def test_a_log_that_was_removed_and_made_anew_is_read(in_file: SqliteStorage, file: Path) -> None:
    async with reader_of(in_file) as reader:
        for id_ in (4, 5):
            assert await reader.highest() == id_ - 1
            file.with_name("queue.db-wal").unlink()
            await in_file.commit(insert(job(id_)))
            assert await reader.count() == id_


async def test_large_rows_and_small_ones_are_read(in_file: SqliteStorage) -> None:
    large = [job(id_, data=bytes([id_]) * FETCHED_AT_ONCE) for id_ in (4, 5)]
    await in_file.commit(insert(*large))
    async with reader_of(in_file) as reader:
        assert await reader.rows([1, 4, 5, 6]) == [*jobs(1, 1), *large]
        assert await reader.rows([1, 2, 6]) == jobs(1, 2)


async def test_after_a_reading_that_did_not_come_to_its_end_the_rows_are_those_of_now(in_file: SqliteStorage) -> None:
    reader = in_file.reader()
    await reader._in_thread(partial(reader._bring_in, ("id IN (1,2)",)))
    await in_file.commit(delete(1))
    assert await reader.rows([1, 2]) == jobs(2, 2)
    await reader.close()


async def test_a_cancelled_scan_ends(in_file: SqliteStorage) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    reader = in_file.reader()
    loop = asyncio.get_running_loop()
    for _ in range(3):
        begun = asyncio.Event()

        def told(begun: asyncio.Event) -> None:
            loop.call_soon_threadsafe(begun.set)

        def scan(database: sqlite3.Connection, begun: asyncio.Event = begun) -> None:
            database.create_function("begun", 0, lambda: told(begun))
            database.execute(f"SELECT begun(), ({endless})").fetchone()

        task = asyncio.create_task(reader._in_thread(scan))
        await begun.wait()
        await in_file.commit(update())  # the storage has a thread of its own
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SOON):
            assert await reader.count() == 3
    await reader.close()
