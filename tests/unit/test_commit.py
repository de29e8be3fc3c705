"""Batches: what waits for them, and in which order it comes out."""

import pytest

from gearmand_py.server.packets import (
    CAN_DO,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    JOB_CREATED,
    NOOP,
    PRE_SLEEP,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH,
    WORK_COMPLETE,
    WORK_FAIL,
)
from tests.core import PREFIX, Core


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


@pytest.mark.parametrize("stored", [False, True], ids=["open", "in the table already"])
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "joined"])
def test_a_handle_that_nobody_was_told_yet_is_unknown(core: Core, stored: bool, joined: bool) -> None:
    """It can be guessed; its row, there or not, is not looked for."""
    client, curious = core.connect(), core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"key", b"data")
    handle = PREFIX + b"%d" % core.broker.batch.inserts[0].id
    if joined:
        core.send(core.connect(), SUBMIT_JOB, b"f", b"key", b"")
    if stored:
        core.take()
        assert core.in_flight is not None
        core.table.apply(core.in_flight[1])

    core.send(curious, GET_STATUS, handle)
    assert core.received(curious) == [(STATUS_RES, handle, b"0", b"0", b"0", b"0")]
    assert core.ask(core.connect(), b"cancel job %b\n" % handle) == b"ERR UNKNOWN_JOB\r\n"
    core.commit()

    assert core.received(client) == [(JOB_CREATED, handle)]
    assert core.table.data == [b"data"]
    core.check()


def test_who_asks_for_a_key_right_behind_its_submission_is_told_that_it_is_known(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", b"key", b"data")
    core.send(client, GET_STATUS_UNIQUE, b"key")
    core.commit()

    created, status = core.received(client)
    assert created[0] == JOB_CREATED
    assert status == (STATUS_RES_UNIQUE, b"key", b"1", b"0", b"0", b"0", b"0")


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
