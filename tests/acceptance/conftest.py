"""Fixtures for tests with real clients."""

from collections.abc import Iterator

import pytest

from tests.acceptance.clients import Clients
from tests.harness.server import Server


@pytest.fixture
def clients(server: Server) -> Iterator[Clients]:
    """Starts clients and workers against the server of the test; they end with it."""
    clients = Clients(server)
    yield clients
    clients.close()
