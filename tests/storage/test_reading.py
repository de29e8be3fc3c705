"""What an index bounded in memory relies on: the table is read in pages and by id beside the session that commits."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from sqlalchemy import text

from gearmand_py.storage.base import BY_PAYLOAD, DEAD, Reader, Storage, StorageError
from gearmand_py.storage.builtin import NoStorage
from gearmand_py.storage.reading.mysql import JOINED_BYTES
from gearmand_py.storage.sql import IDS_PER_STATEMENT, SqlStorage
from tests.storage.databases import StorageFactory
from tests.storage.readers import NAMES, SOON, TOP, all_entries, entries, entry, random_jobs, read_back, reader_of
from tests.storage.records import delete, ids, insert, job, jobs

# On either side of what is joined in the database.
SIZES: Final = (0, 1, 100, JOINED_BYTES - 1, JOINED_BYTES, JOINED_BYTES + 1, 100_000)


@pytest.fixture
async def reader(storage: SqlStorage) -> AsyncIterator[Reader]:
    """Reads the storage's queue."""
    async with reader_of(storage) as reader:
        yield reader


# ---- pages


async def test_an_empty_queue(reader: Reader) -> None:
    assert await reader.highest() == 0
    assert await reader.count() == 0
    assert list(await reader.entries(0, TOP, 10)) == []
    assert list(await reader.entries_of([1, 2])) == []
    assert list(await reader.rows([1, 2])) == []
    assert await reader.backlog(0, TOP) == set()
    assert list(await reader.find([(b"resize", b"u")], 0, TOP)) == []


@pytest.mark.parametrize("page", [1, 7, 100, 1000])
async def test_pages_come_by_id(storage: SqlStorage, reader: Reader, page: int) -> None:
    stored = [job(id_ * 3, unique=b"%d" % id_) for id_ in range(1, 101)]
    shuffled = random.Random(1).sample(stored, len(stored))
    await storage.commit(insert(*shuffled[:50]))
    await storage.commit(insert(*shuffled[50:]))
    assert await all_entries(reader, page) == entries(stored)


async def test_pages_keep_their_bounds(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(insert(job(10), job(20), job(30), job(TOP)))
    for after, upto, limit, expected in (
        (0, TOP, 10, [10, 20, 30, TOP]),
        (0, TOP, 2, [10, 20]),
        (9, 30, 10, [10, 20, 30]),
        (10, 29, 10, [20]),
        (10, 10, 10, []),
        (20, 10, 10, []),
        (30, TOP, 1, [TOP]),
        (TOP, TOP, 1, []),
        (0, 0, 10, []),
    ):
        assert [found.id for found in await reader.entries(after, upto, limit)] == expected
    assert await reader.highest() == TOP
    assert await reader.count() == 4


async def test_rows_of_other_nodes_are_not_ours(storage: SqlStorage, reader: Reader) -> None:
    stored = [job(id_, node=id_ % 2, unique=b"u", function=b"%d" % (id_ % 2)) for id_ in range(1, 10)]
    await storage.commit(insert(*stored))
    ours = stored if storage.embedded else [record for record in stored if record.node == 0]
    await read_back(reader, ours)
    known = [record.id for record in stored]
    assert sorted(await reader.entries_of(known)) == entries(ours)
    assert sorted(await reader.rows(known)) == ours
    assert await reader.count() == len(ours)
    assert await reader.highest() == ours[-1].id
    assert await reader.backlog(0, TOP) == {(record.function, 1) for record in ours}
    wanted = [(record.function, b"u") for record in stored]
    assert sorted(await reader.find(wanted, 0, TOP)) == entries(ours)


async def test_what_others_have_behind_ours_does_not_hide_it(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(insert(job(7), *[job(id_, node=1) for id_ in range(100, 200)]))
    assert await reader.highest() == (199 if storage.embedded else 7)


# ---- exact values


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_names_are_exact_bytes(storage: SqlStorage, reader: Reader, name: bytes) -> None:
    stored = [job(1, function=name, unique=name, reducer=name, data=name), job(2, function=name, unique=name[:-1])]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)
    assert list(await reader.find([(name, name)], 0, TOP)) == entries(stored[:1])
    assert await reader.backlog(0, TOP) == {(name, 1)}


async def test_names_of_every_length(storage: SqlStorage, reader: Reader) -> None:
    stored = [
        job(length + 1, function=b"\xff" * (8 * length), unique=b"\0" * length, reducer=b"," * length)
        for length in range(65)
    ]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)


async def test_no_key_and_an_empty_one(storage: SqlStorage, reader: Reader) -> None:
    stored = [job(1), job(2, unique=b"", reducer=b""), job(3, unique=None, reducer=b"r"), job(4, unique=b"N")]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)
    assert list(await reader.find([(b"resize", b"")], 0, TOP)) == entries(stored[1:2])


async def test_numbers(storage: SqlStorage, reader: Reader) -> None:
    numbers = [(0, 0, DEAD), (1, 1, 2**31), (2, 2**15 - 1, 2**53 + 1), (2, 0, TOP)]
    stored = [job(TOP - 9 + at, priority=p, attempts=a, run_at=r) for at, (p, a, r) in enumerate(numbers)]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)


@pytest.mark.parametrize("only", [False, True], ids=["among others", "alone"])
async def test_payloads_of_jobs_that_coalesce_by_them(storage: SqlStorage, reader: Reader, *, only: bool) -> None:
    chance = random.Random(3)
    keys = [b"-"] if only else [b"-", b"2D", b"--", b"", None]
    stored = [job(at + 1, unique=keys[at % len(keys)], data=chance.randbytes(SIZES[at % 7])) for at in range(70)]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)
    alike = [record for record in stored if record.unique == BY_PAYLOAD]
    assert sorted(await reader.find([(b"resize", BY_PAYLOAD)], 0, TOP)) == entries(alike)


async def test_payloads_of_all_sizes(storage: SqlStorage, reader: Reader) -> None:
    chance = random.Random(4)
    stored = [job(at + 1, data=chance.randbytes(SIZES[at % 7]), reducer=b"r") for at in range(70)]
    await storage.commit(insert(*stored))
    await read_back(reader, stored)


async def test_a_large_payload(storage: SqlStorage, reader: Reader) -> None:
    large = random.Random(2).randbytes(32 * 1024 * 1024)
    stored = [job(1), job(2, data=large), job(3, data=b"")]
    await storage.commit(insert(*stored))
    found = await reader.rows([1, 2, 3])
    assert [(record.id, len(record.data)) for record in sorted(found)] == [(1, 7), (2, len(large)), (3, 0)]
    assert sorted(found)[1].data == large
    assert sorted(await reader.entries_of([1, 2, 3])) == entries(stored)


# ---- by id


async def test_no_ids(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    assert list(await reader.entries_of([])) == []
    assert list(await reader.rows([])) == []
    assert list(await reader.find([], 0, TOP)) == []


async def test_ids_that_are_not_there(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    strange = [-1, 0, 2, 4, TOP, TOP + 1, 2**64, 10**30]
    assert list(await reader.entries_of(strange)) == entries(jobs(2, 2))
    assert list(await reader.rows(strange)) == jobs(2, 2)
    assert list(await reader.rows([4])) == []


@pytest.mark.parametrize("number", [IDS_PER_STATEMENT - 1, IDS_PER_STATEMENT, IDS_PER_STATEMENT + 1, 7000])
async def test_thousands_of_ids(storage: SqlStorage, reader: Reader, number: int) -> None:
    stored = [job(2 * id_, data=b"%d" % id_, unique=b"%d" % id_) for id_ in range(1, number + 1)]
    await storage.commit(insert(*stored))
    wanted = list(range(2 * number, 0, -1))
    assert sorted(await reader.rows(wanted)) == stored
    assert sorted(await reader.entries_of(wanted)) == entries(stored)


# ---- scans


async def test_the_backlog_is_what_is_to_run_at_once(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(
        insert(
            job(1, function=b"dead", run_at=DEAD),
            job(2, function=b"delayed", run_at=10**9),
            job(3, function=b"a", priority=0),
            job(4, function=b"a", priority=2),
            job(5, function=b"a", priority=2),
            job(6, function=b"b"),
        )
    )
    assert await reader.backlog(0, TOP) == {(b"a", 0), (b"a", 2), (b"b", 1)}
    assert await reader.backlog(3, 5) == {(b"a", 2)}
    assert await reader.backlog(0, 2) == set()


async def test_the_backlog_of_thousands_of_functions(storage: SqlStorage, reader: Reader) -> None:
    await storage.commit(insert(*[job(at, function=b"function %d" % at, priority=at % 3) for at in range(1, 5001)]))
    assert await reader.backlog(0, TOP) == {(b"function %d" % at, at % 3) for at in range(1, 5001)}


async def test_finding_keys(storage: SqlStorage, reader: Reader) -> None:
    stored = [
        job(1, unique=b"a"),
        job(2, unique=b"a", function=b"other"),
        job(3, unique=b"b", run_at=10**9),
        job(4, unique=b"a", run_at=DEAD),
        job(5),
        job(6, unique=b"a"),
        job(7, unique=b"A"),
    ]
    await storage.commit(insert(*stored))

    async def found(*keys: bytes, after: int = 0, upto: int = TOP) -> list[int]:
        return sorted(one.id for one in await reader.find([(b"resize", key) for key in keys], after, upto))

    assert await found(b"a") == [1, 6]
    assert await found(b"a", b"b", b"a") == [1, 3, 6]
    assert await found(b"a", after=1) == [6]
    assert await found(b"a", upto=5) == [1]
    assert await found(b"") == []
    many = [(b"resize", b"%d" % at) for at in range(3000)]
    assert list(await reader.find([*many, (b"other", b"a")], 0, TOP)) == entries(stored[1:2])


# ---- any rows


@pytest.mark.parametrize("seed", range(3))
async def test_any_rows(storage: SqlStorage, reader: Reader, seed: int) -> None:
    """Against the same said without SQL."""
    chance = random.Random(seed)
    queue = sorted(random_jobs(chance, 600))
    await storage.commit(insert(*chance.sample(queue, len(queue))))
    ours = [record for record in queue if storage.embedded or record.node == 0]
    for _ in range(5):
        after, upto = chance.randrange(10_000), chance.randrange(10_000)
        within = [record for record in ours if after < record.id <= upto]
        assert list(await reader.entries(after, upto, 200)) == entries(within[:200])
        at_once = {(record.function, record.priority) for record in within if record.run_at == 0}
        assert await reader.backlog(after, upto) == at_once
        keys = {(record.function, record.unique or b"") for record in chance.sample(queue, 100)}
        alive = [record for record in within if record.run_at != DEAD and (record.function, record.unique) in keys]
        assert sorted(await reader.find(keys, after, upto)) == entries(alive)
        wanted = {record.id for record in chance.sample(queue, 300)} | {chance.randrange(10_000) for _ in range(99)}
        assert sorted(await reader.rows(list(wanted))) == [record for record in ours if record.id in wanted]


# ---- beside the session that commits


async def test_what_was_committed_is_read(storage: SqlStorage, reader: Reader) -> None:
    for id_ in range(1, 50):
        await storage.commit(insert(job(id_)))
        assert await reader.highest() == id_
        assert [found.id for found in await reader.entries(id_ - 1, TOP, 5)] == [id_]
        await storage.commit(delete(id_))
        assert list(await reader.rows([id_])) == []


async def test_reading_while_the_storage_commits(storage: SqlStorage, reader: Reader) -> None:
    before = [job(id_, unique=b"-" if id_ % 5 == 0 else b"%d" % id_) for id_ in range(1, 5001)]
    await storage.commit(insert(*before))

    async def commit() -> None:
        for at in range(40):
            added = [job(10_000 + at * 50 + one) for one in range(50)]
            await storage.commit(insert(*added))
            await storage.commit(delete(*range(1 + at * 25, 26 + at * 25)))

    committing = asyncio.create_task(commit())
    while not committing.done():
        found = await all_entries(reader, 500)
        known = [one.id for one in found]
        assert known == sorted(set(known))
        assert set(range(1001, 5001)) <= set(known)
        assert all(one == entry(before[one.id - 1]) for one in found if one.id <= 5000)
        rows = await reader.rows(known[::7])
        assert {row.id for row in rows} <= set(known)
    await committing
    assert [one.id for one in await all_entries(reader)] == await ids(storage)


async def test_several_readers_at_a_time(storage: SqlStorage) -> None:
    stored = jobs(1, 3000)
    await storage.commit(insert(*stored))
    readers = [storage.reader() for _ in range(3)]
    found = await asyncio.gather(*[all_entries(reader, 700) for reader in readers])
    assert found == [entries(stored)] * 3
    for reader in readers:
        await reader.close()


async def test_a_reader_needs_no_open_storage_and_holds_no_queue(make_storage: StorageFactory) -> None:
    unopened = make_storage()
    async with reader_of(unopened) as reader:
        assert await reader.highest() == 0
        async with make_storage() as storage:
            await storage.commit(insert(job(1)))
            assert await reader.highest() == 1
        async with make_storage() as storage:
            await storage.commit(insert(job(2)))
            assert await reader.highest() == 2
    await unopened.close()


async def test_close_may_be_called_twice_and_before_anything_was_read(storage: SqlStorage) -> None:
    reader = storage.reader()
    await reader.close()
    await reader.close()
    reader = storage.reader()
    assert await reader.count() == 0
    await reader.close()
    await reader.close()


def test_nothing_stored_is_nothing_to_read() -> None:
    storage: Storage = NoStorage()
    assert storage.reader() is None


# ---- errors, and calls that are cancelled


async def test_a_missing_table_is_told(storage: SqlStorage, reader: Reader) -> None:
    await reader.highest()
    name = storage.tables.job_name
    await rename(storage, name, "elsewhere")
    try:
        for _ in range(2):
            with pytest.raises(StorageError):
                await reader.entries(0, TOP, 10)
    finally:
        await rename(storage, "elsewhere", name)
    assert list(await reader.entries(0, TOP, 10)) == []


async def rename(storage: SqlStorage, old: str, new: str) -> None:
    async with storage.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_a_call_that_is_cancelled_at_any_time(storage: SqlStorage, reader: Reader) -> None:
    stored = [job(id_, unique=b"-" if id_ % 9 == 0 else b"%d" % id_) for id_ in range(1, 3001)]
    await storage.commit(insert(*stored))
    known = [record.id for record in stored]
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: reader.entries(0, TOP, 3000),
        lambda: reader.rows(known),
        lambda: reader.backlog(0, TOP),
    ]
    for at in range(30):
        task = asyncio.ensure_future(calls[at % 3]())
        await asyncio.sleep(0.0007 * at)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SOON):
            assert list(await reader.entries(at, at + 10, 10)) == entries(stored[at : at + 10])
