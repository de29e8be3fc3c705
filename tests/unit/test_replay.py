"""The rows from before the start become known page by page while jobs come, run and are cancelled."""

from typing import Final

import pytest

from gearmand_py.server.index import HeadComing
from gearmand_py.server.packets import (
    GET_STATUS,
    GET_STATUS_UNIQUE,
    JOB_CREATED,
    STATUS_RES,
    STATUS_RES_UNIQUE,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
    WORK_FAIL,
)
from gearmand_py.server.peers import Peer
from gearmand_py.server.places import Sizes
from tests.core import PREFIX, Core

SMALL: Final = Sizes(page=2, tight_page=1, least=1, evicted=1)
KNOWN: Final = (b"1", b"0", b"0", b"0")
UNKNOWN: Final = (b"0", b"0", b"0", b"0")


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last + 1)]


@pytest.fixture
def core() -> Core:
    """Ten rows of `f` with unique keys, three of `g`, of which nothing is known yet."""
    core = Core(memory_limit=0, sizes=SMALL)
    client = core.connect()
    for number in range(1, 11):
        core.submit(client, b"f", b"%d" % number, b"key %d" % number, SUBMIT_JOB_BG)
    for number in range(1, 4):
        core.submit(client, b"g", b"g%d" % number, b"key %d" % number, SUBMIT_JOB_BG)
    core.crash(paged=True)
    return core


def handle(core: Core, number: int) -> bytes:
    """That of a row: 1 is the first."""
    return b"%b%d" % (PREFIX, sorted(core.table.rows)[number - 1])


def status(core: Core, asked: bytes) -> tuple[bytes, ...]:
    client = core.connect()
    core.send(client, GET_STATUS, asked)
    ((kind, same, *state),) = core.received(client)
    assert (kind, same) == (STATUS_RES, asked)
    return tuple(state)


def cancel(core: Core, wanted: bytes) -> bytes:
    operator = core.connect()
    core.feed(operator, b"cancel job %b\n" % wanted)
    core.commit()
    return core.raw(operator)


def counts(core: Core) -> bytes:
    return core.ask(core.connect(), b"status\n")


def finish_one(core: Core, worker: Peer) -> bytes:
    """Its payload."""
    found = core.grab(worker)
    assert found, "no job"
    core.send(worker, WORK_COMPLETE, found[0], b"")
    return found[1]


# ---- order


def test_rows_are_had_while_others_are_not_known(core: Core) -> None:
    worker = core.worker(b"f")
    assert core.drain(worker) == []
    core.stream(2)
    core.check()
    assert core.drain(worker) == [b"1", b"2"]
    core.stream(3)
    assert finish_one(core, worker) == b"3"
    core.check()
    core.stream_all()
    core.check()

    assert core.drain(worker) == numbers(4, 10)
    assert core.drain(core.worker(b"g")) == [b"g1", b"g2", b"g3"]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("met", [0, 4])
def test_new_jobs_come_after_the_rows_of_their_queue(core: Core, known: bool, met: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    if met:
        core.stream(met)
    if known:
        core.tell_backlog()
    core.submit(client, b"f", b"11", kind=SUBMIT_JOB_BG)
    core.submit(client, b"f", b"high", kind=SUBMIT_JOB_HIGH_BG)
    core.check()
    had = core.drain(worker)
    assert had == [b"high"] * known + numbers(1, met)
    if known:
        assert had[0] == b"high"
    core.submit(client, b"f", b"12", kind=SUBMIT_JOB_BG)
    core.stream_all()
    core.check()

    assert core.drain(worker) == [b"high"] * (not known) + numbers(met + 1, 12)


def test_a_foreground_job_does_not_wait_for_rows_that_may_not_be(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"new", b"foreground")
    assert core.drain(core.worker(b"new")) == [b"foreground"]
    core.received(client)
    core.submit(client, b"new", b"background", kind=SUBMIT_JOB_BG)
    core.submit(client, b"new", b"foreground")
    worker = core.worker(b"new")
    assert core.drain(worker) == []
    core.tell_backlog()

    assert core.drain(worker) == [b"background", b"foreground"]
    core.check()


def test_a_foreground_job_waits_behind_rows_that_are_known(core: Core) -> None:
    core.tell_backlog()
    core.submit(core.connect(), b"f", b"foreground")
    assert core.drain(worker := core.worker(b"f")) == []
    core.stream_all()

    assert core.drain(worker) == [*numbers(1, 10), b"foreground"]


def test_priorities_wait_for_their_own_rows_only(core: Core) -> None:
    core.tell_backlog()
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"low", kind=SUBMIT_JOB_LOW_BG)
    core.submit(client, b"f", b"high", kind=SUBMIT_JOB_HIGH_BG)

    assert core.drain(worker) == [b"high", b"low"]


def test_delayed_rows(core: Core) -> None:
    client = core.connect()
    core.stream_all()
    for seconds, data in ((5, b"5 s"), (100, b"100 s"), (3, b"3 s")):
        core.send(client, SUBMIT_JOB_EPOCH, b"late", b"", b"%d" % (core.wall + seconds), data)
    core.commit()
    core.crash(paged=True)
    core.advance(10)
    worker = core.worker(b"late")
    core.stream_all()
    core.check()

    assert core.drain(worker) == [b"5 s", b"3 s"]  # whose time had passed before they were met: by id
    core.advance(100)
    assert core.drain(worker) == [b"100 s"]


# ---- looked for


def test_handles_of_rows_that_are_not_known(core: Core) -> None:
    assert all(status(core, handle(core, number)) == KNOWN for number in range(1, 14))
    assert status(core, PREFIX + b"12345") == UNKNOWN
    core.check()
    assert len(core.broker.jobs) == 0


@pytest.mark.parametrize("page_is_read", [False, True])
def test_cancel_of_a_row_that_is_not_known(core: Core, page_is_read: bool) -> None:
    wanted = handle(core, 3)
    core.stream(1)
    if page_is_read:
        core.read_page(5)
    assert cancel(core, wanted) == b"OK\r\n"
    assert cancel(core, wanted) == b"ERR UNKNOWN_JOB\r\n"
    assert status(core, wanted) == UNKNOWN
    core.check()
    core.stream_all()
    core.check()
    assert counts(core) == b"f\t9\t0\t0\ng\t3\t0\t0\n.\n"

    assert core.drain(core.worker(b"f")) == [b"1", b"2", *numbers(4, 10)]


@pytest.mark.parametrize("page_is_read", [False, True])
def test_cancel_of_a_dead_row_that_is_not_known(page_is_read: bool) -> None:
    core = Core(job_retries=1)
    client = core.connect()
    for _ in range(2):
        core.submit(client, b"f", b"", kind=SUBMIT_JOB_BG)
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)
        core.commit()
    core.crash(paged=True)
    first, second = handle(core, 1), handle(core, 2)
    if page_is_read:
        core.read_page(5)
    assert cancel(core, first) == b"OK\r\n"
    core.stream_all()
    assert core.index.dead_rows == 1
    core.check()

    assert cancel(core, first) == b"ERR UNKNOWN_JOB\r\n"
    assert cancel(core, second) == b"OK\r\n"
    assert core.table.rows == {}


# ---- unique keys


@pytest.mark.parametrize("met", [0, 4, 13])
def test_unique_keys_are_right_whatever_is_known(core: Core, met: int) -> None:
    client = core.connect()
    if met:
        core.stream(met)
    handles = [handle(core, number) for number in range(1, 14)]
    for kind in (SUBMIT_JOB_BG, SUBMIT_JOB, SUBMIT_JOB_BG):
        assert [core.submit(client, b"f", b"again", b"key %d" % n, kind) for n in range(1, 11)] == handles[:10]
        assert [core.submit(client, b"g", b"again", b"key %d" % n, kind) for n in range(1, 4)] == handles[10:]
        core.check() if met == 13 else None
    new = core.submit(client, b"f", b"11", b"key 11", SUBMIT_JOB_BG)
    assert new not in handles
    assert core.submit(client, b"f", b"11", b"key 11", SUBMIT_JOB_BG) == new
    core.stream_all()
    core.check()

    assert core.drain(core.worker(b"f")) == numbers(1, 11)
    assert {answer for answer in core.received(client) if answer[0] == WORK_COMPLETE} == {
        (WORK_COMPLETE, one, b"") for one in handles[:10]
    }
    assert core.index.uniques.spilled == 3


def test_a_client_that_joined_a_row_that_is_not_known_leaves(core: Core) -> None:
    stays, leaves = core.connect(), core.connect()
    joined = [core.submit(peer, b"f", b"", b"key 9") for peer in (stays, leaves)]
    alone = core.submit(leaves, b"f", b"", b"key 8")
    core.check()
    core.disconnect(leaves)
    core.check()
    core.stream(5)
    core.check()
    core.stream_all()
    core.check()

    assert core.drain(core.worker(b"f")) == numbers(1, 10)
    assert core.received(stays) == [(WORK_COMPLETE, joined[0], b"")]
    assert status(core, alone) == UNKNOWN


def test_who_joined_a_row_that_is_not_known_is_told_of_its_end(core: Core) -> None:
    client = core.connect()
    joined = core.submit(client, b"f", b"", b"key 9")
    assert cancel(core, joined) == b"OK\r\n"
    assert core.received(client) == [(WORK_FAIL, joined)]
    new = core.submit(client, b"f", b"new", b"key 9", SUBMIT_JOB_BG)
    assert new != joined
    core.stream_all()
    core.check()

    assert core.drain(core.worker(b"f")) == [*numbers(1, 8), b"10", b"new"]


def test_equal_payloads_wait_for_the_end(core: Core) -> None:
    client = core.connect()
    core.stream_all()
    first = core.submit(client, b"f", b"same", b"-", SUBMIT_JOB_BG)
    core.crash(paged=True)
    client = core.connect()

    assert core.submit(client, b"f", b"same", b"-", SUBMIT_JOB_BG) == first
    assert core.index.replay is None
    core.check()


def test_status_by_unique_key_waits_for_what_is_not_known(core: Core) -> None:
    client = core.connect()
    core.send(client, GET_STATUS_UNIQUE, b"key 10")
    core.send(client, GET_STATUS_UNIQUE, b"key 11")

    assert core.received(client) == [
        (STATUS_RES_UNIQUE, b"key 10", *KNOWN, b"0"),
        (STATUS_RES_UNIQUE, b"key 11", *UNKNOWN, b"0"),
    ]


def test_no_function_is_dropped_while_rows_of_it_may_be_still_to_come(core: Core) -> None:
    client = core.connect()
    core.submit(client, b"g", b"", b"key 2", SUBMIT_JOB_BG)
    assert core.ask(client, b"drop function g\n").startswith(b"ERR NOT_READY ")
    core.stream_all()
    core.check()
    again = core.submit(client, b"g", b"", b"key 2", SUBMIT_JOB_BG)

    assert again == handle(core, 12)
    assert core.drain(core.worker(b"g")) == [b"g1", b"g2", b"g3"]


# ---- crash, and crash again


def test_a_crash_during_a_replay(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.stream(4)
    assert [finish_one(core, worker) for _ in range(2)] == [b"1", b"2"]
    core.submit(client, b"f", b"11", kind=SUBMIT_JOB_BG)
    core.crash(paged=True)
    core.stream(3)
    core.submit(core.connect(), b"f", b"12", kind=SUBMIT_JOB_BG)
    core.check()
    core.stream_all()
    core.check()

    assert core.drain(core.worker(b"f")) == numbers(3, 12)


def test_rows_that_somebody_deletes_before_they_are_met(core: Core) -> None:
    for number in (13, 5, 4):
        del core.table.rows[sorted(core.table.rows)[number - 1]]
    core.stream_all()
    core.check()

    assert core.drain(core.worker(b"f")) == [*numbers(1, 3), *numbers(6, 10)]
    assert core.drain(core.worker(b"g")) == [b"g1", b"g2"]
    client = core.connect()
    core.send(client, SUBMIT_JOB, b"g", b"key 3", b"")
    assert core.received(client)[0][0] == JOB_CREATED


def test_ready_tells_how_far_it_is(core: Core) -> None:
    client = core.connect()
    assert core.ask(client, b"ready\n") == b"ERR NOT_READY 0+so+far+stored+jobs+are+taken+up\r\n"
    core.stream(3)
    assert core.ask(client, b"ready\n") == b"ERR NOT_READY 3+so+far+stored+jobs+are+taken+up\r\n"
    core.stream_all()
    assert core.ask(client, b"ready\n") == b"OK\r\n"


def test_a_worker_waits_for_a_young_replay_only(core: Core) -> None:
    worker = core.worker(b"other")
    with pytest.raises(HeadComing):
        core.broker.grab(worker)
    assert core.index.replay
    core.index.replay.young = False

    assert core.broker.grab(worker) is None


def test_a_worker_does_not_wait_for_rows_that_cannot_be_read() -> None:
    core = Core(memory_limit=0, sizes=SMALL)
    core.reading = False
    worker = core.worker(b"f")
    for number in range(5):
        core.send(core.connect(), SUBMIT_JOB_BG, b"f", b"", b"%d" % number)
    core.commit()
    while core.broker.functions[b"f"].waiting:
        core.broker.grab(worker)
    fetch = core.index.next_fetch()
    assert fetch is not None
    with pytest.raises(HeadComing):
        core.broker.grab(worker)
    core.index.put_back(fetch)

    assert core.broker.grab(worker) is None
