"""What the journal and the restart rely on, exercised on every database of databases.py."""

import random
from collections.abc import Sequence
from typing import Final

import pytest

from gearmand_py.storage.base import (
    DEAD,
    ID_EPOCH_MS,
    MAX_NODE,
    Changes,
    JobRecord,
    RowRefused,
    StorageError,
    Update,
    id_floor,
)
from gearmand_py.storage.sql import SqlStorage
from tests.storage.databases import StorageFactory
from tests.storage.records import NOTHING, apply, by_id, delete, everything, ids, insert, job, jobs, update

MAX_BIGINT: Final = 2**63 - 1
MAX_SMALLINT: Final = 2**15 - 1
TOO_LARGE_ID: Final = 2**63
NOW: Final = ID_EPOCH_MS + 90_000_000_000

# Batches as large as those on either side of what one statement takes, and one of many statements.
BATCH_SIZES: Final = (1, 127, 128, 129, 511, 512, 513, 5000)

# Names as clients may send them: everything but NUL, which ends an argument in the protocol.
NAMES: Final = {
    "every byte": bytes(range(1, 256)),
    "not UTF-8": b"\xff\xfe\x80 \xc3\x28",
    "UTF-8": "größe ✓ 𝄞".encode(),
    "trailing blanks": b"resize  \t\n ",
    "leading blanks": b"  resize",
    "only blanks": b"   ",
    "quotes": b"it's \"quoted\" `here` \\' -- ; %s :name ? {} \\x00",
    "looks like a number": b"007",
    "one byte": b"\x01",
    "longest unique": b"\xe9" * 64,
}


# ---- loading


async def test_an_empty_queue(storage: SqlStorage) -> None:
    assert await everything(storage) == []


@pytest.mark.parametrize("page_size", [1, 7, 100, 1000])
async def test_load_pages_by_id(storage: SqlStorage, page_size: int) -> None:
    stored = [job(id_ * 3, data=b"%d" % id_) for id_ in range(1, 101)]
    shuffled = random.Random(1).sample(stored, len(stored))
    await storage.commit(insert(*shuffled[:50]))
    await storage.commit(insert(*shuffled[50:]))

    found: list[JobRecord] = []
    while page := await storage.load(found[-1].id if found else 0, page_size):
        assert len(page) <= page_size
        found += page
    assert found == stored


async def test_load_gives_ids_above_the_given_one(storage: SqlStorage) -> None:
    await storage.commit(insert(job(10), job(20), job(30)))
    for after, expected in ((0, [10, 20]), (9, [10, 20]), (10, [20, 30]), (15, [20, 30]), (30, []), (MAX_BIGINT, [])):
        assert [record.id for record in await storage.load(after, 2)] == expected


async def test_rows_are_records(storage: SqlStorage) -> None:
    await storage.commit(insert(job(1, unique=b"u", reducer=b"r")))
    (record,) = await storage.load(0, 1)
    assert isinstance(record, JobRecord)
    assert [type(value) for value in record] == [int, bytes, bytes, int, int, int, int, bytes, bytes]


# ---- what a batch does


async def test_deletes_come_before_updates_and_inserts(storage: SqlStorage) -> None:
    await storage.commit(insert(job(1, data=b"old")))
    await storage.commit(Changes([1], [Update(1, 5, 6)], [job(1, data=b"new")]))
    assert await everything(storage) == [job(1, data=b"new")]


async def test_updates_come_before_inserts(storage: SqlStorage) -> None:
    await storage.commit(insert(job(1, data=b"old")))
    await storage.commit(Changes([], [Update(1, 5, 6), Update(2, 7, 8)], [job(1, data=b"new"), job(2)]))
    assert await everything(storage) == [job(1, data=b"old", attempts=5, run_at=6), job(2)]


async def test_an_update_changes_attempts_and_run_at_of_one_row(storage: SqlStorage) -> None:
    before = [job(id_, unique=b"u%d" % id_, reducer=b"r", priority=2) for id_ in (1, 2, 3)]
    await storage.commit(insert(*before))
    await storage.commit(update(Update(2, MAX_SMALLINT, DEAD)))
    assert await everything(storage) == [before[0], before[1]._replace(attempts=MAX_SMALLINT, run_at=DEAD), before[2]]


@pytest.mark.parametrize("size", BATCH_SIZES)
async def test_batches_of_every_size(storage: SqlStorage, size: int) -> None:
    stored = [job(id_, unique=b"%d" % id_, data=b"x" * 100) for id_ in range(1, size + 1)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored

    await storage.commit(update(*[Update(id_, 1, id_) for id_ in range(1, size + 1)]))
    assert await everything(storage) == [record._replace(attempts=1, run_at=record.id) for record in stored]

    keep = job(size + 1)
    await storage.commit(Changes(range(1, size + 1), (), (keep,)))
    assert await everything(storage) == [keep]


async def test_a_batch_may_do_nothing(storage: SqlStorage) -> None:
    await storage.commit(insert(job(1)))
    await storage.commit(NOTHING)
    await storage.commit(Changes([], [], []))
    assert await ids(storage) == [1]


async def test_unknown_ids_are_ignored(storage: SqlStorage) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    await storage.commit(Changes([0, 2, 4, MAX_BIGINT, *range(10, 2000)], [Update(5, 1, 1), Update(2, 1, 1)], ()))
    assert await everything(storage) == [*jobs(1, 1), *jobs(3, 3)]


async def test_an_id_may_stand_twice_in_a_batch(storage: SqlStorage) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    first = job(4, data=b"first")
    updates = [Update(2, 1, 1), Update(3, 1, 1), Update(2, 2, 2), Update(2, 1, 1), Update(3, 2, 2)]
    await storage.commit(Changes([1, 1], updates, [first, job(4, data=b"second"), first]))
    changed = [job(2, data=b"2", attempts=1, run_at=1), job(3, data=b"3", attempts=2, run_at=2)]
    assert await everything(storage) == [*changed, first]


async def test_equal_jobs_are_two_rows(storage: SqlStorage) -> None:
    # Uniqueness is kept in memory; the table takes what it is given.
    await storage.commit(insert(job(1, unique=b"same"), job(2, unique=b"same")))
    assert await everything(storage) == [job(1, unique=b"same"), job(2, unique=b"same")]


# ---- exact values


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_names_are_exact_bytes(storage: SqlStorage, name: bytes) -> None:
    stored = [job(1, function=name, unique=name[:64], reducer=name)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


async def test_names_that_a_collation_would_take_for_one(storage: SqlStorage) -> None:
    alike = (b"resize", b"Resize", b"RESIZE", b"resize ", b"resize  ", "résize".encode(), "re\u0301size".encode())
    stored = [job(at, function=name, unique=name, reducer=name) for at, name in enumerate(alike, 1)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


async def test_the_longest_names(storage: SqlStorage) -> None:
    stored = [job(1, function=b"\xff" * 512, unique=b"\xff" * 64, reducer=b"\xff" * 512)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


async def test_no_unique_is_not_an_empty_one(storage: SqlStorage) -> None:
    stored = [job(1, unique=None, reducer=None), job(2, unique=b"", reducer=b"")]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\0a\0", bytes(range(256)) * 2, b"it's \\ \r\n%s"],
    ids=["empty", "NUL", "NULs", "all", "text"],
)
async def test_data_is_exact(storage: SqlStorage, data: bytes) -> None:
    stored = [job(1, data=data)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


async def test_large_data(storage: SqlStorage) -> None:
    large = random.Random(2).randbytes(32 * 1024 * 1024)
    await storage.commit(insert(job(1), job(2, data=large), job(3)))
    found = await everything(storage)
    assert [(record.id, len(record.data)) for record in found] == [(1, 7), (2, len(large)), (3, 7)]
    assert found[1].data == large
    await storage.commit(delete(2))
    assert await ids(storage) == [1, 3]


async def test_many_rows_of_some_size(storage: SqlStorage) -> None:
    stored = [job(id_, data=bytes([id_]) * 64 * 1024) for id_ in range(1, 251)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored


async def test_extreme_numbers(storage: SqlStorage) -> None:
    stored = [
        job(1, run_at=DEAD),
        job(2, run_at=2**31),
        job(3, run_at=2**53, priority=0),
        job(4, run_at=MAX_BIGINT, priority=2),
        job(2**31, attempts=MAX_SMALLINT),
        job(2**32 + 1),
        job(2**53 + 1),
        job(MAX_BIGINT),
    ]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored
    assert [record.id for record in await storage.load(2**53, 10)] == [2**53 + 1, MAX_BIGINT]
    await storage.commit(Changes([MAX_BIGINT], [Update(2**53 + 1, 0, MAX_BIGINT)], ()))
    assert await everything(storage) == [*stored[:6], stored[6]._replace(run_at=MAX_BIGINT)]


async def test_a_server_has_the_rows_of_its_node_or_the_whole_file(make_storage: StorageFactory) -> None:
    async with make_storage() as storage:
        await storage.commit(insert(job(1), job(2, node=1), job(3, node=MAX_NODE), job(4, node=MAX_NODE)))
        shared = not storage.embedded
        assert await ids(storage) == ([1] if shared else [1, 2, 3, 4])
        assert await others(storage) == ({1: 1, MAX_NODE: 2} if shared else {})
    if shared:
        async with make_storage(node=MAX_NODE) as storage:
            assert await ids(storage) == [3, 4]
            assert await others(storage) == {0: 1, 1: 1}


async def others(storage: SqlStorage) -> dict[int, int]:
    reader = storage.reader()
    try:
        return await reader.others()
    finally:
        await reader.close()


# ---- which ids may have been given


async def test_which_ids_may_have_been_given_is_kept(make_storage: StorageFactory) -> None:
    first, second = (id_floor(NOW + seconds, MAX_NODE) + 7 for seconds in (1, 2))
    async with make_storage() as storage:
        assert await storage.ids_below(MAX_NODE) == 0
        await storage.commit(insert(job(1), job(2))._replace(ids_below=first))
        assert await ids(storage) == [1, 2]
    async with make_storage() as storage:
        assert await storage.ids_below(MAX_NODE) == first
        await storage.commit(delete(1, 2))
        await storage.commit(NOTHING)
        assert await storage.ids_below(MAX_NODE) == first
        for _ in range(2):  # as after an unknown outcome
            await storage.commit(insert(job(2), job(3))._replace(ids_below=second))
        assert await storage.ids_below(MAX_NODE) == second
        assert await ids(storage) == [2, 3]


async def test_each_node_has_ids_of_its_own(storage: SqlStorage) -> None:
    bounds = {node: id_floor(NOW, node) for node in (0, 1, MAX_NODE)}
    for bound in bounds.values():
        await storage.commit(NOTHING._replace(ids_below=bound))
    assert {node: await storage.ids_below(node) for node in bounds} == bounds


async def test_a_batch_that_fails_leaves_the_bound_as_it_was(storage: SqlStorage) -> None:
    before = id_floor(NOW, 0)
    await storage.commit(insert(job(1))._replace(ids_below=before))
    with pytest.raises(RowRefused):
        await storage.commit(insert(job(TOO_LARGE_ID))._replace(ids_below=before + 1))
    assert await storage.ids_below(0) == before


# ---- repeating a batch

# Not among them: an update of what the same batch inserts, which would find its row when it comes again. A job that
# changes before its row is written is written as it is by then, so the broker makes no such update.
MIXES: Final[dict[str, Changes]] = {
    "inserts": insert(*jobs(11, 14)),
    "inserts, some there": insert(*jobs(8, 12)),
    "deletes": delete(1, 2, 99),
    "updates": update(Update(3, 1, 2), Update(99, 1, 2)),
    "deletes and inserts": Changes([1, 2], (), jobs(11, 12)),
    "an insert of what it deletes": Changes([1, 2], (), [job(1, data=b"again"), job(11)]),
    "an update of what it deletes": Changes([1], [Update(1, 1, 1), Update(2, 1, 1)], ()),
    "all of it": Changes([1, 2, 99], [Update(3, 1, DEAD), Update(2, 1, 1)], [*jobs(9, 13), job(2, data=b"again")]),
    "nothing": NOTHING,
}


@pytest.mark.parametrize("changes", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("reopened", [False, True], ids=["same connection", "new connection"])
async def test_repeating_a_batch_changes_nothing(
    make_storage: StorageFactory, changes: Changes, *, reopened: bool
) -> None:
    """What the journal does when it cannot know how a commit ended: it is done again, on a new connection."""
    queue = {record.id: record for record in jobs(1, 10)}
    storage = make_storage()
    try:
        await storage.open()
        await storage.commit(insert(*queue.values()))
        apply(changes, queue)
        for _ in range(3):
            await storage.commit(changes)
            assert await everything(storage) == by_id(queue)
            if reopened:
                await storage.close()
                storage = make_storage()
                await storage.open()
        assert await everything(storage) == by_id(queue)
    finally:
        await storage.close()


async def test_deleting_rows_that_may_have_been_stored(storage: SqlStorage) -> None:
    """After an unknown outcome the submitters were told ERROR: the rows must go, whether they are there or not."""
    await storage.commit(insert(*jobs(1, 3)))  # did go in
    await storage.commit(Changes([1, 2, 3, 4, 5, 6], (), jobs(7, 8)))
    assert await ids(storage) == [7, 8]


@pytest.mark.parametrize("seed", range(5))
async def test_any_history_of_repeated_batches(make_storage: StorageFactory, seed: int) -> None:
    chance = random.Random(seed)
    queue: dict[int, JobRecord] = {}
    next_id = 1
    for _ in range(3):
        async with make_storage() as storage:
            assert await everything(storage) == by_id(queue)
            for _ in range(20):
                new = [job(next_id + at, data=chance.randbytes(20)) for at in range(chance.choice((0, 1, 10, 200)))]
                next_id += len(new)
                changes = Changes(some(chance, queue), updates(chance, queue), new)
                apply(changes, queue)
                for _ in range(chance.choice((1, 1, 2, 3))):
                    await storage.commit(changes)
            assert await everything(storage) == by_id(queue)
    assert len(queue) > 100


def some(chance: random.Random, queue: dict[int, JobRecord]) -> Sequence[int]:
    """Ids to delete: a few that are there, one that is not."""
    return [*chance.sample(sorted(queue), min(len(queue), chance.choice((0, 1, 5, 60)))), 10**12]


def updates(chance: random.Random, queue: dict[int, JobRecord]) -> Sequence[Update]:
    return [
        Update(id_, chance.randrange(100), chance.choice((DEAD, 0, 10**9)))
        for id_ in chance.sample(sorted(queue), min(len(queue), chance.choice((0, 1, 5))))
    ]


# ---- a batch is whole or not at all


@pytest.mark.parametrize("at", [0, 1, 127, 128, 300, 999])
async def test_a_batch_that_fails_leaves_nothing(storage: SqlStorage, at: int) -> None:
    before = jobs(1, 10)
    await storage.commit(insert(*before))
    rows = jobs(1001, 2000)
    rows[at] = job(TOO_LARGE_ID)
    with pytest.raises(RowRefused):
        await storage.commit(Changes([1, 2, 3], [Update(4, 5, 6)], rows))
    assert await everything(storage) == before


async def test_after_a_batch_that_failed_the_next_one_succeeds(storage: SqlStorage) -> None:
    for id_ in (1, 2, 3):
        with pytest.raises(StorageError):
            await storage.commit(insert(job(id_ + 10), job(TOO_LARGE_ID)))
        await storage.commit(insert(job(id_)))
    assert await ids(storage) == [1, 2, 3]


async def test_deletes_go_through_when_the_inserts_of_their_batch_do_not(storage: SqlStorage) -> None:
    await storage.commit(insert(*jobs(1, 3)))
    changes = Changes([1], [Update(2, 1, 1)], [job(4), job(TOO_LARGE_ID)])
    with pytest.raises(StorageError):
        await storage.commit(changes)
    await storage.commit(changes._replace(inserts=()))
    assert await everything(storage) == [job(2, data=b"2", attempts=1, run_at=1), *jobs(3, 3)]


# ---- opening and closing


async def test_rows_are_there_after_closing(make_storage: StorageFactory) -> None:
    stored = jobs(1, 1000)
    async with make_storage() as storage:
        await storage.commit(insert(*stored))
    async with make_storage() as storage:
        assert await everything(storage) == stored


async def test_close_may_be_called_twice_and_before_open(make_storage: StorageFactory) -> None:
    storage = make_storage()
    await storage.close()
    await storage.open()
    await storage.commit(insert(job(1)))
    await storage.close()
    await storage.close()
    async with make_storage() as storage:
        assert await ids(storage) == [1]
