"""What workers report, and what it becomes for those who wait."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    ERROR,
    OPTION_REQ,
    OPTION_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
)
from tests.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


# ---- reports


@pytest.mark.parametrize(
    ("report", "ends"),
    [
        ((WORK_DATA, b"da\0ta"), False),
        ((WORK_WARNING, b"da\0ta"), False),
        ((WORK_STATUS, b"1", b"2"), False),
        ((WORK_STATUS, b"half", b"of it"), False),
        ((WORK_COMPLETE, b"da\0ta"), True),
        ((WORK_COMPLETE, b""), True),
        ((WORK_FAIL,), True),
    ],
)
def test_reports_go_to_every_client_as_they_came(
    core: Core, report: tuple[int, *tuple[bytes, ...]], ends: bool
) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    kind, *arguments = report
    core.send(worker, kind, handle, *arguments)

    assert core.received(one) == core.received(two) == [(kind, handle, *arguments)]
    assert core.received(worker) == []
    assert (core.broker.jobs == {}) is ends
    core.check()


NOT_FOUND: Final = {
    WORK_DATA: b"Job does not exist on server",
    WORK_WARNING: b"Job does not exist on server",
    WORK_STATUS: b"Job given in work result not found",
    WORK_COMPLETE: b"Job given in work result not found",
    WORK_FAIL: b"Job given in work result not found",
    WORK_EXCEPTION: b"An exception was received for a job that does not exist",
}
ARGUMENTS: Final = {WORK_STATUS: (b"1", b"2"), WORK_FAIL: ()}


@pytest.mark.parametrize("kind", NOT_FOUND)
@pytest.mark.parametrize("handle", [b"", b"H:here:1", b"x"])
def test_a_report_on_no_job(core: Core, kind: int, handle: bytes) -> None:
    worker = core.worker(b"f")
    core.send(worker, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]


@pytest.mark.parametrize("kind", NOT_FOUND)
def test_only_who_grabbed_a_job_may_report_on_it(core: Core, kind: int) -> None:
    client, worker, other = core.connect(), core.worker(b"f"), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(other, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(other) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]
    assert core.received(client) == []
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]


@pytest.mark.parametrize("kind", NOT_FOUND)
def test_a_report_after_the_end(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_COMPLETE, handle, b"")
    core.send(worker, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]


@pytest.mark.parametrize("kind", [WORK_COMPLETE, WORK_DATA, WORK_WARNING, WORK_EXCEPTION])
def test_a_report_without_data_has_empty_data(core: Core, kind: int) -> None:
    """As Perl's workers send them. A client's library would look for the missing NUL in what comes next."""
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, OPTION_REQ, b"exceptions")
    core.received(client)
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, kind, handle)

    assert core.received(client) == [(kind, handle, b"")]
    assert core.received(worker) == []


def test_a_failure_ended_by_a_nul(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_FAIL, handle + b"\0")

    assert core.received(client) == [(WORK_FAIL, handle)]


# ---- exceptions


@pytest.mark.parametrize("option", [b"exceptions", b"EXCEPTIONS", b"eXceptions"])
def test_clients_that_asked_for_exceptions_get_them_and_the_others_a_failure(core: Core, option: bytes) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    core.send(one, OPTION_REQ, option)
    assert core.received(one) == [(OPTION_RES, option)]
    handle = core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    core.send(worker, WORK_EXCEPTION, handle, b"it\0broke")

    assert core.received(one) == [(WORK_EXCEPTION, handle, b"it\0broke")]
    assert core.received(two) == [(WORK_FAIL, handle)]
    assert core.received(worker) == []


def test_an_exception_is_the_end_of_the_job(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.grab(worker)
    core.send(worker, WORK_EXCEPTION, handle, b"it broke")
    core.send(worker, WORK_FAIL, handle)
    core.commit()

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[WORK_FAIL])]
    assert core.broker.jobs == {}
    assert core.table.rows == {}


@pytest.mark.parametrize("option", [b"", b"exception", b"exceptions2", b"\xff"])
def test_there_is_no_other_option(core: Core, option: bytes) -> None:
    client = core.connect()
    core.send(client, OPTION_REQ, option)

    assert core.received(client) == [(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")]


# ---- cancelled while it runs


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
@pytest.mark.parametrize("report", [WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION])
def test_the_late_result_of_a_cancelled_job_is_dropped(core: Core, kind: int, report: int) -> None:
    client, worker, operator = core.connect(), core.worker(b"f"), core.connect()
    handle = core.submit(core.connect(), b"f", b"", b"key", kind)
    core.submit(client, b"f", b"", b"key")
    core.grab(worker)
    core.ask(operator, b"cancel job %b\n" % handle)
    assert core.received(client) == [(WORK_FAIL, handle)]

    core.send(worker, WORK_STATUS, handle, b"1", b"2")
    core.send(worker, WORK_DATA, handle, b"data")
    core.send(worker, report, handle, *ARGUMENTS.get(report, (b"data",)))
    assert core.received(worker) == []
    assert core.received(client) == []

    core.send(worker, report, handle, *ARGUMENTS.get(report, (b"data",)))
    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[report])]
    core.check()


def test_a_cancelled_job_can_be_submitted_again_at_once(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key", SUBMIT_JOB_BG)
    core.grab(worker)
    core.ask(core.connect(), b"cancel job %b\n" % handle)

    assert core.submit(client, b"f", b"", b"key", SUBMIT_JOB_BG) != handle


def test_a_cancelled_delayed_job_never_runs(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 10), b"data")
    core.commit()
    ((_, handle),) = core.received(client)
    core.ask(core.connect(), b"cancel job %b\n" % handle)
    core.commit()
    core.advance(20)

    assert core.grab(worker) is None
    assert core.table.rows == {}
    core.check()
