"""What happens when the database says no, or does not say."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    JOB_CREATED,
    NOOP,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    WORK_COMPLETE,
)
from tests.core import Core

REFUSED: Final = (ERROR, b"QUEUE_ERROR", b"disk full")


@pytest.fixture
def core() -> Core:
    return Core()


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


@pytest.mark.parametrize("unique", [b"key", b"-"])
def test_a_refused_row_gives_its_key_back(core: Core, unique: bytes) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_BG, b"f", unique, b"data")
    core.refuse()
    core.check()

    core.send(client, SUBMIT_JOB_BG, b"f", unique, b"data")
    core.commit()

    assert [kind for kind, *_ in core.received(client)] == [ERROR, JOB_CREATED]
    assert core.table.data == [b"data"]


@pytest.mark.parametrize("joins", [False, True])
def test_a_row_refused_on_its_own_leaves_the_others(core: Core, joins: bool) -> None:
    client, other, worker = core.connect(), core.connect(), core.worker(b"f")
    for data in (b"one", b"two", b"three"):
        core.send(client, SUBMIT_JOB_BG, b"f", data, data)
    if joins:
        core.send(other, SUBMIT_JOB, b"f", b"two", b"")
    core.take()
    assert core.in_flight is not None
    batch, _ = core.in_flight
    core.broker.refused_row(batch.inserts[1].id, "disk full")
    core.in_flight = batch, batch.changes(core.broker.node)
    core.commit()
    core.check()

    first, second, third = core.received(client)
    assert second == REFUSED
    assert (first[0], third[0]) == (JOB_CREATED, JOB_CREATED)
    assert sorted(core.drain(worker)) == sorted([b"one", b"three"] + [b"two"] * joins)


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


@pytest.mark.parametrize("step", [1, -1], ids=["joined in order", "joined backwards"])
def test_jobs_that_go_on_in_the_foreground_keep_their_order(core: Core, step: int) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    numbers = [b"%d" % number for number in range(50)]
    for number in numbers:
        core.send(one, SUBMIT_JOB_BG, b"f", number, number)
    for number in numbers[::step]:
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
