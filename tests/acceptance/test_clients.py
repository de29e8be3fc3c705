"""What each library does as a client, against a worker in PHP."""

import time
from collections.abc import Sequence

import pytest

from tests.acceptance.clients import Clients, Event, sha256, until
from tests.acceptance.libraries import CLIENTS_CAN, LIBRARIES

ASCII = bytes(range(128)).decode()
BINARY = bytes(range(256)).decode("latin-1")
PRIORITIES = ("high", "normal", "low")


def clients_that(capability: str) -> pytest.MarkDecorator:
    """Each library whose clients can do something."""
    assert capability in CLIENTS_CAN
    able = [name for name, library in LIBRARIES.items() if capability not in library.clients_lack]
    return pytest.mark.parametrize("library", able)


def clients_without(capability: str) -> pytest.MarkDecorator:
    """Each library whose clients cannot."""
    assert capability in CLIENTS_CAN
    unable = [name for name, library in LIBRARIES.items() if capability in library.clients_lack]
    return pytest.mark.parametrize("library", unable)


def shown(payloads: Sequence[str]) -> bytes:
    """What a worker prints for these payloads."""
    return b"".join(payload.encode("latin-1").hex().encode() + b"\n" for payload in payloads)


@clients_that("foreground")
def test_foreground(sharing: Clients, library: str) -> None:
    sharing.worker("php", "upper")
    assert sharing.client(library).result("upper", "hello") == "HELLO"


@clients_that("any bytes")
def test_any_bytes(sharing: Clients, library: str) -> None:
    sharing.worker("php", "same")
    assert sharing.client(library).result("same", BINARY) == BINARY


@clients_without("any bytes")
def test_text(sharing: Clients, library: str) -> None:
    sharing.worker("php", "same")
    assert sharing.client(library).result("same", ASCII) == ASCII


@clients_that("empty payloads")
def test_an_empty_payload(sharing: Clients, library: str) -> None:
    sharing.worker("php", "same")
    assert sharing.client(library).result("same", "") == ""


@clients_that("priorities")
def test_foreground_priorities(sharing: Clients, library: str) -> None:
    sharing.worker("php", "upper")
    client = sharing.client(library)
    for priority in PRIORITIES:
        assert client.result("upper", priority, priority=priority) == priority.upper()


@clients_that("background")
def test_background_in_order_of_priority(sharing: Clients, library: str) -> None:
    client = sharing.client(library)
    for priority in reversed(PRIORITIES):
        client.submit("show", priority, priority=priority, background=True)
    assert sharing.gearadmin("--priority-status") == "show\t1\t1\t1\t0\n.\n"
    sharing.worker("php", "show").expect(shown(PRIORITIES))


@clients_that("unique keys")
def test_one_job_for_a_unique_key(sharing: Clients, library: str) -> None:
    client, other = sharing.client(library), sharing.client(library)
    handle = client.submit("show", "first", unique="key", background=True)
    assert other.submit("show", "second", unique="key", background=True) == handle
    assert client.submit("show", "third", unique="another key", background=True) != handle
    assert sorted(sharing.gearadmin("--show-unique-jobs").splitlines()) == [".", "another key", "key"]
    sharing.worker("php", "show").expect(shown(["first", "third"]))


@clients_that("handles in the foreground")
def test_one_result_for_a_unique_key(sharing: Clients, library: str) -> None:
    client, other = sharing.client(library), sharing.client(library)
    handle = client.submit("upper", "first", unique="key")
    assert other.submit("upper", "second", unique="key") == handle
    sharing.worker("php", "upper")
    assert [each.until_end()[-1]["data"] for each in (client, other)] == ["FIRST", "FIRST"]


@clients_that("status of a job")
def test_status_before_while_and_after(sharing: Clients, library: str) -> None:
    client = sharing.client(library)
    handle = client.submit("gate", background=True)
    assert client.status(handle) == (True, False, 0)
    worker = sharing.worker("php", "gate")
    worker.expect(handle.encode())
    until(lambda: client.status(handle), (True, True, 0.75))  # the worker tells it on another connection
    worker.say("go on")
    until(lambda: client.status(handle), (False, False, 0))


@clients_that("progress")
def test_progress(sharing: Clients, library: str) -> None:
    assert ("status", 0.25) in report(sharing, library)


@clients_that("data")
def test_data(sharing: Clients, library: str) -> None:
    assert ("data", "a part") in report(sharing, library)


@clients_that("warnings")
def test_warnings(sharing: Clients, library: str) -> None:
    assert ("warning", "careful") in report(sharing, library)


def report(clients: Clients, library: str) -> list[tuple[str, object]]:
    """What a client is told of a job that sends something of everything, and ends with all data together."""
    clients.worker("php", "report")
    client = clients.client(library)
    client.request("submit", function="report", data="it")
    *events, end = client.until_end()
    assert end["data"] == "a partall of it"
    return [(event["event"], told(event)) for event in events]


def told(event: Event) -> object:
    """The data that came with an event, or which part of the job is done."""
    done, whole = event.get("progress", (0, 1))
    return event.get("data") or done / whole


@clients_that("failures")
def test_a_failure(sharing: Clients, library: str) -> None:
    sharing.worker("php", "refuse", "upper")
    client = sharing.client(library)
    assert client.run("refuse")["event"] == "fail"
    assert client.result("upper", "hello") == "HELLO"


@clients_that("exceptions")
def test_an_exception(sharing: Clients, library: str) -> None:
    sharing.worker("php", "blow", "upper")
    client = sharing.client(library)
    client.request("exceptions")
    assert client.event("option")["taken"]
    end = client.run("blow")
    assert (end["event"], end["data"]) == ("exception", "it blew up")
    assert client.result("upper", "hello") == "HELLO"


# These ask for exceptions in any case.
@pytest.mark.parametrize("library", sorted(LIBRARIES.keys() - {"abraxas", "php"}))
def test_an_exception_that_nobody_asked_for_is_a_failure(sharing: Clients, library: str) -> None:
    sharing.worker("php", "blow")
    assert sharing.client(library).run("blow")["event"] == "fail"


@clients_that("timeout")
def test_a_client_gives_up(sharing: Clients, library: str) -> None:
    client = sharing.client(library)
    assert client.run("nobody", timeout=0.2)["event"] == "timeout"
    sharing.worker("php", "upper")
    assert client.result("upper", "hello") == "HELLO"


@clients_that("delayed jobs")
def test_a_delayed_job(sharing: Clients, library: str) -> None:
    client = sharing.client(library)
    when = int(time.time()) + 1
    client.request("later", function="show", data="later", when=when)
    client.event("created")
    assert sharing.gearadmin("--status") == "show\t1\t0\t0\n.\n"
    sharing.worker("php", "show").expect(shown(["later"]))
    assert time.time() >= when


@clients_that("delayed jobs")
def test_a_scheduled_job(sharing: Clients, library: str) -> None:
    client = sharing.client(library)
    client.request("schedule", function="show", data="any minute now", when={})
    handle = client.event("created")["handle"]
    assert client.status(handle) == (True, False, 0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_large_payload(sharing: Clients, library: str) -> None:
    size = LIBRARIES[library].client_mebibytes << 20
    sharing.worker("php", "same")
    end = sharing.client(library).run("same", ASCII, times=size // len(ASCII))
    assert (end["event"], end["size"], end["sha256"]) == ("complete", size, sha256(ASCII, size))
