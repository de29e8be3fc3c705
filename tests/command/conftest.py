"""Fixtures for tests of the command."""

from collections.abc import Iterator

import pytest

from tests.command.running import GearmandPy
from tests.harness.server import Server


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command; what was started ends with the test, which fails if any of it printed a traceback."""
    command = GearmandPy()
    yield command
    command.close()


@pytest.fixture
def client(gearmand_py: GearmandPy, server: Server) -> GearmandPy:
    """Runs the command against the server of the test."""
    return gearmand_py.at(server.port)
