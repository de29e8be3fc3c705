"""Servers with rules of access."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.clients import Clients
from tests.command.running import GearmandPy, make_tables
from tests.conftest import StartServer
from tests.harness.server import Server

SECRET = "correct-horse-battery"
# Whoever comes from this host may have mail sent; who has the secret may do everything.
RULES = f"""
[[access]]
from = ["127.0.0.0/8"]
submit = ["mail.*"]
work = ["mail.*"]

[[access]]
secret = "{SECRET}"
submit = ["*"]
work = ["*"]
admin = "manage"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The file of rules, to be changed."""
    path = tmp_path / "access.toml"
    path.write_text(RULES)
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(start_server: StartServer, rules: Path, tmp_path: Path) -> Server:
    """A server with these rules, which logs all it can."""
    make_tables(tmp_path / "queue.db")
    return start_server("--access-file", str(rules), "-vvv")


@pytest.fixture
def clients(guarded: Server) -> Iterator[Clients]:
    """Starts clients and workers of other projects."""
    clients = Clients(guarded)
    yield clients
    clients.close()


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command."""
    command = GearmandPy()
    yield command
    command.close()
