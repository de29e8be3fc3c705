"""What the core refuses because there is too much of it, and that this costs nothing else."""

from collections.abc import Iterator

import pytest

from gearmand_py.server.broker import MOST_RUNNING, MOST_WAITING
from gearmand_py.server.dispatch import FEW_WAITING, TOLD_IN_A_TURN, Unfinished
from gearmand_py.server.limits import Limits
from gearmand_py.server.packets import (
    CAN_DO,
    ECHO_REQ,
    ERROR,
    GRAB_JOB,
    JOB_CREATED,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_REDUCE_JOB,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_STATUS,
    WORK_WARNING,
    request,
)
from gearmand_py.server.peers import Outgoing, Peer
from tests.core import Core, Said


def error_of(answers: list[Said]) -> bytes:
    (answer,) = answers
    assert answer[0] == ERROR, answer
    code: bytes = answer[1]
    return code


# ---- functions


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_no_more_functions_than_there_may_be(kind: int) -> None:
    core = Core(limits=Limits(functions=3))
    client = core.connect()
    handles = [core.submit(client, b"f%d" % each, kind=kind) for each in range(3)]
    assert len(set(handles)) == 3
    core.send(client, kind, b"new", b"", b"")
    assert error_of(core.received(client)) == b"TOO_MANY_FUNCTIONS"
    core.submit(client, b"f1", kind=kind)  # one that is known
    assert len(core.broker.functions) == 3


def test_functions_that_nobody_uses_make_room() -> None:
    core = Core(limits=Limits(functions=3))
    client = core.connect()
    for each in range(20):
        core.submit(client, b"f%d" % each)
        core.drain(worker := core.worker(b"f%d" % each))
        core.disconnect(worker)
        core.received(client)
        core.advance(2)
    assert len(core.broker.functions) <= 3


def test_a_function_with_a_limit_of_its_own_is_not_forgotten() -> None:
    core = Core(limits=Limits(functions=2))
    client = core.connect()
    core.ask(client, b"maxqueue kept 5\n")
    core.ask(client, b"create function other\n")
    core.submit(client, b"new")
    assert set(core.broker.functions) == {b"kept", b"new"}


def test_a_function_that_is_forgotten_takes_jobs_again() -> None:
    core = Core(limits=Limits(functions=1))
    client = core.connect()
    core.ask(client, b"create function f\n")
    core.submit(client, b"g", b"1")
    assert core.drain(core.worker(b"g")) == [b"1"]


@pytest.mark.parametrize("few", [1, 16])
def test_a_worker_has_so_many_functions(few: int) -> None:
    core = Core(limits=Limits(functions_per_worker=5), few=few)
    worker = core.worker(*[b"f%d" % each for each in range(5)])
    core.send(worker, CAN_DO, b"one more")
    assert error_of(core.received(worker)) == b"TOO_MANY_FUNCTIONS"
    assert b"one more" not in core.broker.functions
    core.send(worker, CAN_DO, b"f1")  # again
    assert core.received(worker) == []


# ---- names


def test_names_may_be_kept_shorter() -> None:
    core = Core(limits=Limits(function_length=5, unique_length=4))
    client = core.connect()
    core.submit(client, b"12345", unique=b"1234")
    for function, unique in (b"123456", b""), (b"f", b"12345"):
        core.send(client, SUBMIT_JOB, function, unique, b"")
        assert error_of(core.received(client)) == b"ARGUMENT_TOO_LARGE"
    core.send(client, SUBMIT_REDUCE_JOB, b"f", b"", b"123456", b"", b"")
    assert error_of(core.received(client)) == b"ARGUMENT_TOO_LARGE"


# ---- queues


def test_a_limit_for_all_queues_that_maxqueue_overrides() -> None:
    core = Core(limits=Limits(queue=2))
    client = core.connect()
    for _ in range(2):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    assert error_of(core.received(client)) == b"QUEUE_ERROR"
    core.ask(client, b"maxqueue f 3\n")
    core.submit(client, b"f", kind=SUBMIT_JOB_BG)


def test_foreground_jobs_take_so_much_memory() -> None:
    core = Core(limits=Limits(foreground=10_000))
    client, worker = core.connect(), core.worker(b"f", *[b"f%d" % each for each in range(99)])
    taken = 0
    while True:
        core.send(client, SUBMIT_JOB, b"f%d" % taken, b"", bytes(500))
        (answer,) = core.received(client)
        if answer[0] != JOB_CREATED:
            break
        taken += 1
    assert answer[:2] == (ERROR, b"QUEUE_ERROR")
    assert taken == pytest.approx(10, abs=2)
    core.submit(client, b"f", kind=SUBMIT_JOB_BG)  # these are in the table
    core.drain(worker)
    assert core.index.foreground == 0
    core.received(client)
    core.submit(client, b"f")


def test_half_of_it_is_for_jobs_that_somebody_works_on() -> None:
    core = Core(limits=Limits(foreground=10_000))
    client = core.connect()
    for _ in range(7):
        core.send(client, SUBMIT_JOB, b"nobody", b"", bytes(500))
    assert core.received(client)[-1][:2] == (ERROR, b"QUEUE_ERROR")
    core.worker(b"f")
    core.submit(client, b"f", bytes(500))


def test_one_function_does_not_take_the_other_half_alone() -> None:
    core = Core(limits=Limits(foreground=100_000))
    client = core.connect()
    core.worker(b"busy", b"other")
    for _ in range(1000):
        core.send(client, SUBMIT_JOB, b"busy", b"", b"")
    assert core.received(client)[-1][:2] == (ERROR, b"QUEUE_ERROR")
    assert core.index.foreground < 60_000
    core.submit(client, b"other")


def test_the_memory_of_foreground_jobs_is_given_back_however_they_end() -> None:
    core = Core()
    client, other, operator = core.connect(), core.connect(), core.connect()
    core.submit(client, b"f", b"x", b"joined")
    assert core.index.foreground
    core.submit(other, b"f", b"x", b"joined", kind=SUBMIT_JOB_BG)  # it is in the table from now on
    assert core.index.foreground == 0
    handle = core.submit(client, b"f", b"cancelled")
    assert core.ask(operator, b"cancel job " + handle + b"\n") == b"OK\r\n"
    assert core.index.foreground == 0
    core.received(client)
    core.submit(client, b"f", b"left alone")
    core.disconnect(client)
    assert core.index.foreground == 0


def test_so_many_submissions_wait_for_one_job() -> None:
    core = Core()
    client = core.connect()
    for _ in range(MOST_WAITING):
        core.send(client, SUBMIT_JOB, b"f", b"key", b"")
    assert {answer[0] for answer in core.received(client)} == {JOB_CREATED}
    core.send(client, SUBMIT_JOB, b"f", b"key", b"")
    assert error_of(core.received(client)) == b"QUEUE_ERROR"


# ---- reports


@pytest.mark.parametrize("kind", [WORK_STATUS, WORK_DATA, WORK_WARNING])
@pytest.mark.parametrize(("waiting", "turns"), [(FEW_WAITING, 0), (FEW_WAITING + 1, 1), (TOLD_IN_A_TURN + 1, 2)])
def test_a_worker_that_tells_many_waits_for_its_turn(kind: int, waiting: int, turns: int) -> None:
    """A read of 500 reports on a job for which 10,000 wait is 5,000,000 packets."""
    core = Core()
    client, worker = core.connect(), core.worker(b"f")
    for _ in range(waiting):
        handle = core.submit(client, b"f", b"", b"key")
    core.grab(worker)

    assert len(list(turns_of(core, worker, kind, handle + b"\x001\x002"))) == turns
    core.send(core.connect(), ECHO_REQ, b"")  # an event, at whose end all is sent
    assert len(core.received(client)) == waiting


def turns_of(core: Core, worker: Peer, kind: int, body: bytes) -> Iterator[Outgoing]:
    """What a report has the worker wait for."""
    try:
        core.dispatch.handlers[kind](worker, body)
    except Unfinished as unfinished:
        return unfinished.slices
    return iter(())


def test_a_progress_is_two_numbers_and_not_a_book() -> None:
    core = Core()
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_STATUS, handle, b"1" * 1000, b"2")
    assert error_of(core.received(worker)) == b"ARGUMENT_TOO_LARGE"
    core.send(worker, WORK_COMPLETE, handle, b"")
    assert [answer[0] for answer in core.received(client)] == [WORK_COMPLETE]


def test_a_worker_runs_so_many_jobs_at_a_time() -> None:
    core = Core()
    client, worker = core.connect(), core.worker(b"f")
    core.feed(client, request(SUBMIT_JOB, b"f", b"", b"") * (MOST_RUNNING + 1))
    core.feed(worker, request(GRAB_JOB) * MOST_RUNNING)
    handles = [handle for kind, handle, *_ in core.received(worker)]
    core.send(worker, GRAB_JOB)
    assert error_of(core.received(worker)) == b"TOO_MANY_JOBS"
    core.send(worker, WORK_COMPLETE, handles[0], b"")
    assert core.grab(worker)
    core.disconnect(worker)
    assert len(core.drain(core.worker(b"f"))) == MOST_RUNNING  # none is lost
