"""Serving: what a start says, where jobs are kept, why a start is refused."""

import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import config, packets
from tests.command.running import CANNOT_START, STOPPED, GearmandPy
from tests.conftest import StartServer
from tests.harness.server import HOST, Server

START_LINE: Final = (
    r"gearmand-py (\S+) listening on (\S+):(\d+), storing in (.+) \(SQLite, synchronous=FULL\), (.+) found"
)

# As an ordinary user, also where the tests run as root, whose state directory is no place for them.
AS_USER: Final = (
    sys.executable,
    "-c",
    "import os, runpy, sys; os.geteuid = lambda: 1000; del sys.argv[0]; runpy.run_path(sys.argv[0], None, '__main__')",
)


def test_one_line_says_where_it_listens_where_it_stores_and_what_it_found(server: Server) -> None:
    (line,) = server.stderr.splitlines()
    (found,) = re.findall(START_LINE, line)
    assert found == (version("gearmand-py"), HOST, str(server.port), str(server.database), "0 jobs")
    assert server.port > 0


def test_the_first_start_of_all_says_no_more(start_server: StartServer) -> None:
    (line,) = start_server().stderr.splitlines()
    assert re.search(START_LINE, line)


def test_jobs_in_the_database_are_counted(server: Server) -> None:
    for jobs in (1, 2):
        with server.connect() as client:
            client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"", answer=packets.JOB_CREATED)
        server.restart()
        assert server.jobs_found() == jobs


def test_it_serves_on_ipv6(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    process = gearmand_py.start("-L", "::1", "-p", "0", "--database", f"sqlite:///{tmp_path}/queue.db")
    port = process.expect_error(rb"listening on \[::1\]:(\d+)")[1].decode()
    assert gearmand_py.output("ping", "-s", f"[::1]:{port}").startswith(f"pong from [::1]:{port} in ")
    assert gearmand_py.output("-L", "::", "-p", port, "ping").startswith(f"pong from [::1]:{port} in ")


def test_it_serves_without_uvloop(start_server: StartServer, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "uvloop.py").write_text(
        "import sys\nprint('shadowed', file=sys.stderr)\nraise ImportError('no uvloop')\n"
    )
    server = start_server(environment={"PYTHONPATH": str(shadow)})
    assert server.stderr.startswith("shadowed\n")
    with server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"", answer=packets.JOB_CREATED)
    assert server.stop() == STOPPED
    server.restart()
    assert server.jobs_found() == 1


# ---- the state directory


@pytest.mark.parametrize(
    ("environment", "user", "directory"),
    [
        ({}, 0, "/var/lib/gearmand-py"),
        ({"XDG_STATE_HOME": "/else"}, 0, "/var/lib/gearmand-py"),
        ({"STATE_DIRECTORY": "/run/one"}, 0, "/run/one"),
        ({"STATE_DIRECTORY": "/run/one:/run/two"}, 1000, "/run/one"),
        ({}, 1000, "/home/ann/.local/state/gearmand-py"),
        ({"XDG_STATE_HOME": "/else"}, 1000, "/else/gearmand-py"),
    ],
)
def test_the_state_directory_is_systemds_or_roots_or_the_users_own(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], user: int, directory: str
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ann", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert config.default_state_directory() == Path(directory)
    assert config.default_database() == f"sqlite:///{directory}/queue.db"


def test_the_state_directory_is_made_for_its_user_alone(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_STATE_HOME": "", "STATE_DIRECTORY": ""}
    process = gearmand_py.start("-p", "0", environment=environment, prefix=AS_USER)
    directory = tmp_path / ".local" / "state" / "gearmand-py"
    process.expect_error(f"storing in {directory}/queue.db ".encode())
    assert directory.stat().st_mode & 0o777 == 0o700


def test_the_directory_systemd_gives_is_used(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    process = gearmand_py.start("-p", "0", environment={"STATE_DIRECTORY": str(tmp_path)})
    process.expect_error(f"storing in {tmp_path}/queue.db ".encode())


# ---- refused; what a database can have against a start is in tests/faults


def test_a_second_server_on_the_same_file_is_refused(gearmand_py: GearmandPy, server: Server) -> None:
    ended = gearmand_py.run("-p", "0", "--database", f"sqlite:///{server.database}")
    assert (ended.status, ended.stdout) == (CANNOT_START, b"")
    assert ended.stderr == (
        f"gearmand-py: {server.database} is in use by process {server.pid}: "
        "stop that server, or give this one another --database\n"
    )
    with server.connect() as client:  # the first one is none the worse
        client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"", answer=packets.JOB_CREATED)


def test_a_port_that_is_taken_is_told(gearmand_py: GearmandPy, server: Server, tmp_path: Path) -> None:
    ended = gearmand_py.run("-p", str(server.port), "--database", f"sqlite:///{tmp_path}/other.db")
    assert ended.status == CANNOT_START
    assert ended.stderr == (
        f"gearmand-py: cannot listen on {HOST}:{server.port}: Address already in use; "
        "is another job server running? give --port another number\n"
    )


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        (
            "192.0.2.1",
            "cannot listen on 192.0.2.1:0: Cannot assign requested address; give --listen an address of this",
        ),
        ("::ffff:ffff", "cannot listen on [::ffff:ffff]:0: "),
    ],
)
def test_an_address_of_another_host_is_told(gearmand_py: GearmandPy, tmp_path: Path, listen: str, message: str) -> None:
    ended = gearmand_py.run("-p", "0", "-L", listen, "--database", f"sqlite:///{tmp_path}/queue.db")
    assert ended.status == CANNOT_START
    assert ended.stderr.startswith(f"gearmand-py: {message}")


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("sqlite:////", "sqlite://// does not name a file: use sqlite:////absolute/path"),
        ("queue.db", "'queue.db' is not a database URL: use sqlite:////path/to/queue.db"),
        ("oracle://scott:tiger@host/x", "oracle: is not a database this version can use: use sqlite:////path/to/queue"),
    ],
)
def test_a_url_that_cannot_be_is_told(gearmand_py: GearmandPy, database: str, message: str) -> None:
    ended = gearmand_py.run("-p", "0", "--database", database)
    assert ended.status == CANNOT_START
    assert ended.stderr.startswith(f"gearmand-py: {message}")
    assert "tiger" not in ended.stderr
