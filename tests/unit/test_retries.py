"""Jobs that come back, how often they are tried, and the dead ones."""

import pytest

from gearmand_py.server.packets import (
    CANT_DO,
    ERROR,
    GET_STATUS,
    NOOP,
    PRE_SLEEP,
    RESET_ABILITIES,
    STATUS_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_LOW,
    WORK_COMPLETE,
    WORK_FAIL,
    WORK_STATUS,
)
from gearmand_py.server.peers import Peer
from tests.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


# ---- jobs that come back


def come_back(core: Core, worker: Peer, how: str) -> None:
    match how:
        case "gone":
            core.disconnect(worker)
        case "CANT_DO":
            core.send(worker, CANT_DO, b"f")
        case "RESET_ABILITIES":
            core.send(worker, RESET_ABILITIES)


@pytest.mark.parametrize("how", ["gone", "CANT_DO", "RESET_ABILITIES"])
def test_a_job_whose_worker_gave_up_is_run_by_another(core: Core, how: str) -> None:
    client, worker, other = core.connect(), core.worker(b"f"), core.sleeper(b"f")
    handle = core.submit(client, b"f", b"data")
    core.grab(worker)
    core.received(other)
    core.send(other, PRE_SLEEP)
    come_back(core, worker, how)

    assert core.received(other) == [(NOOP,)]
    assert core.grab(other) == (handle, b"data")
    core.send(other, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]
    core.check()


@pytest.mark.parametrize("how", ["gone", "CANT_DO", "RESET_ABILITIES"])
@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_jobs_come_back_at_the_head_in_submission_order(core: Core, how: str, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    for number in range(4):
        core.submit(client, b"f", b"%d" % number, kind=kind)
    for _ in range(3):
        core.grab(worker)
    come_back(core, worker, how)

    assert core.drain(core.worker(b"f")) == [b"0", b"1", b"2", b"3"]


def test_a_job_comes_back_to_its_own_priority(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"low", kind=SUBMIT_JOB_LOW)
    core.grab(worker)
    core.submit(client, b"f", b"high", kind=SUBMIT_JOB_HIGH)
    core.disconnect(worker)

    assert core.drain(core.worker(b"f")) == [b"high", b"low"]


def test_cant_do_gives_back_only_that_functions_jobs(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g")
    core.submit(client, b"f")
    handle = core.submit(client, b"g")
    core.grab(worker)
    core.grab(worker)
    core.send(worker, CANT_DO, b"f")
    core.send(worker, WORK_COMPLETE, handle, b"")

    assert core.received(client) == [(WORK_COMPLETE, handle, b"")]
    assert core.drain(core.worker(b"f")) == [b""]


def test_a_report_on_a_job_that_was_given_back_finds_no_job(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, CANT_DO, b"f")
    core.send(worker, WORK_COMPLETE, handle, b"")

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")]
    assert core.received(client) == []


def test_the_status_of_a_job_that_came_back_is_zeroed(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_STATUS, handle, b"1", b"2")
    core.received(client)
    core.disconnect(worker)

    core.send(client, GET_STATUS, handle)
    assert core.received(client) == [(STATUS_RES, handle, b"1", b"0", b"0", b"0")]


# ---- attempts


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_attempts_are_unlimited_by_default(core: Core, kind: int) -> None:
    handle = core.submit(core.connect(), b"f", b"data", kind=kind)
    for _ in range(100):
        worker = core.worker(b"f")
        assert core.grab(worker) == (handle, b"data")
        core.disconnect(worker)

    assert core.ask(core.connect(), b"show jobs\n") == b"%b\t100\t0\t%d\n.\n" % (handle, kind == SUBMIT_JOB_BG)


@pytest.mark.parametrize(("retries", "runs"), [(0, 1), (1, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_job_retries_is_the_number_of_runs(retries: int, runs: int, kind: int) -> None:
    core = Core(job_retries=retries)
    handle = core.submit(core.connect(), b"f", b"data", kind=kind)
    for _ in range(runs):
        worker = core.worker(b"f")
        assert core.grab(worker) == (handle, b"data")
        core.disconnect(worker)

    assert core.grab(core.worker(b"f")) is None
    assert core.broker.jobs == {}
    core.check()


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_when_attempts_run_out_the_clients_are_told(kind: int) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"", b"key", kind)
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    core.disconnect(worker)

    assert core.received(two) == [(WORK_FAIL, handle)]
    assert core.received(one) == ([(WORK_FAIL, handle)] if kind == SUBMIT_JOB else [])


def test_attempts_outlive_a_crash() -> None:
    core = Core(job_retries=3)
    handle = core.submit(core.connect(), b"f", b"data", kind=SUBMIT_JOB_BG)
    for _ in range(2):
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)
    core.commit()
    core.crash()

    assert core.ask(core.connect(), b"show jobs\n") == handle + b"\t2\t0\t1\n.\n"
    worker = core.worker(b"f")
    core.grab(worker)
    core.disconnect(worker)
    assert core.broker.jobs == {}


def dead_job(core: Core, unique: bytes = b"") -> bytes:
    """A background job whose one attempt was in vain."""
    worker = core.worker(b"f")
    handle = core.submit(core.connect(), b"f", b"data", unique, kind=SUBMIT_JOB_BG)
    core.grab(worker)
    core.disconnect(worker)
    core.commit()
    return handle


def test_a_background_job_is_kept_as_a_dead_one() -> None:
    core = Core(job_retries=1)
    dead_job(core)

    (row,) = core.table.rows.values()
    assert (row.run_at, row.attempts, row.data) == (-1, 1, b"data")
    core.crash()
    assert core.grab(core.worker(b"f")) is None
    assert core.broker.jobs == {}
    assert len(core.table.rows) == 1


def test_nothing_of_a_dead_job_stays_in_memory() -> None:
    core = Core(job_retries=1)
    dead_job(core)
    assert (core.broker.dead, core.index.dead_rows) == (set(), 1)


def test_a_job_that_died_while_an_earlier_try_was_on_its_way_to_the_table() -> None:
    core = Core(job_retries=2)
    handle = core.submit(core.connect(), b"f", b"data", kind=SUBMIT_JOB_BG)
    for _ in range(2):
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)
        if core.in_flight is None:
            core.take()
    core.commit()
    assert core.index.dead_rows == 0, "its row is not a dead one yet"
    core.commit()
    assert (core.broker.dead, core.index.dead_rows) == (set(), 1)

    operator = core.connect()
    assert core.ask(operator, b"cancel job %b\n" % handle) == b""
    core.commit()
    assert core.raw(operator) == b"OK\r\n"
    assert (core.table.rows, core.index.dead_rows) == ({}, 0)


def test_a_dead_job_is_not_joined() -> None:
    core = Core(job_retries=1)
    handle = dead_job(core, b"key")
    assert core.submit(core.connect(), b"f", b"data", b"key") != handle

    core.crash()
    assert core.submit(core.connect(), b"f", b"data", b"key") != handle


@pytest.mark.parametrize("crash", [False, True])
def test_a_dead_job_is_removed_by_cancel(crash: bool) -> None:
    core = Core(job_retries=1)
    handle = dead_job(core)
    if crash:
        core.crash()

    operator = core.connect()
    assert core.ask(operator, b"cancel job %b\n" % handle) == b""
    core.commit()
    assert core.raw(operator) == b"OK\r\n"
    assert core.table.rows == {}
    assert core.ask(operator, b"cancel job %b\n" % handle) == b"ERR UNKNOWN_JOB\r\n"


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_that_dies_before_its_background_join_is_committed_is_kept(taken: bool) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    if taken:
        core.take()
    core.disconnect(worker)
    core.commit()
    core.commit()

    assert core.received(one) == [(WORK_FAIL, handle)]
    (row,) = core.table.rows.values()
    assert (row.run_at, row.attempts) == (-1, 1)


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_that_dies_before_its_background_join_is_committed_can_be_cancelled(taken: bool) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    if taken:
        core.take()
    core.disconnect(worker)
    core.ask(core.connect(), b"cancel job %b\n" % handle)
    core.commit()
    core.commit()

    assert core.table.rows == {}


def test_a_job_that_died_with_its_row_refused_is_forgotten() -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    core.disconnect(worker)
    core.refuse()

    assert core.received(two) == [(ERROR, b"QUEUE_ERROR", b"disk full")]
    assert core.ask(core.connect(), b"cancel job %b\n" % handle) == b"ERR UNKNOWN_JOB\r\n"
