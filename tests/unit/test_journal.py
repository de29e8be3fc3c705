"""The journal between a real broker and storages that fail as databases do, on a clock that is made up."""

import asyncio
import logging

import pytest

from gearmand_py.server import packets
from gearmand_py.server.connection import FENCED_BYTES, FENCED_HIGH
from gearmand_py.server.journal import HIGH_BYTES, HIGH_ROWS, LEAST_ROWS, LINGER, LONGEST_BACKOFF, WRITING, Pace
from gearmand_py.server.output import WRITE_HIGH
from tests.unit.journal_bench import (
    AWAY,
    FULL,
    MOMENT,
    TIMEOUT,
    Bench,
    Verdict,
    be_away,
    from_the_second_on,
    moment,
    on_a_bench,
    refuse,
    refuse_inserts,
    refuse_uncertainly,
    refused,
    times,
    well,
)

# ---- group commit


@on_a_bench
async def test_a_job_is_acknowledged_after_its_commit(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    assert len(bench.storage.attempts) == 1
    assert client.answers == []
    bench.storage.gate.set()
    await moment()
    assert client.kinds == ["JOB_CREATED"]
    assert bench.storage.stored == [b"one"]


@on_a_bench
async def test_a_job_is_not_handed_out_before_its_commit(bench: Bench) -> None:
    client, worker = bench.connect(), bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    grab = (packets.request(packets.CAN_DO, b"f"), packets.request(packets.GRAB_JOB))
    worker.send(*grab, packets.request(packets.PRE_SLEEP))
    assert worker.kinds == ["NO_JOB"]
    bench.storage.gate.set()
    await moment()
    assert worker.kinds == ["NO_JOB", "NOOP"]
    worker.send(packets.request(packets.GRAB_JOB))
    assert worker.kinds == ["NO_JOB", "NOOP", "JOB_ASSIGN"]


@on_a_bench
async def test_the_next_batch_grows_while_one_is_committed(bench: Bench) -> None:
    clients = [bench.connect() for _ in range(5)]
    bench.storage.gate.clear()
    clients[0].submit(b"first")
    await moment()
    for client in clients:
        client.submit(b"second", b"third")
        await moment()
    assert [len(changes.inserts) for changes in bench.storage.attempts] == [1]
    bench.storage.gate.set()
    await moment()
    assert [len(changes.inserts) for changes in bench.storage.attempts] == [1, 10]
    assert [client.kinds for client in clients] == [["JOB_CREATED"] * 3] + [["JOB_CREATED"] * 2] * 4


@on_a_bench
async def test_a_connection_is_answered_in_order(bench: Bench) -> None:
    client, other = bench.connect(), bench.connect()
    bench.storage.gate.clear()
    echo = packets.request(packets.ECHO_REQ, b"echo")
    client.send(echo)
    client.submit(b"one")
    client.send(echo, packets.request(packets.SUBMIT_JOB, b"f", b"", b"foreground"))
    other.send(echo)
    await moment()
    assert client.kinds == other.kinds == ["ECHO_RES"]
    bench.storage.gate.set()
    await moment()
    assert client.kinds == ["ECHO_RES", "JOB_CREATED", "ECHO_RES", "JOB_CREATED"]


@on_a_bench
async def test_an_idle_journal_commits_at_once(bench: Bench) -> None:
    client = bench.connect()
    started = asyncio.get_running_loop().time()
    client.submit(b"one")
    await moment()
    assert bench.storage.times == [started]


@on_a_bench
async def test_deletes_linger_to_become_one_batch(bench: Bench) -> None:
    await bench.store(b"one", b"two", b"three")
    worker = bench.connect()
    bench.storage.attempts.clear()
    for _ in range(3):
        worker.work_off(1)
        await asyncio.sleep(LINGER / 4)
    await moment()
    assert [len(changes.deletes) for changes in bench.storage.attempts] == [3]
    assert bench.storage.rows == {}


@on_a_bench
async def test_deletes_linger_no_longer_than_till_somebody_waits(bench: Bench) -> None:
    await bench.store(b"one")
    bench.connect().work_off(1)
    client = bench.connect()
    started = asyncio.get_running_loop().time()
    client.submit(b"two")
    await moment()
    assert bench.storage.times[1:] == [started]
    assert (len(bench.storage.attempts[-1].deletes), len(bench.storage.attempts[-1].inserts)) == (1, 1)


@on_a_bench
async def test_a_job_outlives_a_client_that_leaves_before_the_commit(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    client.leave()
    bench.storage.gate.set()
    await moment()
    assert client.answers == []
    assert bench.storage.stored == [b"one"]
    bench.connect().work_off(1)
    await moment()
    assert bench.storage.rows == {}


# ---- the storage is away for a while


@on_a_bench
async def test_an_outage_is_waited_out(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = be_away
    client.submit(b"one")
    await asyncio.sleep(TIMEOUT - 2)
    assert client.answers == []
    bench.storage.before = well
    await asyncio.sleep(LONGEST_BACKOFF + MOMENT)
    assert client.kinds == ["JOB_CREATED"]
    assert bench.storage.stored == [b"one"]


@on_a_bench
async def test_the_rest_of_the_server_does_not_wait(bench: Bench) -> None:
    await bench.store(b"one")
    bench.storage.before = be_away
    bench.connect().submit(b"two")
    await moment()
    client, worker = bench.connect(), bench.connect()
    worker.work_off(1)
    client.send(packets.request(packets.SUBMIT_JOB, b"g", b"", b"foreground"))
    handle = worker.take(b"g")
    worker.complete(handle)
    await moment()
    assert client.kinds == ["JOB_CREATED", "WORK_COMPLETE"]


@on_a_bench
async def test_tries_become_rarer(bench: Bench) -> None:
    bench.storage.before = be_away
    bench.connect().submit(b"one")
    await asyncio.sleep(TIMEOUT - 1)
    pauses = [later - earlier for earlier, later in zip(bench.storage.times, bench.storage.times[1:], strict=False)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == pytest.approx(LONGEST_BACKOFF)


@on_a_bench
async def test_an_outage_over_the_timeout_is_told(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = be_away
    client.submit(b"one", b"two")
    await asyncio.sleep(TIMEOUT - 1)
    assert client.answers == []
    await asyncio.sleep(1 + 2 * LONGEST_BACKOFF)
    assert client.answers == [refused(AWAY)] * 2
    assert bench.broker.jobs == {}


@on_a_bench
async def test_after_an_outage_all_is_well_without_a_restart(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = be_away
    client.submit(b"one")
    await asyncio.sleep(10 * TIMEOUT)
    client.submit(b"two")
    await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    assert client.answers == [refused(AWAY)] * 2
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    client.submit(b"three")
    await moment()
    assert client.kinds == ["ERROR", "ERROR", "JOB_CREATED"]
    assert bench.storage.stored == [b"three"]


@on_a_bench
async def test_deletes_wait_for_the_storage_to_come_back(bench: Bench) -> None:
    await bench.store(b"one", b"two", b"three")
    bench.storage.before = be_away
    bench.connect().work_off(2)
    await asyncio.sleep(10 * TIMEOUT)
    assert bench.storage.stored == [b"one", b"two", b"three"]
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert bench.storage.stored == [b"three"]


@on_a_bench
async def test_an_outage_counts_from_its_own_beginning(bench: Bench) -> None:
    """One row that is refused, long ago, does not shorten the patience with an outage."""
    client = bench.connect()
    bench.storage.before = times(1, refuse)
    client.submit(b"refused")
    await asyncio.sleep(2 * TIMEOUT)
    bench.storage.before = be_away
    client.submit(b"one")
    await asyncio.sleep(TIMEOUT / 2)
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR", "JOB_CREATED"]


# ---- it cannot be known whether a commit was done


@on_a_bench
async def test_a_commit_whose_answer_was_lost_is_done_again(bench: Bench) -> None:
    await bench.store(b"one")
    bench.storage.after = times(1, be_away)
    worker, client = bench.connect(), bench.connect()
    worker.work_off(1)
    client.submit(b"two", b"three")
    await moment()
    assert bench.storage.attempts[1] == bench.storage.attempts[2]
    assert client.kinds == ["JOB_CREATED", "JOB_CREATED"]
    assert bench.storage.stored == [b"two", b"three"]


@on_a_bench
async def test_rows_that_were_stored_after_all_are_deleted(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.after = be_away
    client.submit(b"one", b"two")
    await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    assert client.answers == [refused(AWAY)] * 2
    assert bench.storage.stored == []  # the deletes of the next batch went in as well
    bench.storage.before = be_away  # and with nothing going in they are kept
    client.submit(b"three")
    await asyncio.sleep(10 * TIMEOUT)
    bench.storage.before = bench.storage.after = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert bench.storage.rows == {}
    assert bench.broker.jobs == {}


@on_a_bench
async def test_rows_that_were_stored_after_all_are_deleted_when_the_outage_ends(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = lambda changes: None if changes.inserts else be_away(changes)
    bench.storage.after = be_away
    client.submit(b"one", b"two")
    await asyncio.sleep(10 * TIMEOUT)
    assert client.answers == [refused(AWAY)] * 2
    assert bench.storage.stored == [b"one", b"two"]
    bench.storage.before = bench.storage.after = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert bench.storage.stored == []


@on_a_bench
async def test_an_outcome_that_was_unknown_once_stays_so(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.after = times(1, be_away)  # stored, and the answer lost
    bench.storage.before = from_the_second_on(refuse)
    client.submit(b"one")
    await asyncio.sleep(10 * LONGEST_BACKOFF)
    assert client.answers == [refused(FULL)]
    assert bench.storage.stored == [b"one"]
    bench.storage.before = well
    client.submit(b"two")
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR", "JOB_CREATED"]
    assert bench.storage.stored == [b"two"]


@pytest.mark.parametrize(("failure", "reason"), [("away", AWAY), ("uncertain", FULL)])
@on_a_bench
async def test_a_long_outage_does_not_fill_the_memory(bench: Bench, failure: str, reason: str) -> None:
    """Rows of which nobody knows are remembered to be deleted; but not those of every client that tries for a week."""
    client = bench.connect()
    bench.storage.before = be_away if failure == "away" else refuse_uncertainly
    submitted = [b"x"] * 100
    client.submit(*submitted)
    await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    for _ in range(100):
        client.submit(*submitted)
        await asyncio.sleep(2 * LONGEST_BACKOFF)
    await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    assert client.answers == [refused(reason)] * 101 * len(submitted)
    until_the_first_gave_up = 1 + int(TIMEOUT / LONGEST_BACKOFF)
    assert len(bench.broker.batch.deletes) <= until_the_first_gave_up * len(submitted)


# ---- the storage refuses


@on_a_bench
async def test_a_refusal_is_told_at_once(bench: Bench) -> None:
    client, other = bench.connect(), bench.connect()
    bench.storage.before = refuse
    client.submit(b"one", b"two")
    other.submit(b"three")
    await asyncio.sleep(0.01)
    assert client.answers == [refused(FULL)] * 2
    assert other.answers == [refused(FULL)]
    assert bench.broker.jobs == {}
    await moment()
    assert len(bench.storage.attempts) == 1


@on_a_bench
async def test_after_a_refusal_all_is_well_without_a_restart(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = refuse
    for _ in range(10):
        client.submit(b"refused")
        await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.answers == [refused(FULL)] * 10
    bench.storage.before = well
    client.submit(b"one")
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds[10:] == ["JOB_CREATED"]
    assert bench.storage.stored == [b"one"]


@on_a_bench
async def test_deletes_and_updates_go_through_where_inserts_do_not(bench: Bench) -> None:
    await bench.store(b"one", b"two", b"three")
    worker, gone, client = bench.connect(), bench.connect(), bench.connect()
    bench.storage.before = refuse_inserts
    worker.work_off(1)
    gone.take()
    gone.leave()
    client.submit(b"four")
    await moment()
    assert client.answers == [refused(FULL)]
    assert [(row.data, row.attempts) for row in bench.storage.rows.values()] == [(b"two", 1), (b"three", 0)]


@on_a_bench
async def test_deletes_and_updates_that_are_refused_too_are_kept(bench: Bench) -> None:
    await bench.store(b"one", b"two", b"three")
    worker, gone, client = bench.connect(), bench.connect(), bench.connect()
    bench.storage.before = refuse
    worker.work_off(1)
    gone.take()
    gone.leave()
    client.submit(b"four")
    await asyncio.sleep(10 * TIMEOUT)
    assert client.answers == [refused(FULL)]
    assert bench.storage.stored == [b"one", b"two", b"three"]
    bench.storage.before = well
    client.submit(b"five")
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR", "JOB_CREATED"]
    rows = [(row.data, row.attempts) for row in sorted(bench.storage.rows.values())]
    assert rows == [(b"two", 1), (b"three", 0), (b"five", 0)]


@on_a_bench
async def test_completions_reach_the_table_although_every_submission_is_refused(bench: Bench) -> None:
    await bench.store(*[b"%d" % number for number in range(100)])
    worker, client = bench.connect(), bench.connect()
    bench.storage.before = refuse_inserts
    for _ in range(20):
        worker.work_off(5)
        client.submit(b"refused")
        await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.answers == [refused(FULL)] * 20
    assert bench.storage.rows == {}


@on_a_bench
async def test_a_bug_in_a_storage_costs_its_batch_and_not_the_server(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.before = lambda changes: ZeroDivisionError("a bug") if changes.inserts else None
    client.submit(b"one")
    await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR"]
    bench.storage.before = well
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    client.submit(b"two")
    await moment()
    assert client.kinds == ["ERROR", "JOB_CREATED"]
    assert bench.storage.stored == [b"two"]


@on_a_bench
async def test_an_outcome_once_unknown_stays_unknown(bench: Bench) -> None:
    """Stored, the answer lost, and refused when tried again: the row must go, for its submitter got ERROR."""
    client = bench.connect()
    verdicts = iter([well, refuse])
    bench.storage.before = lambda changes: next(verdicts, well)(changes) if changes.inserts else None
    bench.storage.after = times(1, be_away)
    client.submit(b"one")
    await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR"]
    assert bench.storage.stored == []


# ---- back-pressure


@pytest.mark.parametrize(
    "loads",
    [
        [[b"x"] * HIGH_ROWS],
        [[b"x"] * (HIGH_ROWS // 4)] * 4,
        [[b"x" * HIGH_BYTES]],
        [[b"x" * (HIGH_BYTES // 8)] * 2] * 4,
    ],
    ids=["rows of one client", "rows of some clients", "bytes of one client", "bytes of some clients"],
)
@on_a_bench
async def test_submitters_are_not_read_while_the_open_batch_is_full(bench: Bench, loads: list[list[bytes]]) -> None:
    first, foreground = bench.connect(), bench.connect()
    clients = [bench.connect() for _ in loads]
    bench.storage.gate.clear()
    first.submit(b"first")
    await moment()  # its batch is being committed; the next one is open
    for client, load in zip(clients, loads, strict=True):
        assert all(client.reading for client in clients)
        await client.submit_many(*load)
    assert not any(client.reading for client in clients)
    foreground.send(packets.request(packets.SUBMIT_JOB, b"g", b"", b""))
    assert foreground.kinds == ["JOB_CREATED"]
    assert foreground.reading
    bench.storage.gate.set()
    await moment()
    for client, load in zip(clients, loads, strict=True):
        assert client.reading
        assert client.kinds == ["JOB_CREATED"] * len(load)


@on_a_bench
async def test_submitters_are_read_again_when_their_batch_is_taken(bench: Bench) -> None:
    """Else the next batch could not grow while this one is being synced."""
    first, client = bench.connect(), bench.connect()
    bench.storage.gate.clear()
    first.submit(b"first")
    await moment()
    await client.submit_many(*[b"x"] * HIGH_ROWS)
    assert not client.reading
    bench.storage.after = lambda changes: bench.storage.gate.clear()  # one commit, and the next one waits again
    bench.storage.gate.set()
    await moment()
    assert [len(changes.inserts) for changes in bench.storage.attempts] == [1, HIGH_ROWS]
    assert client.answers == []
    assert client.reading
    bench.storage.gate.set()


@on_a_bench
async def test_a_client_that_asks_on_behind_a_batch_is_not_read(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    asked = 0
    while client.reading:
        client.send(*[packets.request(packets.ECHO_REQ, b"echo")] * 1000)
        asked += 1000
        assert asked <= FENCED_HIGH + 1000
    bench.storage.gate.set()
    await moment()
    assert client.reading
    assert client.kinds == ["JOB_CREATED"] + ["ECHO_RES"] * asked


@on_a_bench
async def test_answers_behind_a_batch_are_weighed_too(bench: Bench) -> None:
    """A few large ones take as much memory as many small ones."""
    client = bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    asked = 0
    while client.reading:
        client.send(packets.request(packets.ECHO_REQ, bytes(HIGH_BYTES // 4)))
        asked += 1
    assert asked <= FENCED_BYTES // (HIGH_BYTES // 4) + 1
    bench.storage.gate.set()
    await moment()
    assert client.reading
    assert client.kinds == ["JOB_CREATED"] + ["ECHO_RES"] * asked


@on_a_bench
async def test_a_full_batch_takes_no_more_of_a_read_that_waits_for_its_turn(bench: Bench) -> None:
    first, client, other = bench.connect(), bench.connect(), bench.connect()
    bench.storage.gate.clear()
    first.submit(b"first")
    await moment()
    await client.submit_many(*[b"x"] * HIGH_ROWS * 2)
    await other.submit_many(*[b"x"] * HIGH_ROWS)
    await moment()
    assert HIGH_ROWS <= len(bench.broker.batch.inserts) < HIGH_ROWS * 1.1
    bench.storage.gate.set()
    while bench.front.turns.busy:
        await moment()
    await moment()
    assert len(client.kinds) == HIGH_ROWS * 2
    assert len(other.kinds) == HIGH_ROWS


def test_the_pace_is_that_of_the_storage() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(1, 0.010)  # a sync
        pace.note(pace.most, 0.010 + pace.most * 20e-6)
    assert pace.most == pytest.approx(WRITING / 20e-6, rel=0.1)
    for _ in range(20):
        pace.note(pace.most, 0.010 + pace.most * 1e-3)
    assert pace.most == LEAST_ROWS
    for _ in range(20):
        pace.note(pace.most, 0.011)
    assert pace.most == pytest.approx(HIGH_ROWS, abs=1)


def test_where_a_sync_takes_long_more_rows_share_it() -> None:
    pace = Pace()
    for _ in range(50):
        pace.note(1, 0.5)
    for _ in range(20):
        pace.note(pace.most, 0.5 + pace.most * 20e-6)
    assert pace.most == pytest.approx(HIGH_ROWS, abs=1)


@on_a_bench
async def test_submitters_are_read_again_when_an_outage_is_told(bench: Bench) -> None:
    client, other = bench.connect(), bench.connect()
    bench.storage.before = be_away
    client.submit(b"first")
    await moment()
    await other.submit_many(*[b"x"] * HIGH_ROWS)
    assert client.reading
    assert not other.reading
    other.leave()  # while it is paused
    late = bench.connect()
    late.submit(b"late")
    assert not late.reading
    await asyncio.sleep(TIMEOUT + 3 * LONGEST_BACKOFF)
    assert client.answers == [refused(AWAY)]
    assert late.answers == [refused(AWAY)]
    assert late.reading
    assert bench.broker.jobs == {}


@on_a_bench
async def test_the_open_batch_stays_near_its_mark(bench: Bench) -> None:
    """However many clients submit, and however long the outage: each adds one read at most to a full batch."""
    read = [b"x"] * 1000
    bench.storage.before = be_away
    bench.connect().submit(b"first")
    await moment()
    clients = [bench.connect() for _ in range(50)]
    for _ in range(5):
        for client in clients:
            if client.reading:
                client.submit(*read)
        await moment()
    assert len(bench.broker.batch.inserts) <= HIGH_ROWS + len(clients) * len(read)
    assert not any(client.reading for client in clients)


@on_a_bench
async def test_a_slow_reader_is_not_read_for_two_reasons(bench: Bench) -> None:
    client = bench.connect()
    bench.storage.gate.clear()
    client.submit(b"first")
    await moment()
    await client.submit_many(*[b"x"] * HIGH_ROWS)
    assert not client.reading
    client.unread = 2 * WRITE_HIGH
    client.client.pause_writing()
    bench.storage.gate.set()
    await moment()
    assert not client.reading
    client.client.resume_writing()
    assert client.reading


# ---- the end


@on_a_bench
async def test_stop_settles_what_is_open(bench: Bench) -> None:
    client, other = bench.connect(), bench.connect()
    bench.storage.gate.clear()
    client.submit(b"one")
    await moment()
    other.submit(b"two")
    bench.front.journal.stop()
    await moment()
    assert not bench.running.done()
    bench.storage.gate.set()
    await bench.stop()
    assert client.kinds == other.kinds == ["JOB_CREATED"]
    assert bench.storage.stored == [b"one", b"two"]


@on_a_bench
async def test_stop_does_not_wait_for_the_linger(bench: Bench) -> None:
    await bench.store(b"one")
    bench.connect().work_off(1)
    await bench.stop()
    assert bench.storage.rows == {}


@on_a_bench
async def test_stop_when_idle(bench: Bench) -> None:
    await bench.stop()
    assert bench.storage.attempts == []


@pytest.mark.parametrize(("failure", "reason"), [(refuse, FULL), (be_away, AWAY)], ids=["refused", "away"])
@pytest.mark.parametrize("pending", [False, True], ids=["inserts", "deletes too"])
@on_a_bench
async def test_stop_while_the_storage_fails(bench: Bench, failure: Verdict, reason: str, *, pending: bool) -> None:
    await bench.store(b"one")
    client = bench.connect()
    bench.storage.before = failure
    if pending:
        bench.connect().work_off(1)
    client.submit(b"two")
    await bench.stop()
    assert client.answers == [refused(reason)]
    assert bench.storage.stored == [b"one"]


@pytest.mark.parametrize("failure", [refuse, be_away], ids=["refused", "away"])
@on_a_bench
async def test_stop_long_after_the_storage_failed(bench: Bench, failure: Verdict) -> None:
    await bench.store(b"one")
    bench.storage.before = failure
    bench.connect().work_off(1)
    bench.connect().submit(b"two")
    await asyncio.sleep(3 * TIMEOUT)
    await bench.stop()
    assert bench.storage.stored == [b"one"]


# ---- what the operator reads


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage().partition(":")[0]) for record in caplog.records]


@pytest.mark.parametrize("failure", [refuse, refuse_inserts, be_away], ids=["refused", "inserts refused", "away"])
@on_a_bench
async def test_each_change_of_state_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, failure: Verdict
) -> None:
    caplog.set_level(logging.INFO)
    await bench.store(*[b"%d" % number for number in range(30)])
    worker, client = bench.connect(), bench.connect()
    bench.storage.before = failure
    for _ in range(10):
        worker.work_off(2)
        client.submit(b"refused")
        await asyncio.sleep(TIMEOUT + 2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR"] * 10
    down = (logging.ERROR, "background jobs cannot be stored")
    assert said(caplog) == [down]
    bench.storage.before = well
    for _ in range(5):
        worker.work_off(2)
        client.submit(b"stored")
        await asyncio.sleep(2 * LONGEST_BACKOFF)
    assert client.kinds == ["ERROR"] * 10 + ["JOB_CREATED"] * 5
    assert len(said(caplog)) == 2
    assert said(caplog)[0] == down
    assert said(caplog)[1][1].startswith("background jobs are stored again")


@on_a_bench
async def test_the_log_gives_the_reason(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.storage.before = refuse
    bench.connect().submit(b"one")
    await moment()
    assert FULL in caplog.text
