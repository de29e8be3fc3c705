"""Submitting: what is answered, what coalesces, what is refused, and clients that go away."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    ERROR,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_ALL,
    JOB_ASSIGN_UNIQ,
    JOB_CREATED,
    NO_JOB,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
    WORK_COMPLETE,
)
from gearmand_py.storage.base import ID_EPOCH_MS, ID_TIME_SHIFT
from tests.core import PREFIX, Core

FOREGROUND: Final = [SUBMIT_JOB_HIGH, SUBMIT_JOB, SUBMIT_JOB_LOW]
BACKGROUND: Final = [SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG, SUBMIT_JOB_LOW_BG]


@pytest.fixture
def core() -> Core:
    return Core()


# ---- what is answered


@pytest.mark.parametrize("kind", FOREGROUND)
def test_a_foreground_job_is_acknowledged_at_once_and_never_stored(core: Core, kind: int) -> None:
    client = core.connect()
    core.send(client, kind, b"f", b"", b"data")

    ((answer, handle),) = core.received(client)
    core.commit()

    assert answer == JOB_CREATED
    assert handle.startswith(PREFIX)
    assert core.table.rows == {}


@pytest.mark.parametrize(("kind", "priority"), list(zip(BACKGROUND, (0, 1, 2), strict=True)))
def test_a_background_job_is_acknowledged_when_it_is_stored(core: Core, kind: int, priority: int) -> None:
    client = core.connect()
    core.send(client, kind, b"f", b"key", b"data")
    assert core.received(client) == []

    core.take()
    assert core.received(client) == []

    core.commit()
    (row,) = core.table.rows.values()
    assert core.received(client) == [(JOB_CREATED, PREFIX + b"%d" % row.id)]
    assert row[1:] == (b"f", b"key", priority, 0, 0, 0, None, b"data")


def test_handles_are_all_different(core: Core) -> None:
    client = core.connect()
    handles = [core.submit(client, b"f", kind=kind) for kind in FOREGROUND + BACKGROUND]

    assert len(set(handles)) == len(handles)


def test_a_handle_tells_when_its_job_was_submitted(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"f")
    core.advance(60)
    id_ = int(core.submit(client, b"f").rpartition(b":")[2])

    assert (id_ >> ID_TIME_SHIFT) + ID_EPOCH_MS == core.wall * 1000


def test_data_may_hold_anything(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    data = bytes(range(256)) * 3
    handle = core.submit(client, b"f", data)

    core.send(worker, GRAB_JOB)
    assert core.received(worker) == [(JOB_ASSIGN, handle, b"f", data)]


# ---- what coalesces


@pytest.mark.parametrize("first", FOREGROUND + BACKGROUND)
@pytest.mark.parametrize("second", FOREGROUND + BACKGROUND)
def test_equal_uniques_share_a_job_across_priorities_and_background(core: Core, first: int, second: int) -> None:
    one, two = core.connect(), core.connect()

    handle = core.submit(one, b"f", b"data", b"key", first)

    assert core.submit(two, b"f", b"other", b"key", second) == handle
    core.check()


@pytest.mark.parametrize(("first", "second"), [(SUBMIT_JOB_HIGH, SUBMIT_JOB_LOW), (SUBMIT_JOB_LOW, SUBMIT_JOB_HIGH)])
def test_the_first_submission_decides_data_and_priority(core: Core, first: int, second: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"normal")
    core.submit(client, b"f", b"first", b"key", first)
    core.submit(client, b"f", b"second", b"key", second)

    expected = [b"first", b"normal"] if first == SUBMIT_JOB_HIGH else [b"normal", b"first"]
    assert core.drain(worker) == expected


def test_uniques_are_those_of_a_function(core: Core) -> None:
    client = core.connect()

    assert core.submit(client, b"f", b"", b"key") != core.submit(client, b"g", b"", b"key")


def test_an_empty_unique_never_coalesces(core: Core) -> None:
    client = core.connect()

    assert core.submit(client, b"f", b"data") != core.submit(client, b"f", b"data")


def test_a_dash_coalesces_on_equal_data(core: Core) -> None:
    client = core.connect()
    handle = core.submit(client, b"f", b"data", b"-")

    assert core.submit(client, b"f", b"data", b"-", SUBMIT_JOB_BG) == handle
    assert core.submit(client, b"f", b"other", b"-") != handle


def test_a_dash_without_data_never_coalesces(core: Core) -> None:
    client = core.connect()

    assert core.submit(client, b"f", b"", b"-") != core.submit(client, b"f", b"", b"-")


def test_a_hash_is_a_unique_like_any_other(core: Core) -> None:
    client = core.connect()

    assert core.submit(client, b"f", b"data", b"#") == core.submit(client, b"f", b"other", b"#")


def test_a_running_job_can_be_joined(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"", b"key")
    core.grab(worker)

    assert core.submit(two, b"f", b"", b"key") == handle
    core.send(worker, WORK_COMPLETE, handle, b"result")

    assert core.received(one) == core.received(two) == [(WORK_COMPLETE, handle, b"result")]


def test_every_submission_gets_the_result(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key")
    core.submit(client, b"f", b"", b"key")
    core.grab(worker)
    core.send(worker, WORK_COMPLETE, handle, b"result")

    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")] * 2


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_a_finished_job_is_not_joined(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key", kind)
    core.drain(worker)
    core.received(client)

    assert core.submit(client, b"f", b"", b"key", kind) != handle


def test_a_restored_job_can_be_joined(core: Core) -> None:
    handle = core.submit(core.connect(), b"f", b"data", b"key", SUBMIT_JOB_BG)
    dashed = core.submit(core.connect(), b"f", b"data", b"-", SUBMIT_JOB_BG)
    core.crash()
    client = core.connect()

    assert core.submit(client, b"f", b"other", b"key") == handle
    assert core.submit(client, b"f", b"data", b"-") == dashed


@pytest.mark.parametrize("kind", FOREGROUND + BACKGROUND)
def test_a_unique_of_64_bytes_is_kept_whole(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    one, two = b"k" * 64, b"k" * 63 + b"x"
    handle = core.submit(client, b"f", b"", one, kind)

    assert core.submit(client, b"f", b"", one, kind) == handle
    assert core.submit(client, b"f", b"", two, kind) != handle
    core.send(worker, GRAB_JOB_UNIQ)
    assert core.received(worker) == [(JOB_ASSIGN_UNIQ, handle, b"f", one, b"")]


# ---- what is refused


@pytest.mark.parametrize("kind", FOREGROUND + BACKGROUND)
def test_a_longer_unique_is_too_large(core: Core, kind: int) -> None:
    client = core.connect()
    core.send(client, kind, b"f", b"k" * 65, b"")

    assert core.received(client) == [(ERROR, b"ARGUMENT_TOO_LARGE", b"Unique value too large")]
    assert core.broker.jobs == {}


def test_a_refused_submission_leaves_no_function_behind(core: Core) -> None:
    core.send(core.connect(), SUBMIT_JOB, b"f", b"k" * 65, b"")

    assert core.broker.functions == {}


def test_a_function_of_512_bytes_is_taken_and_a_longer_one_is_not(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"f" * 512)
    core.send(client, SUBMIT_JOB, b"f" * 513, b"", b"")

    ((kind, code, _text),) = core.received(client)
    assert (kind, code) == (ERROR, b"ARGUMENT_TOO_LARGE")


def test_a_function_needs_a_name(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB, b"", b"", b"")

    ((kind, code, _text),) = core.received(client)
    assert (kind, code) == (ERROR, b"INVALID_PACKET")


def test_a_refused_submission_costs_nothing_else(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB, b"", b"", b"")
    core.received(client)

    assert core.submit(client, b"f")


QUEUE_FULL: Final = (ERROR, b"QUEUE_ERROR", b"Job queue is full")


@pytest.mark.parametrize("kind", FOREGROUND + BACKGROUND)
def test_maxqueue_counts_queued_and_running_jobs(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.ask(client, b"maxqueue f 2\n")
    core.submit(client, b"f", b"", kind=kind)
    core.submit(client, b"f", b"", kind=kind)
    core.grab(worker)

    core.send(client, kind, b"f", b"", b"")
    core.commit()

    assert core.received(client) == [QUEUE_FULL]


def test_maxqueue_has_a_limit_for_each_priority_and_one_total(core: Core) -> None:
    client = core.connect()
    core.ask(client, b"maxqueue f 3 2 1\n")
    core.submit(client, b"f", kind=SUBMIT_JOB_HIGH)

    core.send(client, SUBMIT_JOB_LOW, b"f", b"", b"")
    assert core.received(client) == [QUEUE_FULL]
    core.submit(client, b"f", kind=SUBMIT_JOB)
    core.send(client, SUBMIT_JOB, b"f", b"", b"")
    assert core.received(client) == [QUEUE_FULL]
    core.submit(client, b"f", kind=SUBMIT_JOB_HIGH)
    core.send(client, SUBMIT_JOB_HIGH, b"f", b"", b"")
    assert core.received(client) == [QUEUE_FULL]


@pytest.mark.parametrize("limit", [b"0", b"-1", b""])
def test_no_maxqueue_is_unlimited(core: Core, limit: bytes) -> None:
    client = core.connect()
    core.ask(client, b"maxqueue f 1\n")
    core.ask(client, b"maxqueue f %b\n" % limit)

    core.submit(client, b"f")
    core.submit(client, b"f")


def test_a_full_queue_can_still_be_joined(core: Core) -> None:
    client = core.connect()
    core.ask(client, b"maxqueue f 1\n")
    handle = core.submit(client, b"f", b"", b"key")

    assert core.submit(client, b"f", b"", b"key") == handle


def test_a_full_queue_has_room_again_when_a_job_ends(core: Core) -> None:
    client = core.connect()
    core.ask(client, b"maxqueue f 1\n")
    core.submit(client, b"f")
    core.drain(core.worker(b"f"))
    core.received(client)

    assert core.submit(client, b"f")


# ---- reducers


@pytest.mark.parametrize("kind", [SUBMIT_REDUCE_JOB, SUBMIT_REDUCE_JOB_BACKGROUND])
def test_a_job_with_a_reducer(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"map")
    core.send(client, kind, b"map", b"key", b"sum", b"aggregator", b"da\0ta")
    core.commit()
    ((_, handle),) = core.received(client)

    core.send(worker, GRAB_JOB_ALL)
    assert core.received(worker) == [(JOB_ASSIGN_ALL, handle, b"map", b"key", b"sum", b"da\0ta")]


def test_a_reducer_outlives_a_restart(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_REDUCE_JOB_BACKGROUND, b"map", b"", b"sum", b"", b"data")
    core.commit()
    ((_, handle),) = core.received(client)
    core.crash()

    worker = core.worker(b"map")
    core.send(worker, GRAB_JOB_ALL)
    assert core.received(worker) == [(JOB_ASSIGN_ALL, handle, b"map", b"", b"sum", b"data")]


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_REDUCE_JOB])
def test_without_a_reducer_grab_all_is_grab_uniq(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    arguments = (b"", b"") if kind == SUBMIT_REDUCE_JOB else ()
    core.send(client, kind, b"f", b"key", *arguments, b"data")
    ((_, handle),) = core.received(client)

    core.send(worker, GRAB_JOB_ALL)
    assert core.received(worker) == [(JOB_ASSIGN_UNIQ, handle, b"f", b"key", b"data")]


# ---- foreground clients that go


def test_a_waiting_foreground_job_goes_with_its_client(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"", b"key")
    core.disconnect(client)

    assert core.grab(worker) is None
    assert core.broker.jobs == {}
    core.check()


def test_it_stays_while_another_client_waits(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.submit(two, b"f", b"", b"key")
    core.disconnect(one)

    assert core.grab(worker) == (handle, b"data")
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(two) == [(WORK_COMPLETE, handle, b"result")]


def test_it_goes_with_the_last_of_them(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.disconnect(one)
    core.disconnect(two)

    assert core.broker.jobs == {}


def test_a_running_job_runs_on_and_its_result_is_discarded(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.disconnect(client)

    core.send(worker, WORK_COMPLETE, handle, b"result")

    assert core.received(worker) == []
    assert core.broker.jobs == {}


def test_an_abandoned_job_is_not_run_again(core: Core) -> None:
    client, worker, other = core.connect(), core.worker(b"f"), core.worker(b"f")
    core.submit(client, b"f")
    core.grab(worker)
    core.disconnect(client)
    core.disconnect(worker)

    assert core.grab(other) is None
    assert core.broker.jobs == {}


def test_an_abandoned_running_job_can_be_joined(core: Core) -> None:
    """In the C server the second client would wait for ever."""
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key")
    core.grab(worker)
    core.disconnect(client)

    second = core.connect()
    assert core.submit(second, b"f", b"", b"key") == handle
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(second) == [(WORK_COMPLETE, handle, b"result")]


def test_an_abandoned_waiting_job_is_not_joined(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"old", b"key")
    core.disconnect(client)

    second = core.connect()
    fresh = core.submit(second, b"f", b"new", b"key")

    assert fresh != handle
    assert core.grab(worker) == (fresh, b"new")


def test_a_background_job_stays_when_its_submitter_goes(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"data", kind=SUBMIT_JOB_BG)
    core.disconnect(client)

    assert core.grab(worker) == (handle, b"data")


def test_a_background_job_stays_when_its_submitter_goes_before_the_commit(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"data")
    core.disconnect(client)
    core.commit()

    assert core.drain(worker) == [b"data"]


def test_a_background_job_that_a_foreground_client_had_joined_stays(core: Core) -> None:
    """The C server drops it."""
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(core.connect(), b"f", b"data", b"key", SUBMIT_JOB_BG)
    core.submit(client, b"f", b"", b"key")
    core.disconnect(client)

    assert core.grab(worker) == (handle, b"data")


def test_a_foreground_job_that_a_background_client_had_joined_stays(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"data", b"key")
    core.submit(core.connect(), b"f", b"", b"key", SUBMIT_JOB_BG)
    core.disconnect(client)

    assert core.table.data == [b"data"]
    assert core.grab(worker) == (handle, b"data")


def test_a_client_that_is_its_own_worker_goes(core: Core) -> None:
    peer, other = core.worker(b"f"), core.sleeper(b"f")
    core.submit(peer, b"f")
    assert core.received(other)
    core.grab(peer)
    core.disconnect(peer)

    assert core.broker.jobs == {}
    assert core.grab(other) is None
    core.check()


def test_delayed_joins_running(core: Core) -> None:
    """A submission for later that coalesces has the first one's time, which is now."""
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"data", b"key")
    core.grab(worker)
    core.send(client, SUBMIT_JOB_EPOCH, b"f", b"key", b"%d" % (core.wall + 100), b"later")
    core.commit()

    assert core.received(client) == [(JOB_CREATED, handle)]
    core.send(worker, GRAB_JOB)
    assert core.received(worker) == [(NO_JOB,)]
