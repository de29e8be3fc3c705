"""Every library's clients with every library's workers, on one server."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.acceptance.clients import Client, Clients
from tests.acceptance.libraries import LIBRARIES
from tests.harness.process import Process
from tests.harness.server import Server

TEXT = bytes(range(128)).decode()
BINARY = bytes(range(256)).decode("latin-1")


@pytest.fixture(scope="module")
def shared(shared_server: Server) -> Iterator[Clients]:
    clients = Clients(shared_server)
    yield clients
    clients.close()


@pytest.fixture(scope="module")
def client_of(shared: Clients) -> Callable[[str], Client]:
    """The client of a library; there is one of each."""
    return cache(shared.client)


@pytest.fixture(scope="module")
def worker_of(shared: Clients) -> Callable[[str], Process]:
    """The worker of a library, whose functions have its name; there is one of each."""
    return cache(lambda library: shared.worker(library, f"same@{library}", f"show@{library}"))


def payload(client: str, worker: str) -> str:
    """All bytes, or all that both libraries can carry."""
    lacking = {*LIBRARIES[client].clients_lack, *LIBRARIES[worker].workers_lack}
    return TEXT if "any bytes" in lacking else BINARY


@pytest.mark.parametrize("worker", LIBRARIES)
@pytest.mark.parametrize("client", LIBRARIES)
def test_foreground(
    client_of: Callable[[str], Client], worker_of: Callable[[str], Process], client: str, worker: str
) -> None:
    worker_of(worker)
    assert client_of(client).result(f"same@{worker}", payload(client, worker)) == payload(client, worker)


@pytest.mark.parametrize("worker", LIBRARIES)
@pytest.mark.parametrize("client", LIBRARIES)
def test_background(
    client_of: Callable[[str], Client], worker_of: Callable[[str], Process], client: str, worker: str
) -> None:
    printing = worker_of(worker)
    client_of(client).submit(f"show@{worker}", payload(client, worker), background=True)
    printing.expect(payload(client, worker).encode("latin-1").hex().encode() + b"\n")
