"""The server is killed and started again: clients and workers come back, and no acknowledged job is lost."""

import pytest

from tests.acceptance.clients import Clients, until
from tests.acceptance.libraries import LIBRARIES
from tests.acceptance.test_clients import clients_that
from tests.acceptance.test_workers import workers_that

PAYLOAD = "héllo wörld".encode().decode("latin-1")


@clients_that("reconnecting")
def test_a_client_comes_back(clients: Clients, library: str) -> None:
    clients.worker("php", "upper")
    client = clients.client(library)
    assert client.result("upper", "before") == "BEFORE"
    waiting = client.submit("nobody")
    clients.server.restart()
    assert client.event("disconnected")["handle"] in {waiting, ""}
    client.request("reconnect")
    client.event("connected")
    assert client.result("upper", "after") == "AFTER"


@workers_that("reconnecting")
def test_a_worker_comes_back(clients: Clients, library: str) -> None:
    clients.worker(library, "upper")
    assert clients.client("php").result("upper", "before") == "BEFORE"
    clients.server.restart()
    assert clients.client("php").result("upper", "after") == "AFTER"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_job_lives_on_after_a_kill_right_behind_its_handle(clients: Clients, library: str) -> None:
    payload = "hello" if "any bytes" in LIBRARIES[library].clients_lack else PAYLOAD
    handle = clients.client(library).submit("show", payload, background=True)
    clients.server.kill()
    clients.server.restart()
    observer = clients.client("gear")
    assert observer.status(handle) == (True, False, 0)
    clients.worker("php", "show").expect(payload.encode("latin-1").hex().encode() + b"\n")
    until(lambda: observer.status(handle), (False, False, 0))


def test_a_finished_job_does_not_come_back(clients: Clients) -> None:
    client, observer = clients.client("php"), clients.client("gear")
    finished, waiting = (client.submit("show", payload, background=True) for payload in ("finished", "waiting"))
    assert clients.gearman("-w", "-c", "1", "-f", "show").result() == b"finished"
    until(lambda: observer.status(finished), (False, False, 0))  # its end is read, before anybody says stop
    assert clients.server.stop() == 0
    clients.server.restart()
    observer = clients.client("gear")
    assert observer.status(finished) == (False, False, 0)
    assert observer.status(waiting) == (True, False, 0)
    assert clients.gearman("-w", "-c", "1", "-f", "show").result() == b"waiting"


@workers_that("progress")
def test_a_running_job_is_handed_out_again_after_a_kill(clients: Clients, library: str) -> None:
    handle = clients.client("gear").submit("gate", background=True).encode()
    running = clients.worker(library, "gate")
    running.expect(handle)
    clients.server.restart()
    running.close()
    clients.worker("php", "gate").expect(handle)
