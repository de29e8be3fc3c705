"""Fixtures for tests with real clients."""

from collections.abc import Iterator

import pytest

from tests.acceptance.clients import Clients, until
from tests.harness.server import Server


@pytest.fixture
def clients(server: Server) -> Iterator[Clients]:
    """Starts clients and workers against the server of the test; they end with it."""
    clients = Clients(server)
    yield clients
    clients.close()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests of a module: starting one takes longer than most of them."""
    with Server(tmp_path_factory.mktemp("shared") / "queue.db") as server:
        yield server
    assert "Traceback" not in server.stderr, server.stderr


@pytest.fixture
def sharing(shared_server: Server) -> Iterator[Clients]:
    """Starts clients and workers against the server of the module; nothing of them is left for the next test."""
    clients = Clients(shared_server)
    yield clients
    clients.close()
    until(lambda: tidied(clients), ".\n")
    clients.close()


def tidied(clients: Clients) -> str:
    """Remove what jobs and functions there are; returns the functions that are left."""
    for job in clients.gearadmin("--show-jobs").splitlines()[:-1]:
        clients.start_gearadmin("--cancel-job", job.split("\t")[0]).wait()
    for function in clients.gearadmin("--status").splitlines()[:-1]:
        clients.start_gearadmin("--drop-function", function.split("\t")[0]).wait()
    return clients.gearadmin("--status")
