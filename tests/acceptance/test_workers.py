"""What each library does as a worker, for a client in PHP."""

import pytest

from tests.acceptance.clients import Clients, sha256, until
from tests.acceptance.libraries import LIBRARIES, WORKERS_CAN
from tests.conftest import StartServer

ASCII = bytes(range(128)).decode()
BINARY = bytes(range(256)).decode("latin-1")
TIME_LIMIT = 1000


def workers_that(capability: str) -> pytest.MarkDecorator:
    """Each library whose workers can do something."""
    assert capability in WORKERS_CAN
    able = [name for name, library in LIBRARIES.items() if capability not in library.workers_lack]
    return pytest.mark.parametrize("library", able)


@workers_that("several functions")
def test_several_functions_on_one_worker(sharing: Clients, library: str) -> None:
    sharing.worker(library, "upper@one", "upper@two")
    client = sharing.client("php")
    assert client.result("upper@two", "two") == "TWO"
    assert client.result("upper@one", "one") == "ONE"
    status = sorted(sharing.gearadmin("--status").splitlines())
    assert status == [".", "upper@one\t0\t0\t1", "upper@two\t0\t0\t1"]


@workers_that("progress")
@pytest.mark.parametrize("background", [False, True])
def test_progress(sharing: Clients, library: str, background: bool) -> None:
    client, observer = sharing.client("gear"), sharing.client("php")
    handle = client.submit("gate", background=background)
    worker = sharing.worker(library, "gate")
    worker.expect(handle.encode())
    until(lambda: observer.status(handle), (True, True, 0.75))
    worker.say("go on")
    until(lambda: observer.status(handle), (False, False, 0))
    if not background:
        done, whole = client.event("status")["progress"]
        assert done / whole == 0.75
        assert client.event("complete")["data"] == "let through: go on"


@workers_that("data")
def test_data(sharing: Clients, library: str) -> None:
    sharing.worker(library, "report")
    client = sharing.client("php")
    client.submit("report", "it")
    events = client.until_end()
    assert [event["data"] for event in events if event["event"] == "data"] == ["a part"]
    assert events[-1]["data"] == "a partall of it"


@workers_that("warnings")
def test_progress_and_warnings_come_before_the_result(sharing: Clients, library: str) -> None:
    sharing.worker(library, "report")
    client = sharing.client("php")
    client.submit("report", "it")
    *events, end = client.until_end()
    assert "careful" in [event["data"] for event in events if event["event"] == "warning"]
    assert [done / whole for done, whole in [event["progress"] for event in events if "progress" in event]] == [0.25]
    assert end["data"].endswith("all of it")


@workers_that("failures")
def test_a_failure(sharing: Clients, library: str) -> None:
    sharing.worker(library, "refuse", "upper")
    client = sharing.client("php")
    assert client.run("refuse")["event"] == "fail"
    assert client.result("upper", "hello") == "HELLO"


@workers_that("exceptions")
def test_an_exception(sharing: Clients, library: str) -> None:
    sharing.worker(library, "blow", "upper")
    client = sharing.client("php")
    end = client.run("blow")
    assert (end["event"], end["data"]) == ("exception", "it blew up")
    assert client.result("upper", "hello") == "HELLO"


@workers_that("any bytes")
def test_any_bytes(sharing: Clients, library: str) -> None:
    sharing.worker(library, "same")
    assert sharing.client("php").result("same", BINARY) == BINARY


@workers_that("empty results")
def test_an_empty_payload_and_an_empty_result(sharing: Clients, library: str) -> None:
    sharing.worker(library, "same")
    client = sharing.client("perl")
    assert client.result("same", "") == ""
    assert client.result("same", "and then") == "and then"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_large_payload(sharing: Clients, library: str) -> None:
    size = LIBRARIES[library].worker_mebibytes << 20
    sharing.worker(library, "same")
    end = sharing.client("php").run("same", ASCII, times=size // len(ASCII))
    assert (end["event"], end["size"], end["sha256"]) == ("complete", size, sha256(ASCII, size))


@workers_that("time limits")
def test_a_time_limit(start_server: StartServer, library: str) -> None:
    """The worker hangs, and the server fails the job: it may run once."""
    clients = Clients(start_server("--job-retries", "1"))
    worker = clients.worker(library, f"gate:{TIME_LIMIT}")
    client = clients.client("php")
    handle = client.submit("gate")
    worker.expect(handle.encode())
    assert client.until_end()[-1]["event"] == "fail"
    clients.close()
