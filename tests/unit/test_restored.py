"""The core is killed and taken up again from the table."""

import pytest

from gearmand_py.server.packets import (
    GET_STATUS,
    GRAB_JOB,
    JOB_ASSIGN,
    STATUS_RES,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW_BG,
)
from tests.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


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
