"""Jobs for later, and jobs that take too long, with a made-up clock."""

from datetime import datetime
from math import inf

import pytest

from gearmand_py.server.packets import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    ERROR,
    GET_STATUS,
    JOB_CREATED,
    NOOP,
    PRE_SLEEP,
    STATUS_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_SCHED,
    WORK_COMPLETE,
    WORK_FAIL,
    WORK_STATUS,
    request,
)
from gearmand_py.server.peers import Peer
from tests.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


def submit_at(core: Core, client: Peer, when: float | bytes, data: bytes = b"data", unique: bytes = b"") -> bytes:
    """A committed SUBMIT_JOB_EPOCH for `when`: seconds, or what stands in the packet."""
    text = when if isinstance(when, bytes) else b"%d" % when
    core.send(client, SUBMIT_JOB_EPOCH, b"f", unique, text, data)
    core.commit()
    ((kind, handle),) = core.received(client)
    assert kind == JOB_CREATED
    return bytes(handle)


def timed_worker(core: Core, milliseconds: bytes) -> Peer:
    worker = core.connect()
    core.send(worker, CAN_DO_TIMEOUT, b"f", milliseconds)
    assert core.received(worker) == []
    return worker


def next_deadline(core: Core) -> float:
    return core.broker.next_deadline(core.now, core.wall)


# ---- SUBMIT_JOB_EPOCH


def test_a_job_for_later_waits_for_its_time(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, client, core.wall + 60)
    core.advance(59.9)
    assert core.grab(worker) is None

    core.advance(0.1)
    assert core.grab(worker) == (handle, b"data")


def test_sleeping_workers_are_woken_when_it_is_due(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f")
    submit_at(core, client, core.wall + 60)
    assert core.received(worker) == []

    core.advance(60)
    assert core.received(worker) == [(NOOP,)]


def test_a_worker_may_go_to_sleep_while_a_job_is_delayed(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    submit_at(core, client, core.wall + 60)
    core.send(worker, PRE_SLEEP)

    assert core.received(worker) == []


def test_delayed_jobs_are_due_in_the_order_of_their_times(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    for delay in (30, 10, 20):
        submit_at(core, client, core.wall + delay, b"%d" % delay)
    core.advance(60)

    assert core.drain(worker) == [b"10", b"20", b"30"]


def test_a_job_for_later_has_normal_priority(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    submit_at(core, client, core.wall + 10)
    core.advance(10)
    core.submit(client, b"f", b"high", kind=SUBMIT_JOB_HIGH_BG)

    assert core.drain(worker) == [b"high", b"data"]


@pytest.mark.parametrize("when", [b"", b"0", b"-5", b"1", b"now", b"12x", b"\xff", b"1749999999"])
def test_a_time_that_is_past_or_not_a_number_means_now(core: Core, when: bytes) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, client, when)

    assert core.grab(worker) == (handle, b"data")
    assert [row.run_at for row in core.table.rows.values()] == [0]


@pytest.mark.parametrize("when", [b"%d" % (1 << 53), b"%d" % (1 << 63), b"9" * 400, b"9" * 5000])
def test_a_time_far_ahead_is_not_now(core: Core, when: bytes) -> None:
    client, worker = core.connect(), core.worker(b"f")
    submit_at(core, client, when)

    assert core.grab(worker) is None
    assert all(0 < row.run_at < 1 << 63 for row in core.table.rows.values())


def test_zeros_before_a_number_mean_nothing(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, client, b"%030d" % 5)

    assert core.grab(worker) == (handle, b"data")


def test_a_delayed_job_keeps_its_time_over_a_crash(core: Core) -> None:
    handle = submit_at(core, core.connect(), core.wall + 60)
    core.advance(30)
    core.crash()
    worker = core.worker(b"f")
    core.advance(28)
    assert core.grab(worker) is None

    core.advance(1)
    assert core.grab(worker) == (handle, b"data")


def test_a_job_that_became_due_while_the_server_was_down_runs_at_once(core: Core) -> None:
    handle = submit_at(core, core.connect(), core.wall + 60)
    core.wall += 3600
    core.crash()

    assert core.grab(core.worker(b"f")) == (handle, b"data")


def test_a_job_that_became_due_while_it_was_committed_runs_at_once(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f")
    core.send(client, SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 10), b"data")
    core.take()
    core.advance(60)
    core.commit()

    assert core.received(worker) == [(NOOP,)]


def test_a_delayed_job_that_came_back_does_not_wait_again(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, client, core.wall + 60)
    core.advance(60)
    core.grab(worker)
    core.disconnect(worker)

    assert core.grab(core.worker(b"f")) == (handle, b"data")


def test_a_delayed_job_is_known_and_counted(core: Core) -> None:
    client = core.connect()
    handle = submit_at(core, client, core.wall + 60)
    core.send(client, GET_STATUS, handle)

    assert core.received(client) == [(STATUS_RES, handle, b"1", b"0", b"0", b"0")]
    assert core.ask(client, b"status\n") == b"f\t1\t0\t0\n.\n"
    assert core.ask(client, b"prioritystatus\n") == b"f\t0\t0\t0\t0\n.\n"


def test_who_joins_a_delayed_job_waits_for_its_time(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, client, core.wall + 60, unique=b"key")

    assert core.submit(client, b"f", b"other", b"key") == handle
    assert core.grab(worker) is None
    core.advance(60)
    core.grab(worker)
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]


def test_a_delayed_job_stays_when_a_client_that_joined_it_goes(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = submit_at(core, core.connect(), core.wall + 60, unique=b"key")
    core.submit(client, b"f", b"", b"key")
    core.disconnect(client)
    core.advance(60)

    assert core.grab(worker) == (handle, b"data")


def test_a_wall_clock_that_goes_back_delays(core: Core) -> None:
    worker = core.worker(b"f")
    submit_at(core, core.connect(), core.wall + 60)
    core.wall -= 100
    core.advance(60)
    assert core.grab(worker) is None

    core.advance(100)
    assert core.grab(worker)


# ---- SUBMIT_JOB_SCHED


def scheduled_for(core: Core, *fields: bytes) -> list[str]:
    """When the rows run, in local time as the fields are, after a SUBMIT_JOB_SCHED with these fields."""
    client = core.connect()
    core.send(client, SUBMIT_JOB_SCHED, b"f", b"key", *fields, b"data")
    core.commit()
    ((kind, *_),) = core.received(client)
    assert kind == JOB_CREATED
    return [datetime.fromtimestamp(row.run_at).isoformat(" ") for row in core.table.rows.values()]  # noqa: DTZ006


def test_a_scheduled_job_runs_at_the_next_match_and_once(core: Core) -> None:
    worker = core.worker(b"f")
    scheduled_for(core, b"10", b"*", b"", b"*", b"")
    (row,) = core.table.rows.values()
    core.advance(row.run_at - core.wall - 1)
    assert core.grab(worker) is None

    core.advance(1)
    assert core.drain(worker) == [b"data"]
    core.advance(7200)
    assert core.grab(worker) is None


def test_the_fields_are_minute_hour_day_month_weekday(core: Core) -> None:
    assert scheduled_for(core, b"30", b"9", b"13", b"2", b"4") == ["2026-02-13 09:30:00"]


@pytest.mark.parametrize(
    "fields",
    [
        (b"60", b"", b"", b"", b""),
        (b"", b"24", b"", b"", b""),
        (b"", b"", b"0", b"", b""),
        (b"", b"", b"", b"13", b""),
        (b"", b"", b"", b"", b"7"),
        (b"", b"", b"30", b"2", b""),
        (b"x", b"", b"", b"", b""),
        (b"\xff", b"", b"", b"", b""),
        (b"9" * 5000, b"", b"", b"", b""),
        (b"", b"", b"", b"", b"9" * 5000),
    ],
)
def test_a_schedule_that_never_comes_is_refused(core: Core, fields: tuple[bytes, ...]) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_SCHED, b"f", b"", *fields, b"data")

    ((kind, code, text),) = core.received(client)
    assert (kind, code) == (ERROR, b"INVALID_PACKET")
    assert len(text) < 200
    assert core.broker.jobs == {}


# ---- CAN_DO_TIMEOUT


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(b"1", 1.0), (b"999", 1.0), (b"1000", 1.0), (b"1500", 1.5), (b"60000", 60.0)]
)
def test_a_job_that_takes_too_long_goes_back(core: Core, milliseconds: bytes, seconds: float) -> None:
    client, worker, other = core.connect(), timed_worker(core, milliseconds), core.worker(b"f")
    handle = core.submit(client, b"f", b"data")
    core.grab(worker)
    core.advance(seconds - 0.01)
    assert core.grab(other) is None

    core.advance(0.01)
    assert core.grab(other) == (handle, b"data")
    assert core.received(client) == []
    core.check()


@pytest.mark.parametrize("milliseconds", [b"0", b"", b"-1", b"0\0", b"\0"])
def test_no_timeout(core: Core, milliseconds: bytes) -> None:
    worker = timed_worker(core, milliseconds)
    core.submit(core.connect(), b"f")
    core.grab(worker)
    core.advance(1e9)

    assert core.grab(core.worker(b"f")) is None
    assert next_deadline(core) == inf


def test_a_number_with_a_nul_behind_it(core: Core) -> None:
    worker = timed_worker(core, b"2000\0")
    core.submit(core.connect(), b"f")
    core.grab(worker)

    assert next_deadline(core) == 2.0


def test_a_timeout_that_is_not_a_number(core: Core) -> None:
    worker = core.connect()
    core.send(worker, CAN_DO_TIMEOUT, b"f", b"soon")

    assert [packet[:2] for packet in core.received(worker)] == [(ERROR, b"INVALID_PACKET")]
    assert core.broker.functions == {}


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_a_timeout_of_any_length_is_answered_or_taken(core: Core, digits: int) -> None:
    worker = core.connect()
    core.send(worker, CAN_DO_TIMEOUT, b"f", b"9" * digits)

    assert [packet[:2] for packet in core.received(worker)] in ([], [(ERROR, b"INVALID_PACKET")])


def test_the_last_can_do_decides(core: Core) -> None:
    worker = timed_worker(core, b"1000")
    core.send(worker, CAN_DO, b"f")
    core.submit(core.connect(), b"f")
    core.grab(worker)
    core.advance(10)

    assert core.grab(core.worker(b"f")) is None


def test_a_late_report_finds_no_job(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"1000")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.advance(1)
    core.send(worker, WORK_COMPLETE, handle, b"late")

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")]
    assert core.received(client) == []


def test_a_report_in_time_ends_the_deadline(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"1000")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.advance(0.9)
    core.send(worker, WORK_COMPLETE, handle, b"")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"")]

    core.advance(10)
    assert core.received(client) == []
    core.check()


def test_a_status_does_not_prolong_the_deadline(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"1000")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.advance(0.9)
    core.send(worker, WORK_STATUS, handle, b"1", b"2")
    core.advance(0.1)

    assert core.grab(core.worker(b"f"))


def test_sleeping_workers_are_woken_by_a_timeout(core: Core) -> None:
    worker = timed_worker(core, b"1000")
    core.submit(core.connect(), b"f")
    core.grab(worker)
    other = core.sleeper(b"f")
    core.advance(1)

    assert core.received(other) == [(NOOP,)]


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_a_timeout_on_the_last_attempt_fails_the_job(kind: int) -> None:
    core = Core(job_retries=2)
    client, worker = core.connect(), timed_worker(core, b"1000")
    handle = core.submit(core.connect(), b"f", b"", b"key", kind)
    core.submit(client, b"f", b"", b"key")
    for _ in range(2):
        assert core.received(client) == []
        core.grab(worker)
        core.advance(1)

    assert core.received(client) == [(WORK_FAIL, handle)]
    assert core.broker.jobs == {}
    core.commit()
    assert [row.run_at for row in core.table.rows.values()] == [-1] * (kind == SUBMIT_JOB_BG)


def test_a_job_with_no_client_left_is_not_run_again_after_its_timeout(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"1000")
    core.submit(client, b"f")
    core.grab(worker)
    core.disconnect(client)
    core.advance(1)

    assert core.broker.jobs == {}


def test_the_deadline_goes_with_the_worker(core: Core) -> None:
    worker, other = timed_worker(core, b"1000"), core.worker(b"f")
    handle = core.submit(core.connect(), b"f")
    core.grab(worker)
    core.disconnect(worker)
    core.grab(other)
    core.advance(10)
    core.send(other, WORK_COMPLETE, handle, b"")

    assert core.received(other) == []


def test_jobs_that_take_too_long_together_go_back_in_order(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"1000")
    for number in range(3):
        core.submit(client, b"f", b"%d" % number)
        core.advance(0.1)
    for _ in range(3):
        core.grab(worker)
    core.advance(60)

    assert core.drain(core.worker(b"f")) == [b"0", b"1", b"2"]


# ---- the next deadline


def test_without_anything_scheduled_there_is_no_deadline(core: Core) -> None:
    assert not core.broker.scheduled
    assert next_deadline(core) == inf


def test_the_next_deadline_is_the_earlier_of_the_two(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"5000")
    submit_at(core, client, core.wall + 10)
    assert next_deadline(core) == 10

    core.submit(client, b"f")
    core.grab(worker)
    assert next_deadline(core) == 5


def test_a_job_that_ended_in_time_leaves_no_deadline_that_keeps_coming(core: Core) -> None:
    """The shell sleeps until `next_deadline`: were it always 0, the server would spin until the delayed job is due."""
    client, worker = core.connect(), timed_worker(core, b"1000")
    core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.drain(worker)
    submit_at(core, client, core.wall + 3600)
    core.advance(10)

    assert 1000 < next_deadline(core) <= 3590


def test_a_cancelled_delayed_job_leaves_no_deadline_that_keeps_coming(core: Core) -> None:
    client, worker = core.connect(), timed_worker(core, b"60000")
    handle = submit_at(core, client, core.wall + 5)
    core.ask(core.connect(), b"cancel job %b\n" % handle)
    core.submit(client, b"f")
    core.grab(worker)
    core.advance(10)

    assert next_deadline(core) == 50


def test_many_jobs_of_one_second_are_released_a_page_at_a_time() -> None:
    core = Core()
    page, client = core.index.sizes.page, core.connect()
    due = b"%d" % (core.wall + 10)
    core.feed(client, b"".join(request(SUBMIT_JOB_EPOCH, b"f", b"", due, b"%d" % each) for each in range(5 * page)))
    core.commit()
    core.wall += 11
    turns = 0
    while core.broker.next_deadline(core.now, core.wall) <= 0:
        before = core.broker.functions[b"f"].waiting
        core.broker.tick(core.now, core.wall)
        turns += 1
        assert core.broker.functions[b"f"].waiting <= before + page
    assert turns >= 5
    core.check()
    assert core.drain(core.worker(b"f")) == [b"%d" % each for each in range(5 * page)]
