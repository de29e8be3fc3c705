"""Batches of the journal in special cases: a row that the database does not take, an outage, nothing to do.

Of a bad row only those who wait for it are told, whatever else is in its batch."""

import asyncio

import pytest

from gearmand_py.server import packets
from gearmand_py.server.journal import IDLE, LONGEST_BACKOFF, merged
from gearmand_py.storage.base import Changes, JobRecord, RowRefused, StorageUnavailable, Update
from tests.unit.journal_bench import (
    AWAY,
    MOMENT,
    TIMEOUT,
    Bench,
    Link,
    be_away,
    moment,
    on_a_bench,
    refuse_uncertainly,
    refused,
    times,
    well,
)

TOO_LARGE = "a job of 9 bytes is too large"
BAD = b"bad"


def refuse_bad_rows(changes: Changes) -> RowRefused | None:
    """A database that says no to a batch for one row in it, and not which."""
    return RowRefused(TOO_LARGE) if any(record.data == BAD for record in changes.inserts) else None


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("at", ["first", "last", "middle"])
@on_a_bench
async def test_a_bad_row_fails_alone(bench: Bench, count: int, at: str) -> None:
    bench.storage.before = refuse_bad_rows
    jobs = [b"%d" % number for number in range(count)]
    place = {"first": 0, "middle": count // 2, "last": count}[at]
    submitted = [*jobs[:place], BAD, *jobs[place:]]
    client = bench.connect()
    client.submit(*submitted)
    await moment()
    expected = [refused(TOO_LARGE) if data == BAD else "JOB_CREATED" for data in submitted]
    assert [answer if answer[0] == "ERROR" else answer[0] for answer in client.answers] == expected
    assert bench.storage.stored == jobs
    bench.connect().work_off(count)
    await moment()
    assert bench.storage.rows == {}
    assert bench.broker.jobs == {}


@on_a_bench
async def test_all_rows_may_be_bad(bench: Bench) -> None:
    bench.storage.before = refuse_bad_rows
    client = bench.connect()
    client.submit(*[BAD] * 10)
    await moment()
    assert client.answers == [refused(TOO_LARGE)] * 10
    assert (bench.storage.rows, bench.broker.jobs) == ({}, {})


@on_a_bench
async def test_deletes_and_updates_of_its_batch_go_through(bench: Bench) -> None:
    await bench.store(b"done", b"returned")
    worker, leaver, client = bench.connect(), bench.connect(), bench.connect()
    bench.storage.before = refuse_bad_rows
    handle = worker.take()
    leaver.take()
    bench.storage.attempts.clear()
    worker.complete(handle)
    leaver.leave()
    client.submit(BAD)
    await moment()
    first = bench.storage.attempts[0]
    assert (len(first.deletes), len(first.updates), len(first.inserts)) == (1, 1, 1)
    assert client.answers == [refused(TOO_LARGE)]
    assert [(row.data, row.attempts) for row in bench.storage.rows.values()] == [(b"returned", 1)]


@on_a_bench
async def test_a_later_update_of_a_row_outlives_one_that_was_given_up(bench: Bench) -> None:
    await bench.store(b"data")
    bench.storage.before = be_away
    for _ in range(2):
        worker = bench.connect()
        worker.take()
        worker.leave()
        await asyncio.sleep(TIMEOUT / 2 + LONGEST_BACKOFF)
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    (row,) = bench.storage.rows.values()
    assert row.attempts == 2


@on_a_bench
async def test_it_is_no_outage(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.storage.before = refuse_bad_rows
    client = bench.connect()
    client.submit(b"good", BAD)
    await moment()
    assert [record.getMessage() for record in caplog.records] == [f"a job was refused: {TOO_LARGE}"]


@on_a_bench
async def test_whoever_joined_it_is_told_too(bench: Bench) -> None:
    bench.storage.gate.clear()
    first, joined, waiting = bench.connect(), bench.connect(), bench.connect()
    first.submit(b"before")
    await moment()
    bench.storage.before = refuse_bad_rows
    first.submit(BAD, unique=b"key")
    joined.submit(BAD, unique=b"key")
    waiting.send(packets.request(packets.SUBMIT_JOB, b"f", b"key", BAD))
    bench.storage.gate.set()
    await moment()
    assert first.answers[1:] == joined.answers == [refused(TOO_LARGE)]
    assert waiting.kinds == ["JOB_CREATED"]  # a foreground job goes on in the foreground
    bench.connect().work_off(2)
    await moment()
    assert waiting.kinds == ["JOB_CREATED", "WORK_COMPLETE"]


@on_a_bench
async def test_the_database_goes_away_while_the_row_is_looked_for(bench: Bench) -> None:
    client = bench.connect()
    away = times(2, be_away)
    seen = 0

    def verdict(changes: Changes) -> Exception | None:
        nonlocal seen
        seen += 1
        return away(changes) if 3 <= seen <= 4 else refuse_bad_rows(changes)

    bench.storage.before = verdict
    client.submit(b"one", b"two", BAD, b"three")
    await moment()
    assert client.kinds == ["JOB_CREATED", "JOB_CREATED", "ERROR", "JOB_CREATED"]
    assert bench.storage.stored == [b"one", b"two", b"three"]


@on_a_bench
async def test_a_row_that_was_refused_is_not_tried_again(bench: Bench) -> None:
    """The database goes away after it refused the row, and would take it when it is back."""
    client = bench.connect()

    def verdict(changes: Changes) -> Exception | None:
        error = refuse_bad_rows(changes)
        if error and len(changes.inserts) == 1:
            bench.storage.before = times(1, be_away)  # away once, and well from then on, whatever the row
        return error

    bench.storage.before = verdict
    client.submit(BAD, b"one")
    await moment()
    await moment()
    assert client.answers[0] == refused(TOO_LARGE)
    assert client.kinds == ["ERROR", "JOB_CREATED"]
    assert bench.storage.stored == [b"one"]


@on_a_bench
async def test_given_up_while_the_row_is_looked_for_nothing_stays(bench: Bench) -> None:
    """Some of its parts are stored by then: all are refused, and deleted later."""
    client = bench.connect()

    def verdict(changes: Changes) -> Exception | None:
        if changes.deletes or len(changes.inserts) > 2:
            return refuse_bad_rows(changes)
        return None if any(record.data == b"one" for record in changes.inserts) else StorageUnavailable(AWAY)

    bench.storage.before = verdict
    client.submit(b"one", b"two", BAD, b"three")
    await moment()
    assert bench.storage.stored == [b"one", b"two"]
    assert client.answers == []
    bench.storage.before = be_away
    for _ in range(int(TIMEOUT) + 2):
        await moment()
        await moment()
    assert client.answers == [refused(AWAY)] * 4
    bench.storage.before = well
    for _ in range(int(LONGEST_BACKOFF) + 2):
        await moment()
    client.submit(b"next")
    await moment()
    assert bench.storage.stored == [b"next"]


# ---- batches that wait together


def record(id_: int) -> JobRecord:
    return JobRecord(id_, b"f", None, 1, 0, 0, 0, None, b"")


def test_one_batch_is_itself() -> None:
    changes = Changes([1], [Update(2, 1, 0)], [record(3)])
    assert merged([changes]) is changes


def test_batches_are_merged_in_order() -> None:
    batches = [
        Changes([1], [Update(5, 1, 0)], [record(10), record(11)]),
        Changes([2], [Update(5, 2, 0)], [record(12)]),
        Changes([10], [], [record(13)]),
    ]
    assert merged(batches) == Changes([1, 2, 10], [Update(5, 2, 0)], [record(11), record(12), record(13)])


@on_a_bench
async def test_each_submission_waits_its_own_time(bench: Bench) -> None:
    """An outage that began long ago is no reason to wait shorter."""
    early, late = bench.connect(), bench.connect()
    bench.storage.before = be_away
    early.submit(b"early")
    await asyncio.sleep(TIMEOUT - 5)
    late.submit(b"late")
    await asyncio.sleep(5 + 2 * LONGEST_BACKOFF)
    assert early.answers == [refused(AWAY)]
    assert late.answers == []
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert late.kinds == ["JOB_CREATED"]
    assert bench.storage.stored == [b"late"]
    late.submit(b"more")
    await moment()
    assert bench.storage.stored == [b"late", b"more"]


@on_a_bench
async def test_a_submission_waits_its_time_and_not_much_longer(bench: Bench) -> None:
    bench.storage.before = be_away
    clock = asyncio.get_running_loop().time
    waiting: dict[Link, float] = {}
    waited: list[float] = []
    for _ in range(3 * int(TIMEOUT)):
        client = bench.connect()
        waiting[client] = clock()
        client.submit(b"one")
        await asyncio.sleep(1)
        answered = [client for client in waiting if client.answers]
        waited += [clock() - waiting.pop(client) for client in answered]
    assert len(waited) >= TIMEOUT
    assert min(waited) >= TIMEOUT
    assert max(waited) <= TIMEOUT + 2 * LONGEST_BACKOFF + 1


# ---- when nothing is to be done


@on_a_bench
async def test_an_idle_journal_looks_whether_the_storage_is_there(bench: Bench) -> None:
    await asyncio.sleep(10 * IDLE + MOMENT)
    assert 9 <= bench.storage.looks <= 10
    assert bench.storage.attempts == []


@on_a_bench
async def test_a_busy_one_does_not(bench: Bench) -> None:
    client = bench.connect()
    for _ in range(20):
        client.submit(b"one")
        await asyncio.sleep(IDLE / 2)
    assert bench.storage.looks == 0


@on_a_bench
async def test_an_outage_in_idle_times_is_told(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.storage.before = be_away
    await asyncio.sleep(3 * TIMEOUT)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"background jobs cannot be stored: {AWAY}; foreground jobs go on"
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert [record.getMessage().partition(",")[0] for record in caplog.records[1:]] == [
        "background jobs are stored again"
    ]
    assert bench.broker.underway == []


@on_a_bench
async def test_a_delete_done_again_does_not_end_an_outage(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Its sync had failed, it was there all the same, and so nothing had to be synced the second time."""
    await bench.store(b"one")
    bench.storage.before = times(1, refuse_uncertainly)
    bench.connect().work_off(1)
    await asyncio.sleep(3 * LONGEST_BACKOFF)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["background jobs cannot be stored"]
    client = bench.connect()
    client.submit(b"two")
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["JOB_CREATED"]
    assert caplog.records[-1].getMessage().startswith("background jobs are stored again")
