"""docs/security.md says what is."""

import re
from pathlib import Path

import pytest

from gearmand_py.server import packets
from gearmand_py.server.access import Level
from gearmand_py.server.access_file import KEYS, read_access
from gearmand_py.server.admin import READING
from gearmand_py.server.client import Client, ServerError
from gearmand_py.server.guard import ADDRESS_BURST, WRONG_SECRETS
from tests.conftest import StartServer
from tests.core import Core
from tests.docs.pages import ROOT, blocks
from tests.harness.server import HOST

PAGE = (ROOT / "docs" / "security.md").read_text()
RULES = [block for block in blocks(PAGE, "toml") if "[[access]]" in block]
WORKERS, OPERATORS = "the-secret-of-the-workers", "the-secret-of-operators"


def example(tmp_path: Path, block: str) -> Path:
    """The example as a file, with the secrets that it names."""
    for name, secret in (("workers", WORKERS), ("operators", OPERATORS)):
        (tmp_path / f"gearmand-{name}").write_text(f"{secret}\n")
    (tmp_path / "access.toml").write_text(block.replace("/run/secrets/", f"{tmp_path}/"))
    return tmp_path / "access.toml"


@pytest.mark.parametrize("block", RULES)
def test_an_example_of_rules_can_be_read(tmp_path: Path, block: str) -> None:
    assert read_access(example(tmp_path, block)).rules


def test_the_example_does_what_its_comments_say(start_server: StartServer, tmp_path: Path) -> None:
    path = example(tmp_path, RULES[0])
    server = start_server("--access-file", str(path))
    with server.connect() as monitoring, Client.connect(HOST, server.port, WORKERS.encode()) as worker:
        worker.send(packets.CAN_DO, b"mail.welcome")
        worker.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
        assert monitoring.text("status") == [b"mail.welcome\t0\t0\t1"]
        with pytest.raises(ServerError, match="NOT_ALLOWED"):
            monitoring.text("create function f")
        for peer in (monitoring, worker):
            with pytest.raises(ServerError, match="NOT_ALLOWED"):
                peer.ask(packets.SUBMIT_JOB_BG, b"mail.welcome", b"", b"", answer=packets.JOB_CREATED)
    with pytest.raises(ServerError, match="Wrong secret"):  # this is not the office
        Client.connect(HOST, server.port, OPERATORS.encode())
    web = read_access(path).rights("10.1.0.7", None, frozenset())
    assert web
    assert (web.submits[b"mail.x"], web.works[b"mail.x"], web.admin) == (True, False, Level.NONE)


def test_the_tables_name_every_key_and_every_command() -> None:
    assert set(KEYS) <= set(re.findall(r"`([a-z0-9-]+)", PAGE))
    rows = {row.partition('"')[2].partition('"')[0]: row for row in PAGE.splitlines() if row.startswith("| `admin")}
    changing = set(Core().admin.commands) - READING
    for level, commands in (("read", READING - {"priority-status"}), ("manage", changing)):
        named = {name.split()[0] for name in re.findall(r"`([a-z][a-z ]+)`", rows[level])}
        assert named == commands


def test_the_numbers() -> None:
    assert (WRONG_SECRETS, ADDRESS_BURST) == (3, 10)
    assert "After three the connection is closed." in PAGE
    assert "ten wrong\nones are taken at once" in PAGE
