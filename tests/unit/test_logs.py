"""The system's log, in a place of the test's own."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmand_py.server import logs
from gearmand_py.server.config import LEVELS
from gearmand_py.server.runner import StartError

DAEMON = 3 << 3  # the facility
SEVERITIES = {"FATAL": 0, "ALERT": 1, "CRITICAL": 2, "ERROR": 3, "WARNING": 4, "NOTICE": 5, "INFO": 6, "DEBUG": 7}


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The system's end of its log."""
    path = tmp_path / "log"
    monkeypatch.setattr(logs, "SYSLOG", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        log.settimeout(10)
        yield log


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_has_its_severity(system: socket.socket, level: str) -> None:
    handler = logs.system_log()
    handler.setFormatter(logs.formatter("text", timed_elsewhere=True))
    handler.handle(logging.LogRecord("gearmand", logging.getLevelName(level), "", 0, "hello %s", ("you",), None))
    line = f"<{DAEMON | SEVERITIES[level]}>gearmand-py: {level} hello you"
    assert system.recv(1000).rstrip(b"\0") == line.encode()
    handler.close()


def test_a_system_without_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SYSLOG", str(tmp_path / "none"))
    with pytest.raises(StartError, match="there is no such socket; leave --syslog out where no log runs"):
        logs.system_log()
