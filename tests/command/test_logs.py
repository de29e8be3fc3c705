"""The log: where it goes, how its lines look, and its file opened anew."""

import json
import os
import signal
import socket
from datetime import datetime
from pathlib import Path

from tests.command.running import CANNOT_START, STOPPED, GearmandPy
from tests.harness.process import DEADLINE, Process

NO_STORE = ("-p", "0", "-q", "builtin")


def serve(gearmand_py: GearmandPy, *words: str, tmp_path: Path) -> Process:
    """A server that has told over a notification socket that it is ready, wherever its log goes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE)
        server = gearmand_py.start(*NO_STORE, *words, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(1000).startswith(b"READY=1")
    return server


def end(server: Process) -> None:
    """Stop it."""
    server.send_signal(signal.SIGTERM)
    assert server.wait() == STOPPED


def test_to_a_file(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    server = serve(gearmand_py, "-l", str(tmp_path / "log"), tmp_path=tmp_path)
    end(server)
    assert server.stderr == ""
    assert [line.split()[2] for line in (tmp_path / "log").read_text().splitlines()] == ["WARNING", "INFO", "INFO"]


def test_to_nowhere(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    server = serve(gearmand_py, "--log-file=none", tmp_path=tmp_path)
    end(server)
    assert (server.stdout, server.stderr) == (b"", "")


def test_only_what_is_severe_enough(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    server = serve(gearmand_py, "--verbose=ERROR", tmp_path=tmp_path)
    end(server)
    assert server.stderr == ""


def test_no_level_shows_payloads(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    words = ("-p", "0", "-vvv", "--database", f"sqlite:///{tmp_path}/queue.db")
    server = gearmand_py.start(*words)
    port = int(server.expect_error(rb"listening on 127\.0\.0\.1:(\d+)")[1])
    gearmand_py.at(port).output("submit", "-b", "reverse", "a secret payload")
    end(server)
    assert "DEBUG" in server.stderr
    assert "secret" not in server.stderr


def test_json(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    server = serve(gearmand_py, "--log-format=json", tmp_path=tmp_path)
    end(server)
    lines = [json.loads(line) for line in server.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["WARNING", "INFO", "INFO"]
    assert lines[-1]["message"] == "stopped, 0 jobs left"
    assert {datetime.fromisoformat(line["time"]).utcoffset().total_seconds() for line in lines} == {0.0}  # type: ignore[union-attr]


def test_its_file_is_opened_anew(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = serve(gearmand_py, f"--log-file={log}", tmp_path=tmp_path)
    log.rename(tmp_path / "log.1")
    os.kill(server.pid, signal.SIGHUP)
    end(server)
    assert "listening" in (tmp_path / "log.1").read_text()
    assert "stopped" not in (tmp_path / "log.1").read_text()
    assert [line.split()[3] for line in log.read_text().splitlines()] == ["log", "stopped,"]


def test_a_file_that_cannot_be_opened_anew_is_written_on(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "log"
    server = serve(gearmand_py, f"--log-file={log}", tmp_path=tmp_path)
    (tmp_path / "logs").rename(tmp_path / "moved")
    os.kill(server.pid, signal.SIGHUP)
    end(server)
    said = (tmp_path / "moved" / "log").read_text()
    assert f"cannot open {log} anew: No such file or directory; logging goes on in the old file" in said
    assert "stopped" in said


def test_a_file_that_cannot_be(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    ended = gearmand_py.run(*NO_STORE, "--log-file", str(tmp_path))
    assert ended.status == CANNOT_START
    assert ended.stderr == f"gearmand-py: cannot log to {tmp_path}: Is a directory; give --log-file another place\n"


def test_a_log_that_cannot_be_written_stops_nothing(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    server = serve(gearmand_py, "--log-file=/dev/full", tmp_path=tmp_path)
    end(server)
    assert server.stderr == ""
