"""Fixtures for tests of the command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.running import GearmandPy, make_tables
from tests.conftest import StartServer
from tests.harness.server import Server


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command; what was started ends with the test, which fails if any of it printed a traceback."""
    command = GearmandPy()
    yield command
    command.close()


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Server:
    """A server on empty tables. They are there before it: to make them takes it as long as the rest of its start."""
    make_tables(tmp_path / "queue.db")
    return start_server()


@pytest.fixture
def client(gearmand_py: GearmandPy, server: Server) -> GearmandPy:
    """Runs the command against the server of the test."""
    return gearmand_py.at(server.port)
