"""A queue's SQLite file and its log do not grow for good: free pages are given back, the log is begun anew."""

# ruff: noqa: ASYNC240 - a test that looks at a file may block its own loop

import random
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import make_url

from gearmand_py.migrations import upgrade
from gearmand_py.storage import upkeep
from gearmand_py.storage.base import Changes
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sqlite import SqliteStorage
from gearmand_py.storage.upkeep import FEW_PAGES, KEPT_BYTES, MOST_PAGES
from tests.docs.pages import ROOT
from tests.faults.disks import Disk
from tests.harness.process import Process
from tests.storage.records import NOTHING, delete, everything, ids, insert, job

BY_HAND: Final = re.findall(r"sqlite3 queue.db '(PRAGMA .*)'", (ROOT / "docs" / "databases.md").read_text())
PAGE: Final = 4096
ROWS: Final = 10_000  # of a page each, so 40 MiB
KEPT_ROWS: Final = range(1, ROWS + 1, 100)
BATCH: Final = 1000
ROUNDS: Final = 8
NORMAL_LOG: Final = 16 * 1024 * 1024  # 4 MiB, and a few batches

# Gives back in many small steps, and says so at each commit. Killed at any moment.
SHRINKER: Final = """
import asyncio, sys
from gearmand_py.storage import upkeep
from gearmand_py.storage.base import Changes
from gearmand_py.storage.urls import storage_for

upkeep.PAUSE_SECONDS = 0

async def shrink():
    async with storage_for(sys.argv[1]) as storage:
        print("open", flush=True)
        upkeep.MOST_PAGES = 64
        while True:
            await storage.commit(Changes((), (), ()))
            print("commit", flush=True)

asyncio.run(shrink())
"""

# The same on a disk that the test fills and empties when it is told "drained" and "served".
ON_A_SMALL_DISK: Final = """
import asyncio, sys
from gearmand_py.migrations import upgrade
from gearmand_py.storage import upkeep
from gearmand_py.storage.base import Changes, JobRecord, StorageRefused
from gearmand_py.storage.urls import storage_for

upkeep.PAUSE_SECONDS = upkeep.PAUSE_AFTER_FAILURE = 0
upkeep.KEPT_BYTES = 1024 * 1024
upkeep.FEW_PAGES = int(sys.argv[2])
upkeep.MOST_PAGES = 64

def insert(ids, size):
    return Changes((), (), [JobRecord(id_, b"resize", None, 1, 0, 0, 0, None, bytes(size)) for id_ in ids])

def delete(*ids):
    return Changes(ids, (), ())

def told(word):
    print(word, flush=True)
    sys.stdin.readline()

async def serve():
    async with storage_for(sys.argv[1]) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(range(1, 2001), 3500))
        await storage.commit(delete(*[id_ for id_ in range(1, 2001) if id_ % 100]))
        told("drained")
        for gone in range(100, 1000, 100):
            await storage.commit(delete())
            await storage.commit(delete(gone))
        try:
            await storage.commit(insert(range(3000, 3800), 50_000))
        except StorageRefused as refusal:
            print("refused:", refusal)
        await storage.commit(delete())
        await storage.commit(delete(1000))
        told("served")
        for _ in range(100):
            await storage.commit(delete())
        print([row.id for row in await storage.load(0, 1000)])

asyncio.run(serve())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the queue is."""
    return tmp_path / "queue.db"


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each commit does some upkeep."""
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", 0)


@pytest.fixture
async def storage(file: Path) -> AsyncIterator[SqliteStorage]:
    """An open storage without rows."""
    async with at(file) as storage:
        await upgrade(storage.engine)
        yield storage


def at(file: Path) -> SqliteStorage:
    return SqliteStorage(make_url(f"sqlite:///{file}"), Tables())


def large(first: int, last: int) -> Changes:
    """Rows of a page each."""
    return insert(*[job(id_, data=(b"%d " % id_).ljust(3500, b".")) for id_ in range(first, last + 1)])


async def fill(storage: SqliteStorage) -> None:
    for first in range(1, ROWS, BATCH):
        await storage.commit(large(first, first + BATCH - 1))


async def drain(storage: SqliteStorage) -> None:
    """All but every hundredth row."""
    for first in range(1, ROWS, BATCH):
        await storage.commit(delete(*[id_ for id_ in range(first, first + BATCH) if id_ not in KEPT_ROWS]))


async def pragma(storage: SqliteStorage, words: str) -> Any:
    """On the very connection that the batches go through."""
    connection = await storage.connection()
    result = await connection.exec_driver_sql(f"PRAGMA {words}")
    answer = result.scalar() if result.returns_rows else None
    await connection.rollback()
    return answer


@contextmanager
def another_program(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def is_sound(file: Path) -> bool:
    with another_program(file) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


# ---- free pages


async def test_free_pages_are_reused(storage: SqliteStorage) -> None:
    await storage.commit(large(1, BATCH))
    pages = await pragma(storage, "page_count")
    for first in range(1, 10 * BATCH, BATCH):
        await storage.commit(delete(*range(first, first + BATCH)))
        await storage.commit(large(first + BATCH, first + 2 * BATCH - 1))
    assert await pragma(storage, "page_count") < pages * 1.1


async def test_a_drained_backlog_is_given_back_while_commits_go_on(storage: SqliteStorage, file: Path) -> None:
    await fill(storage)
    full = await pragma(storage, "page_count")
    assert full * PAGE > 2 * KEPT_BYTES
    await drain(storage)

    counts = [await pragma(storage, "page_count")]
    last = ROWS
    while (count := await pragma(storage, "page_count")) > KEPT_BYTES // PAGE + 2 * len(KEPT_ROWS):
        last += 1
        await storage.commit(Changes([last - 1] if last > ROWS + 1 else [], (), [job(last)]))
        counts.append(count)
        assert last < ROWS + full, f"not given back by {last - ROWS} commits: {counts[-1]} pages"
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 2, "not in steps"
    assert max(before - after for before, after in pairwise(counts)) <= 2 * MOST_PAGES
    assert await ids(storage) == [*KEPT_ROWS, last]

    await storage.commit(NOTHING)
    assert file.stat().st_size <= KEPT_BYTES + 2 * len(KEPT_ROWS) * PAGE
    assert is_sound(file)


async def test_an_idle_server_gives_back_and_cuts_the_file(storage: SqliteStorage, file: Path) -> None:
    await fill(storage)
    await drain(storage)
    while await pragma(storage, "page_count") * PAGE > KEPT_BYTES + 2 * len(KEPT_ROWS) * PAGE:
        before = file.stat().st_size
        await storage.commit(NOTHING)
        assert file.stat().st_size < before
    assert await ids(storage) == list(KEPT_ROWS)


async def test_an_empty_queue_is_cut_at_once(storage: SqliteStorage, file: Path) -> None:
    await fill(storage)
    await drain(storage)
    await storage.commit(delete(*KEPT_ROWS[1:]))
    await storage.commit(NOTHING)
    assert file.stat().st_size <= FEW_PAGES * PAGE
    assert await pragma(storage, "auto_vacuum") == 2
    assert await ids(storage) == [KEPT_ROWS[0]]
    assert is_sound(file)


async def test_a_quarter_of_a_large_file_is_kept_for_the_next_rows(storage: SqliteStorage) -> None:
    await fill(storage)
    pages = await pragma(storage, "page_count")
    await storage.commit(delete(*range(1, ROWS // 5)))
    for _ in range(ROUNDS):
        await storage.commit(NOTHING)
    assert await pragma(storage, "page_count") == pages


async def test_a_file_that_cannot_be_cut_is_left_as_it_is(file: Path) -> None:
    with another_program(file) as other:
        other.execute("CREATE TABLE made_by_hand (id INTEGER)")
    async with at(file) as storage:
        await upgrade(storage.engine)
        await fill(storage)
        await drain(storage)
        pages = await pragma(storage, "page_count")
        await storage.commit(NOTHING)
        assert await pragma(storage, "page_count") == pages
        assert await ids(storage) == list(KEPT_ROWS)
    for statement in BY_HAND:
        with another_program(file) as other:
            other.executescript(statement)
    async with at(file) as storage:
        assert await pragma(storage, "auto_vacuum") == 2
        assert await pragma(storage, "page_count") < pages
        assert await ids(storage) == list(KEPT_ROWS)


async def test_a_file_that_another_program_writes_to_can_be_opened(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute("BEGIN IMMEDIATE")
        await storage.disconnect()
        assert await ids(storage) == []


async def test_a_lock_of_another_program_is_told_once_and_fails_nothing(
    storage: SqliteStorage, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_AFTER_FAILURE", 0)
    await fill(storage)
    await drain(storage)
    with another_program(file) as other:
        other.execute("BEGIN IMMEDIATE")
        await storage.commit(NOTHING)
        await storage.commit(NOTHING)
    assert [record.getMessage() for record in caplog.records] == [
        f"the free space of {file} is not given back for now: database is locked"
    ]
    pages = await pragma(storage, "page_count")
    await storage.commit(NOTHING)
    assert await pragma(storage, "page_count") < pages


async def test_killed_while_giving_back(file: Path) -> None:
    async with at(file) as storage:
        await upgrade(storage.engine)
        await fill(storage)
        await drain(storage)
        kept = await everything(storage)
        drained = await pragma(storage, "page_count")
    chance = random.Random()
    pages = drained
    for _ in range(ROUNDS):
        with Process([sys.executable, "-c", SHRINKER, f"sqlite:///{file}"]) as shrinker:
            shrinker.expect(b"open")
            for _ in range(chance.randint(0, 3)):
                shrinker.expect(b"commit")
            shrinker.close()  # kill -9
        assert is_sound(file)
        async with at(file) as storage:
            assert await everything(storage) == kept
            before, pages = pages, await pragma(storage, "page_count")
            assert pages <= before
    assert pages < drained


@pytest.mark.parametrize("few_pages", [0, FEW_PAGES])  # in steps, and as a whole
def test_on_a_full_disk(tmp_path: Path, few_pages: int) -> None:
    with Disk(tmp_path / "disk") as disk:
        url = f"sqlite:///{disk.mount}/queue.db"
        with Process([*disk.prefix, sys.executable, "-c", ON_A_SMALL_DISK, url, str(few_pages)], stdin=None) as server:
            server.expect(b"drained")
            disk.fill()
            server.say("full")
            server.expect(b"refused: the disk is full")
            server.expect(b"served")
            disk.make_room()
            server.say("room")
            server.expect(re.escape(str(list(range(1100, 2001, 100))).encode()))
            assert server.wait() == 0
        file = disk.files / "queue.db"
        assert is_sound(file)
        assert file.stat().st_size < 2 * 1024 * 1024


# ---- the log


async def test_the_log_is_begun_anew_while_readers_come_and_go(storage: SqliteStorage, file: Path) -> None:
    log = file.with_name("queue.db-wal")
    sizes = []
    with another_program(file) as other:
        for first in range(1, 60 * BATCH, BATCH):
            if first // BATCH % 3 == 0:
                other.execute("BEGIN")
                other.execute("SELECT count(*) FROM gearman_job").fetchone()
            await storage.commit(Changes(range(first - BATCH, first), (), large(first, first + BATCH - 1).inserts))
            if first // BATCH % 3 == 1:
                other.execute("COMMIT")
            sizes.append(log.stat().st_size)
    assert max(sizes) <= NORMAL_LOG * 2
    assert max(sizes[30:]) <= max(sizes[:30])


async def test_the_log_is_cut_after_a_long_reader(
    storage: SqliteStorage, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LARGE_LOG_BYTES", 72 * 1024 * 1024)
    log = file.with_name("queue.db-wal")
    with another_program(file) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM gearman_job").fetchone()
        first = 1
        while log.stat().st_size < 80 * 1024 * 1024:
            await storage.commit(Changes(range(first - BATCH, first), (), large(first, first + BATCH - 1).inserts))
            first += BATCH
        await storage.commit(NOTHING)
        other.execute("COMMIT")
    assert await pragma(storage, "page_count") * PAGE < KEPT_BYTES  # for all that went through it
    for id_ in range(3):  # writes it back, begins anew, looks
        await storage.commit(insert(job(first + id_)))
    await storage.commit(NOTHING)
    assert log.stat().st_size <= 64 * 1024 * 1024
    grown, back = (record.getMessage() for record in caplog.records)
    assert f"{log} has grown to" in grown
    assert "another program has a transaction open" in grown
    assert f"{log} is back at" in back
