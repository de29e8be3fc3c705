"""Fixtures for tests of whole processes."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings
from sqlalchemy import URL

from tests.harness.server import Server

pytest_plugins = ["tests.databases.plugin"]

# A shell has SIGINT ignored by what it starts in the background; so would be that of the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline for one example: a busy machine is no bug.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


class StartServer(Protocol):
    """Starts a server on the SQLite file `name` in the test's own directory, or on another `database`."""

    def __call__(
        self,
        *arguments: str,
        name: str = "queue.db",
        database: URL | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Server: ...


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers; they end with the test, and the test fails if one of them printed a traceback."""
    servers: list[Server] = []
    with ExitStack() as running:

        def start(
            *arguments: str,
            name: str = "queue.db",
            database: URL | None = None,
            prefix: Sequence[str] = (),
            environment: Mapping[str, str] | None = None,
        ) -> Server:
            server = Server(database or tmp_path / name, *arguments, prefix=prefix, environment=environment)
            servers.append(running.enter_context(server))
            return server

        yield start
    for server in servers:
        assert "Traceback" not in server.stderr, server.stderr


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server with the default settings on an empty database."""
    return start_server()
