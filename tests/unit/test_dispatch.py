"""Packets that are not about a job's life: status, echo, and what is answered to what cannot be."""

from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.packets import (
    CAN_DO_TIMEOUT,
    ECHO_REQ,
    ECHO_RES,
    ERROR,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    HEADER,
    NO_JOB,
    REQUEST,
    RESPONSE,
    SET_CLIENT_ID,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    SUBMIT_JOB_SCHED,
    SUBMIT_REDUCE_JOB,
    SUBMIT_REDUCE_JOB_BACKGROUND,
    TEXT,
    WORK_COMPLETE,
    WORK_STATUS,
    request,
    response,
)
from tests.core import Core

FROM_SERVERS: Final = [
    packets.NOOP,
    packets.JOB_CREATED,
    packets.NO_JOB,
    packets.JOB_ASSIGN,
    packets.ECHO_RES,
    packets.ERROR,
    packets.STATUS_RES,
    packets.OPTION_RES,
    packets.JOB_ASSIGN_UNIQ,
    packets.JOB_ASSIGN_ALL,
    packets.STATUS_RES_UNIQUE,
]


@pytest.fixture
def core() -> Core:
    return Core()


# ---- echo


@pytest.mark.parametrize("body", [b"", b"hello", b"\0a\0\0", bytes(range(256))])
def test_an_echo_comes_back_as_it_is(core: Core, body: bytes) -> None:
    client = core.connect()
    core.send(client, ECHO_REQ, body)

    assert core.received(client) == [(ECHO_RES, body)]


# ---- status


def test_the_status_of_a_job_through_its_life(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", kind=SUBMIT_JOB_BG)

    def status() -> tuple[bytes, ...]:
        core.send(client, GET_STATUS, handle)
        ((kind, asked, *answer),) = core.received(client)
        assert (kind, asked) == (STATUS_RES, handle)
        return tuple(answer)

    assert status() == (b"1", b"0", b"0", b"0")
    core.grab(worker)
    assert status() == (b"1", b"1", b"0", b"0")
    core.send(worker, WORK_STATUS, handle, b"3", b"10")
    assert status() == (b"1", b"1", b"3", b"10")
    core.send(worker, WORK_STATUS, handle, b"7", b"10\0")
    assert status() == (b"1", b"1", b"7", b"10")
    core.send(worker, WORK_COMPLETE, handle, b"")
    assert status() == (b"0", b"0", b"0", b"0")


@pytest.mark.parametrize("handle", [b"", b"H:here:1", b"H:here:x", b"nonsense", b"H:here:" + b"9" * 100, b"\xff"])
def test_the_status_of_no_job(core: Core, handle: bytes) -> None:
    client = core.connect()
    core.send(client, GET_STATUS, handle)

    assert core.received(client) == [(STATUS_RES, handle, b"0", b"0", b"0", b"0")]


def test_a_handle_is_known_by_its_id_whatever_the_host_was_called(core: Core) -> None:
    client = core.connect()
    handle = core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    old = b"H:oldhost:" + handle.rpartition(b":")[2]
    core.send(client, GET_STATUS, old)

    assert core.received(client) == [(STATUS_RES, old, b"1", b"0", b"0", b"0")]


def test_a_handle_ended_by_a_nul(core: Core) -> None:
    client = core.connect()
    handle = core.submit(client, b"f")
    core.send(client, GET_STATUS, handle + b"\0")

    assert core.received(client) == [(STATUS_RES, handle, b"1", b"0", b"0", b"0")]


def test_the_status_by_unique_counts_the_waiting_clients(core: Core) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")

    def status() -> tuple[bytes, ...]:
        core.send(worker, GET_STATUS_UNIQUE, b"key")
        ((kind, unique, *answer),) = core.received(worker)
        assert (kind, unique) == (STATUS_RES_UNIQUE, b"key")
        return tuple(answer)

    assert status() == (b"0", b"0", b"0", b"0", b"0")
    handle = core.submit(one, b"f", b"", b"key", SUBMIT_JOB_BG)
    assert status() == (b"1", b"0", b"0", b"0", b"0")
    core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    assert status() == (b"1", b"0", b"0", b"0", b"2")
    core.grab(worker)
    core.send(worker, WORK_STATUS, handle, b"3", b"10")
    assert status() == (b"1", b"1", b"3", b"10", b"2")
    core.disconnect(two)
    assert status() == (b"1", b"1", b"3", b"10", b"1")
    core.send(worker, WORK_COMPLETE, handle, b"")
    assert status() == (b"0", b"0", b"0", b"0", b"0")


def test_the_status_by_unique_ignores_the_function(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"f", b"", b"one")
    core.submit(client, b"g", b"", b"two")
    for unique in (b"one", b"two"):
        core.send(client, GET_STATUS_UNIQUE, unique)

    assert [answer[2] for answer in core.received(client)] == [b"1", b"1"]


@pytest.mark.parametrize("unique", [b"", b"-"])
def test_there_is_no_status_for_what_is_no_unique(core: Core, unique: bytes) -> None:
    client = core.connect()
    core.submit(client, b"f", b"data", unique)
    core.send(client, GET_STATUS_UNIQUE, unique)

    assert core.received(client) == [(STATUS_RES_UNIQUE, unique, b"0", b"0", b"0", b"0", b"0")]


def test_a_status_with_more_arguments_than_it_has_does_not_break_the_answers_of_others(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key")
    core.grab(worker)
    core.send(worker, WORK_STATUS, handle, b"3", b"10\x0099")
    core.received(client)
    core.send(client, GET_STATUS_UNIQUE, b"key")

    ((_, _, known, running, *_, waiting),) = core.received(client)
    assert (known, running, waiting) == (b"1", b"1", b"1")


# ---- what cannot be


@pytest.mark.parametrize("kind", [*FROM_SERVERS, 5])
def test_what_only_a_server_sends_is_not_expected(core: Core, kind: int) -> None:
    client = core.connect()
    core.send(client, kind, b"anything")

    assert core.received(client) == [(ERROR, b"INVALID_COMMAND", b"Command not expected")]
    core.send(client, ECHO_REQ, b"still here")
    assert core.received(client) == [(ECHO_RES, b"still here")]


@pytest.mark.parametrize("kind", [SUBMIT_JOB, packets.JOB_CREATED, packets.NOOP])
def test_the_magic_of_a_server_is_not_expected_and_the_connection_stays_usable(core: Core, kind: int) -> None:
    client = core.connect()
    core.feed(client, response(kind, b"f", b"", b"") + request(ECHO_REQ, b"x"))

    assert core.received(client) == [(ERROR, b"INVALID_MAGIC", b"Request magic expected"), (ECHO_RES, b"x")]
    assert core.broker.jobs == {}


# How many arguments a packet needs; those with none or one can hardly be short.
NEEDED: Final = {
    SUBMIT_JOB: 3,
    SUBMIT_JOB_BG: 3,
    SUBMIT_JOB_HIGH: 3,
    SUBMIT_JOB_HIGH_BG: 3,
    SUBMIT_JOB_LOW: 3,
    SUBMIT_JOB_LOW_BG: 3,
    SUBMIT_JOB_SCHED: 8,
    SUBMIT_JOB_EPOCH: 4,
    SUBMIT_REDUCE_JOB: 5,
    SUBMIT_REDUCE_JOB_BACKGROUND: 5,
    CAN_DO_TIMEOUT: 2,
    WORK_STATUS: 3,
}


@pytest.mark.parametrize(
    ("kind", "given"),
    [(kind, given) for kind, needed in NEEDED.items() for given in range(1, needed)],
    ids=lambda value: packets.name(value) if value > 8 else str(value),
)
def test_missing_arguments_cost_nothing_else(core: Core, kind: int, given: int) -> None:
    client = core.connect()
    core.send(client, kind, *[b"1"] * given)
    core.send(client, ECHO_REQ, b"x")

    error, echo = core.received(client)
    assert error[:2] == (ERROR, b"INVALID_PACKET")
    assert echo == (ECHO_RES, b"x")
    assert core.broker.jobs == {}
    assert core.broker.functions == {}


@pytest.mark.parametrize("kind", range(1, 43), ids=packets.name)
def test_an_empty_body_is_answered_or_taken(core: Core, kind: int) -> None:
    client = core.connect()
    core.feed(client, HEADER.pack(REQUEST, kind, 0))

    assert len(core.received(client)) <= 1
    assert core.broker.jobs == {}


@pytest.mark.parametrize("kind", [0, 43, 0xFFFFFFFF])
def test_a_type_that_does_not_exist_is_told_and_closed(core: Core, kind: int) -> None:
    client = core.connect()
    core.feed(client, request(ECHO_REQ, b"x") + HEADER.pack(REQUEST, kind, 0) + request(ECHO_REQ, b"y"))

    echo, error = core.received(client)
    assert echo == (ECHO_RES, b"x")
    assert error[:2] == (ERROR, b"INVALID_COMMAND")
    assert core.broken(client)


def test_a_bad_magic_is_told_and_closed(core: Core) -> None:
    client = core.connect()
    core.feed(client, b"\0GET / HTTP/1.1\r\n")

    assert core.received(client) == [(ERROR, b"INVALID_MAGIC", b"Request magic expected")]
    assert core.broken(client)


@pytest.mark.parametrize("magic", [REQUEST, RESPONSE])
def test_a_packet_over_the_limit_is_told_and_closed(magic: int) -> None:
    core = Core(max_packet=100)
    client = core.connect()
    core.feed(client, HEADER.pack(magic, ECHO_REQ, 101))

    assert [packet[:2] for packet in core.received(client)] == [(ERROR, b"ARGUMENT_TOO_LARGE")]
    assert core.broken(client)


def test_an_error_does_not_send_back_what_came(core: Core) -> None:
    client = core.connect()
    core.send(client, SUBMIT_JOB_SCHED, b"f", b"", b"x" * 1_000_000, b"", b"", b"", b"", b"")

    ((kind, *_, text),) = core.received(client)
    assert kind == ERROR
    assert len(text) < 1000


# ---- client id


def test_a_client_id_is_cut_at_127_bytes(core: Core) -> None:
    peer = core.connect()
    core.send(peer, SET_CLIENT_ID, b"i" * 200)

    assert core.ask(peer, b"workers\n") == b"10 127.0.0.1 " + b"i" * 127 + b" :\n.\n"


def test_a_packet_after_a_text_line(core: Core) -> None:
    peer = core.connect()
    core.feed(peer, b"version\n" + request(GRAB_JOB) + b"getpid\r\n")

    assert core.received(peer) == [(TEXT, b"OK 1.2.3"), (NO_JOB,), (TEXT, b"OK 6145")]
