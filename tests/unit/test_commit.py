"""Batches: what waits for them, in which order it comes out, and what happens when the database says no or we crash."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GET_STATUS,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    NOOP,
    PRE_SLEEP,
    STATUS_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
    WORK_FAIL,
)
from tests.core import PREFIX, Core

REFUSED: Final = (ERROR, b"QUEUE_ERROR", b"disk full")


@pytest.fixture
def core() -> Core:
    return Core()


# ---- not before the commit


def test_a_background_job_is_not_handed_out_before_its_commit(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"data")
    assert core.grab(worker) is None

    core.take()
    assert core.grab(worker) is None

    core.commit()
    assert core.drain(worker) == [b"data"]


def test_sleeping_workers_are_woken_by_the_commit(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    assert core.received(worker) == []

    core.commit()
    assert core.received(worker) == [(NOOP,)]


def test_a_worker_may_go_to_sleep_while_a_commit_is_on_its_way(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.take()
    core.send(worker, PRE_SLEEP)
    assert core.received(worker) == []

    core.commit()
    assert core.received(worker) == [(NOOP,)]


# ---- the fence


def test_replies_keep_request_order(core: Core) -> None:
    client = core.connect()
    core.send(client, ECHO_REQ, b"1")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, ECHO_REQ, b"2")
    core.send(client, SUBMIT_JOB, b"f", b"", b"")
    core.feed(client, b"version\n")

    assert core.received(client) == [(ECHO_RES, b"1")]
    core.commit()
    (row,) = core.table.rows
    first, second, third, text = core.received(client)
    assert (first, second) == ((JOB_CREATED, PREFIX + b"%d" % row), (ECHO_RES, b"2"))
    assert third == (JOB_CREATED, PREFIX + b"%d" % (row + 1))
    assert text[1] == b"OK 1.2.3"


def test_replies_keep_request_order_over_two_batches(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, ECHO_REQ, b"1")
    core.take()
    core.send(client, ECHO_REQ, b"2")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, ECHO_REQ, b"3")

    core.commit()
    first, *others = core.received(client)
    assert first[0] == JOB_CREATED
    assert others == [(ECHO_RES, b"1"), (ECHO_RES, b"2")]

    core.commit()
    second, *others = core.received(client)
    assert second[0] == JOB_CREATED
    assert others == [(ECHO_RES, b"3")]

    core.send(client, ECHO_REQ, b"4")
    assert core.received(client) == [(ECHO_RES, b"4")]


def test_errors_keep_request_order_too(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, JOB_CREATED, b"")
    core.feed(client, b"\0bad")

    assert core.received(client) == []
    core.commit()
    assert [packet[:2] for packet in core.received(client)[1:]] == [
        (ERROR, b"INVALID_COMMAND"),
        (ERROR, b"INVALID_MAGIC"),
    ]


def test_what_others_send_to_a_peer_waits_behind_the_fence_too(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(client, SUBMIT_JOB_BG, b"g", b"", b"")
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == []

    core.commit()
    created, complete = core.received(client)
    assert created[0] == JOB_CREATED
    assert complete == (WORK_COMPLETE, handle, b"result")


def test_the_fence_of_one_connection_is_not_that_of_another(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(two, ECHO_REQ, b"x")

    assert core.received(two) == [(ECHO_RES, b"x")]


def test_foreground_work_goes_on_while_a_commit_hangs(core: Core) -> None:
    submitter, client, worker = core.connect(), core.connect(), core.worker(b"f")
    core.send(submitter, SUBMIT_JOB_BG, b"f", b"", b"")
    core.take()

    core.send(client, SUBMIT_JOB, b"f", b"", b"data")
    ((_, handle),) = core.received(client)
    assert core.grab(worker) == (handle, b"data")
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]


# ---- coalescing while a commit is on its way


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
@pytest.mark.parametrize("taken", [False, True])
def test_who_joins_an_uncommitted_job_waits_for_its_commit(core: Core, kind: int, taken: bool) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"data")
    if taken:
        core.take()
    core.send(two, kind, b"f", b"key", b"other")
    assert core.received(two) == []

    core.commit()

    assert core.received(one) == core.received(two)
    assert core.table.data == [b"data"]
    core.check()


def test_who_joins_a_job_in_flight_does_not_wait_for_the_open_batch(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.take()
    core.send(one, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")

    core.commit()

    assert len(core.received(two)) == 1


def test_who_waits_for_the_open_batch_may_join_a_job_in_flight(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"first")
    core.take()
    core.send(two, SUBMIT_JOB_BG, b"f", b"", b"second")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.commit()
    (joined,) = core.received(one)
    assert core.received(two) == []

    core.commit()
    created, again = core.received(two)
    assert created[0] == JOB_CREATED
    assert again == joined


def test_a_foreground_job_becomes_durable_when_a_background_submission_joins(core: Core) -> None:
    one, two = core.connect(), core.connect()
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"other")
    assert core.received(two) == []

    core.commit()

    assert core.received(two) == [(JOB_CREATED, handle)]
    assert core.table.data == [b"data"]


def test_it_is_handed_out_before_that_commit_for_it_was_runnable_already(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")

    assert core.grab(worker) == (handle, b"data")


@pytest.mark.parametrize("taken", [False, True])
def test_it_may_end_before_that_commit(core: Core, taken: bool) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    if taken:
        core.take()
    core.drain(worker)

    core.commit()
    assert core.received(two) == [(JOB_CREATED, handle)]
    core.commit()
    assert core.table.rows == {}
    core.check()


def test_a_second_background_submission_does_not_store_it_twice(core: Core) -> None:
    one, two, three = core.connect(), core.connect(), core.connect()
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.take()
    core.send(three, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.commit()

    assert core.received(two) == core.received(three) == [(JOB_CREATED, handle)]
    assert core.broker.batch.empty


# ---- deletes


@pytest.mark.parametrize("taken", [False, True])
def test_a_finished_job_leaves_the_table_with_the_next_batch(core: Core, taken: bool) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"data", kind=SUBMIT_JOB_BG)
    if taken:
        core.take()
    core.drain(worker)
    if taken:
        core.commit()

    core.commit()
    assert core.table.rows == {}


def test_a_foreground_job_never_touches_the_table(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f")
    core.drain(worker)

    assert core.broker.batch.empty


def test_nobody_waits_for_a_delete(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.drain(worker)

    assert not core.broker.batch.waiters
    assert not core.broker.batch.empty


# ---- the database says no


def test_a_refused_submission_gets_the_reason(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.refuse("disk full")

    assert core.received(client) == [REFUSED]
    assert core.grab(worker) is None
    assert core.broker.jobs == {}
    core.check()


def test_a_refusal_keeps_request_order(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, ECHO_REQ, b"1")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, ECHO_REQ, b"2")
    core.refuse()

    assert core.received(client) == [REFUSED, (ECHO_RES, b"1"), REFUSED, (ECHO_RES, b"2")]


def test_the_next_batch_is_a_fresh_try(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"key", b"first")
    core.take()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"second")
    core.refuse()
    assert core.received(client) == [REFUSED]

    core.commit()
    assert len(core.received(client)) == 1
    assert core.table.data == [b"second"]
    assert core.submit(client, b"f", b"third", b"key", SUBMIT_JOB_BG)


def test_who_joined_in_the_background_is_refused_too(core: Core) -> None:
    one, two, three = core.connect(), core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.take()
    core.send(three, ECHO_REQ, b"x")
    core.send(three, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.refuse()

    assert core.received(one) == core.received(two) == [REFUSED]
    assert core.received(three) == [(ECHO_RES, b"x"), REFUSED]


def test_who_joined_while_waiting_for_the_open_batch_is_refused_in_order(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.take()
    core.send(two, SUBMIT_JOB_BG, b"f", b"", b"second")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.refuse()
    assert core.received(two) == []

    core.commit()
    created, refused = core.received(two)
    assert created[0] == JOB_CREATED
    assert refused == REFUSED


def test_who_joined_in_the_foreground_is_served(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.sleeper(b"f")
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.send(two, SUBMIT_JOB, b"f", b"key", b"")
    core.refuse()

    assert core.received(one) == [REFUSED]
    assert core.received(worker) == [(NOOP,)]
    ((_, handle),) = core.received(two)
    assert core.grab(worker) == (handle, b"data")
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(two) == [(WORK_COMPLETE, handle, b"result")]
    assert core.broker.batch.empty
    core.check()


def test_jobs_that_go_on_in_the_foreground_keep_their_order(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    numbers = [b"%d" % number for number in range(50)]
    for number in numbers:
        core.send(one, SUBMIT_JOB_BG, b"f", number, number)
        core.send(two, SUBMIT_JOB, b"f", number, b"")
    core.refuse()

    assert core.drain(worker) == numbers


def test_it_goes_with_that_client_for_it_is_a_foreground_job_now(core: Core) -> None:
    one, two = core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.send(two, SUBMIT_JOB, b"f", b"key", b"")
    core.refuse()
    core.disconnect(two)

    assert core.broker.jobs == {}
    core.check()


@pytest.mark.parametrize("running", [False, True])
def test_a_foreground_job_survives_the_refusal_of_a_background_join(core: Core, running: bool) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    if running:
        core.grab(worker)
    core.refuse()

    assert core.received(two) == [REFUSED]
    if not running:
        assert core.grab(worker) == (handle, b"data")
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(one) == [(WORK_COMPLETE, handle, b"result")]
    core.check()


@pytest.mark.parametrize("running", [False, True])
def test_an_abandoned_foreground_job_goes_when_its_background_join_is_refused(core: Core, running: bool) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    if running:
        core.grab(worker)
    core.disconnect(one)
    core.refuse()

    assert core.received(two) == [REFUSED]
    if running:
        core.send(worker, WORK_COMPLETE, handle, b"result")
        assert core.received(worker) == []
    assert core.broker.jobs == {}
    core.check()


def test_completions_go_through_when_submissions_do_not(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"old", kind=SUBMIT_JOB_BG)
    core.drain(worker)
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"new")
    core.refuse()

    assert core.table.rows == {}


@pytest.mark.parametrize("stored", [False, True])
def test_rows_of_unknown_fate_are_deleted(core: Core, stored: bool) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"data")
    core.refuse("connection lost", unknown=True, stored=stored)
    assert core.received(client) == [(ERROR, b"QUEUE_ERROR", b"connection lost")]

    core.commit()
    assert core.table.rows == {}


@pytest.mark.parametrize("stored", [False, True])
def test_a_job_of_unknown_fate_can_become_durable_once_more(core: Core, stored: bool) -> None:
    one, two, three = core.connect(), core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.send(two, SUBMIT_JOB, b"f", b"key", b"")
    core.refuse(unknown=True, stored=stored)
    core.send(three, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.commit()

    assert core.received(three) == core.received(two)
    assert core.table.data == [b"data"]


def test_deletes_of_unknown_fate_are_done_again(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"data", kind=SUBMIT_JOB_BG)
    core.drain(worker)
    core.refuse(unknown=True)
    assert core.table.data == [b"data"]

    core.commit()
    assert core.table.rows == {}


def test_an_update_of_unknown_fate_is_done_again() -> None:
    core = Core(job_retries=3)
    core.submit(core.connect(), b"f", kind=SUBMIT_JOB_BG)
    worker = core.worker(b"f")
    core.grab(worker)
    core.disconnect(worker)
    core.refuse(unknown=True)
    core.commit()

    assert [row.attempts for row in core.table.rows.values()] == [1]


def test_the_last_of_two_updates_of_unknown_fate_is_stored() -> None:
    core = Core(job_retries=3)
    core.submit(core.connect(), b"f", kind=SUBMIT_JOB_BG)
    for _ in range(2):
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)
        if core.in_flight is None:
            core.take()
    core.refuse(unknown=True)
    core.commit()

    assert [row.attempts for row in core.table.rows.values()] == [2]


def test_a_reason_with_any_text_can_be_told(core: Core) -> None:
    """A path in the reason may hold bytes that are no UTF-8, which Python carries as surrogates."""
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.refuse("cannot write /srv/\udcff.db")

    ((kind, code, _text),) = core.received(client)
    assert (kind, code) == (ERROR, b"QUEUE_ERROR")


def test_a_refused_delayed_job_is_gone(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 10), b"data")
    core.refuse()

    assert core.received(client) == [REFUSED]
    core.advance(20)
    assert core.grab(core.worker(b"f")) is None


def test_peers_that_are_gone_when_the_batch_is_settled(core: Core) -> None:
    one, two, three = core.connect(), core.connect(), core.connect()
    core.send(one, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.send(three, SUBMIT_JOB, b"f", b"key", b"")
    core.take()
    for peer in (one, two, three):
        core.disconnect(peer)
    core.refuse()

    assert core.broker.jobs == {}
    core.check()


def test_the_open_batch_knows_how_many_bytes_it_holds(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"f", b"x" * 100, b"key")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"x" * 1000)
    core.send(client, SUBMIT_JOB_BG, b"f", b"key", b"other")
    assert core.broker.batch.data_bytes == 1100

    core.commit()
    assert core.broker.batch.data_bytes == 0


# ---- the crash


def test_acknowledged_jobs_run_after_a_crash_by_priority_and_submission(core: Core) -> None:
    client = core.connect()
    for kind, data in ((SUBMIT_JOB_LOW_BG, b"5"), (SUBMIT_JOB_BG, b"3"), (SUBMIT_JOB_HIGH_BG, b"1")):
        core.submit(client, b"f", data, kind=kind)
    for kind, data in ((SUBMIT_JOB_LOW_BG, b"6"), (SUBMIT_JOB_BG, b"4"), (SUBMIT_JOB_HIGH_BG, b"2")):
        core.submit(client, b"f", data, kind=kind)
    core.crash()

    assert core.drain(core.worker(b"f")) == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_running_job_runs_again_after_a_crash_in_its_old_place(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    for data in (b"1", b"2", b"3"):
        core.submit(client, b"f", data, kind=SUBMIT_JOB_BG)
    core.grab(worker)
    core.crash()

    assert core.drain(core.worker(b"f")) == [b"1", b"2", b"3"]


def test_jobs_are_counted_after_a_crash(core: Core) -> None:
    core.submit(core.connect(), b"f", b"data", kind=SUBMIT_JOB_BG)
    core.send(core.connect(), SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 60), b"later")
    core.commit()
    core.crash()

    assert core.ask(core.connect(), b"status\n") == b"f\t2\t0\t0\n.\n"
    core.check()


def test_foreground_jobs_do_not_outlive_a_crash(core: Core) -> None:
    core.submit(core.connect(), b"f", kind=SUBMIT_JOB_HIGH)
    core.crash()

    assert core.broker.jobs == {}


@pytest.mark.parametrize("stored", [False, True])
def test_a_crash_with_a_commit_on_its_way(core: Core, stored: bool) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"data")
    core.take()
    core.crash(stored=stored)

    assert core.drain(core.worker(b"f")) == [b"data"] * stored


def test_a_handle_from_before_the_crash_is_known_after_it(core: Core) -> None:
    handle = core.submit(core.connect(), b"f", kind=SUBMIT_JOB_BG)
    core.crash()
    client, worker = core.connect(), core.worker(b"f")

    core.send(client, GET_STATUS, handle)
    assert core.received(client) == [(STATUS_RES, handle, b"1", b"0", b"0", b"0")]
    core.send(worker, GRAB_JOB)
    assert core.received(worker) == [(JOB_ASSIGN, handle, b"f", b"")]


def test_ids_go_on_after_a_crash_even_if_the_clock_went_back(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"f", b"old", kind=SUBMIT_JOB_BG)
    core.wall -= 86_400
    core.crash()
    core.submit(core.connect(), b"f", b"new", kind=SUBMIT_JOB_BG)

    assert core.table.data == [b"old", b"new"]
    assert core.drain(core.worker(b"f")) == [b"old", b"new"]


# ---- the text protocol behind the fence


def test_cancel_says_ok_when_the_row_is_gone(core: Core) -> None:
    client, operator = core.connect(), core.connect()
    handle = core.submit(client, b"f", kind=SUBMIT_JOB_BG)

    assert core.ask(operator, b"cancel job %b\n" % handle) == b""
    core.commit()
    assert core.raw(operator) == b"OK\r\n"
    assert core.table.rows == {}


def test_cancel_does_not_say_ok_while_the_row_is_still_there(core: Core) -> None:
    client, operator = core.connect(), core.connect()
    handle = core.submit(client, b"f", b"data", kind=SUBMIT_JOB_BG)
    core.ask(operator, b"cancel job %b\n" % handle)

    core.refuse("connection lost", unknown=True)

    assert core.table.data == [b"data"]
    assert core.raw(operator) != b"OK\r\n"


def test_cancel_of_a_foreground_job_does_not_wait_for_the_database(core: Core) -> None:
    client, operator, worker = core.connect(), core.connect(), core.worker(b"g")
    core.submit(client, b"g", kind=SUBMIT_JOB_BG)
    handle = core.submit(client, b"f")
    core.drain(worker)

    assert core.ask(operator, b"cancel job %b\n" % handle) == b"OK\r\n"


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_cancelled_before_its_background_join_is_committed(core: Core, taken: bool) -> None:
    one, two, operator = core.connect(), core.connect(), core.connect()
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    if taken:
        core.take()
    core.ask(operator, b"cancel job %b\n" % handle)
    core.commit()
    core.commit()

    assert core.received(one) == [(WORK_FAIL, handle)]
    assert core.table.rows == {}
    core.check()


def test_a_peer_may_be_client_and_worker_at_once(core: Core) -> None:
    peer = core.worker(b"f")
    core.send(peer, SUBMIT_JOB_BG, b"f", b"", b"data")
    core.send(peer, PRE_SLEEP)
    core.send(peer, CAN_DO, b"g")
    core.commit()

    created, noop = core.received(peer)
    assert created[0] == JOB_CREATED
    assert noop == (NOOP,)
    core.submit(peer, b"g", kind=SUBMIT_JOB_HIGH)
