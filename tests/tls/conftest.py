"""Fixtures for tests of TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.running import GearmandPy, make_tables
from tests.conftest import StartServer
from tests.harness.server import Server
from tests.tls.certificates import Authority, Pair


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that everybody here knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody knows."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="session")
def own(authority: Authority) -> Pair:
    """The server's certificate."""
    return authority.issue("server")


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path, own: Pair) -> Server:
    """A server whose port speaks TLS."""
    make_tables(tmp_path / "queue.db")
    return start_server("--ssl", *own.options)


@pytest.fixture
def strict(start_server: StartServer, tmp_path: Path, own: Pair, authority: Authority) -> Server:
    """One that wants to see certificates, and tells of connections."""
    make_tables(tmp_path / "queue.db")
    return start_server("--ssl", *own.options, "--ssl-ca-file", str(authority.file), "--ssl-verify-client", "-vv")


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command; what was started ends with the test."""
    command = GearmandPy()
    yield command
    command.close()
