"""No row is acknowledged whose id another start might give again; every link of the bench looks at that."""

import pytest

from gearmand_py.server import packets
from gearmand_py.storage.base import Changes, RowRefused, id_floor
from tests.unit.journal_bench import (
    Bench,
    Verdict,
    be_away,
    moment,
    on_a_bench,
    refuse,
    refuse_inserts,
    refuse_uncertainly,
    times,
)

AHEAD_OF_US = 4_000_000_000_000  # milliseconds: a clock of the year 2096
UNKNOWN_OUTCOMES = (refuse_uncertainly, be_away)


def refuse_bad_rows(changes: Changes) -> RowRefused | None:
    return RowRefused("too large") if any(record.data == b"bad" for record in changes.inserts) else None


@on_a_bench
async def test_the_bound_is_raised_by_the_batch_that_reaches_it(bench: Bench) -> None:
    for _ in range(3):
        await bench.store(b"one", b"two")
    first, *others = [changes.ids_below for changes in bench.storage.attempts]
    assert first > max(bench.storage.rows)
    assert others == [0, 0]


@on_a_bench
async def test_a_clock_that_jumps_ahead_is_followed(bench: Bench) -> None:
    await bench.store(b"one")
    bench.broker.ids.advance(AHEAD_OF_US)
    await bench.store(b"two")
    assert bench.storage.ids_below > id_floor(AHEAD_OF_US, 0)


@on_a_bench
async def test_ids_of_foreground_jobs_need_no_storage(bench: Bench) -> None:
    await bench.store(b"one")
    bench.storage.attempts.clear()
    bench.broker.ids.advance(AHEAD_OF_US)
    bench.connect().send(packets.request(packets.SUBMIT_JOB, b"f", b"", b"foreground"))
    await moment()
    assert bench.storage.attempts == []


@on_a_bench
async def test_a_foreground_job_that_becomes_a_row_is_below_the_bound_too(bench: Bench) -> None:
    await bench.store(b"one")
    bench.broker.ids.advance(AHEAD_OF_US)
    client = bench.connect()
    client.send(packets.request(packets.SUBMIT_JOB, b"f", b"key", b"foreground"))
    client.submit(b"background", unique=b"key")
    await moment()
    assert client.kinds == ["JOB_CREATED", "JOB_CREATED"]
    assert max(bench.storage.rows) < bench.storage.ids_below


@pytest.mark.parametrize("verdict", [refuse, refuse_inserts, refuse_uncertainly, be_away])
@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@on_a_bench
async def test_a_bound_that_failed_goes_with_the_next_batch(bench: Bench, verdict: Verdict, *, done: bool) -> None:
    """Whether the one that failed is there all the same or not."""
    if done and verdict in UNKNOWN_OUTCOMES:
        bench.storage.after = times(1, verdict)
    else:
        bench.storage.before = times(1, verdict)
    client = bench.connect()
    client.submit(b"one")
    await moment()
    client.submit(b"two")
    await moment()
    assert client.kinds[-1] == "JOB_CREATED"
    assert bench.storage.attempts[0].ids_below
    assert bench.storage.ids_below > max(bench.storage.rows)


@on_a_bench
async def test_with_rows_that_are_refused_one_by_one(bench: Bench) -> None:
    bench.storage.before = refuse_bad_rows
    client = bench.connect()
    client.submit(b"bad", b"one", b"bad", b"two", b"bad")
    await moment()
    assert client.kinds == ["ERROR", "JOB_CREATED", "ERROR", "JOB_CREATED", "ERROR"]


@on_a_bench
async def test_deletes_on_a_full_disk_take_no_bound_along(bench: Bench) -> None:
    """They need no more room for it."""
    await bench.store(b"one")
    bench.broker.ids.advance(AHEAD_OF_US)
    bench.storage.before = refuse_inserts
    worker, client = bench.connect(), bench.connect()
    bench.storage.attempts.clear()
    for data in (b"two", b"three"):
        client.submit(data)
        await moment()
    worker.work_off(1)
    client.submit(b"four")
    await moment()
    assert client.kinds == ["ERROR"] * 3
    assert bench.storage.rows == {}
    assert [bool(changes.ids_below) for changes in bench.storage.attempts] == [
        bool(changes.inserts) for changes in bench.storage.attempts
    ]
