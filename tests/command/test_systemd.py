"""Under systemd: the units, the notifications, the sockets it hands over."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server.client import Client
from tests.command.running import STOPPED, GearmandPy
from tests.databases.ports import free_port
from tests.harness.process import DEADLINE
from tests.harness.server import COMMAND, HOST
from tests.harness.tools import need

UNITS: Final = Path(__file__).parents[2] / "systemd"
# What the unit takes away, whatever the sum below says.
TAKEN_AWAY: Final = {
    "CapabilityBoundingSet": "",
    "LimitCORE": "0",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProtectHome": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "StateDirectoryMode": "0700",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "User": "gearmand-py",
}
SYSTEM_CALLS: Final = ["@system-service", "~@privileged @resources", "prlimit64 setrlimit"]
WORST_EXPOSURE: Final = 2.0  # of 10; systemd calls up to 2 "OK" and an ordinary service "UNSAFE"


class Manager:
    """A service manager's end of the notification socket."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(DEADLINE)

    def told(self) -> list[str]:
        """The next notification."""
        return self._socket.recv(4096).decode().splitlines()

    def forget(self) -> None:
        """Whatever has come and was not looked at."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while self.told():
                pass
        self._socket.settimeout(DEADLINE)

    def is_silent(self) -> bool:
        """Whether nothing comes for a second."""
        self._socket.settimeout(1)
        try:
            self.told()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(DEADLINE)
        return False

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Hears what a service says."""
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with our command in the place of the installed one."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/gearmand-py/bin/gearmand-py", str(COMMAND))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def run(*command: str) -> str:
    """What a command prints on both of its outputs; it must succeed."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_units_have_no_mistakes(units: Path) -> None:
    both = (str(units / "gearmand-py.service"), str(units / "gearmand-py.socket"))
    assert run(need("systemd-analyze"), "verify", "--man=no", *both) == ""


def test_what_the_service_may_not() -> None:
    lines = [line.partition("=") for line in (UNITS / "gearmand-py.service").read_text().splitlines()]
    said = {name: value for name, _, value in lines}
    assert said == said | TAKEN_AWAY
    assert [value for name, _, value in lines if name == "SystemCallFilter"] == SYSTEM_CALLS


def test_the_service_is_locked_in(units: Path) -> None:
    said = run(need("systemd-analyze"), "security", "--offline=true", str(units / "gearmand-py.service"))
    found = re.search(r"Overall exposure level for gearmand-py\.service: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= WORST_EXPOSURE


def test_it_tells_when_it_is_ready_and_when_it_stops(gearmand_py: GearmandPy, manager: Manager) -> None:
    server = gearmand_py.start("-p", "0", "-q", "builtin", environment={"NOTIFY_SOCKET": str(manager.path)})
    ready, status = manager.told()
    assert ready == "READY=1"
    assert re.fullmatch(r"STATUS=listening on 127\.0\.0\.1:\d+, storing in nothing but memory", status)
    server.send_signal(signal.SIGTERM)
    assert manager.told() == ["STOPPING=1"]
    assert server.wait() == STOPPED


def test_it_tells_that_it_lives(gearmand_py: GearmandPy, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"}
    gearmand_py.start("-p", "0", "-q", "builtin", environment=environment)
    told = [manager.told() for _ in range(4)]
    assert told.count(["WATCHDOG=1"]) == 3
    assert sum(lines[0] == "READY=1" for lines in told) == 1


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": "soon"}, {"LISTEN_FDS": "x"}, {"WATCHDOG_PID": "1"}])
def test_variables_that_make_no_sense_are_not_obeyed(
    gearmand_py: GearmandPy, manager: Manager, variables: dict[str, str]
) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), **variables}
    gearmand_py.start("-p", "0", "-q", "builtin", environment=environment)
    assert manager.told()[0] == "READY=1"


def test_it_is_silent_when_it_hangs(gearmand_py: GearmandPy, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"}
    server = gearmand_py.start("-p", "0", "-q", "builtin", environment=environment)
    while manager.told()[0] != "READY=1":
        pass
    server.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WNOWAIT)
    manager.forget()  # said before
    assert manager.is_silent()
    server.send_signal(signal.SIGCONT)
    assert manager.told() == ["WATCHDOG=1"]


def test_it_serves_on_a_socket_that_is_handed_over(gearmand_py: GearmandPy) -> None:
    port = free_port()
    activate = [need("systemd-socket-activate"), f"--listen={HOST}:{port}"]
    server = gearmand_py.start("-p", "1", "-q", "builtin", prefix=activate)
    server.expect_error(rb"Listening on")
    with Client.connect(HOST, port) as client:  # who connects first starts it
        assert client.text("status", DEADLINE) == []
        server.expect_error(f"listening on {HOST}:{port},".encode())


def test_the_socket_of_a_unit_is_not_removed(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    server = gearmand_py.start("-q", "builtin", prefix=[need("systemd-socket-activate"), f"--listen={path}"])
    server.expect_error(rb"Listening on")
    with Client.connect(str(path)) as client:
        assert client.text("status", DEADLINE) == []
    server.send_signal(signal.SIGTERM)
    assert server.wait() == STOPPED
    assert path.exists()


def test_the_user_of_the_unit_is_made(tmp_path: Path) -> None:
    if not shutil.which("systemd-sysusers"):
        need("systemd-analyze")  # the same package
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    run("systemd-sysusers", f"--root={root}", "--dry-run", str(UNITS / "gearmand-py.sysusers"))
    user = re.search(r"^User=(.*)$", (UNITS / "gearmand-py.service").read_text(), re.MULTILINE)
    assert user
    assert f"u {user[1]} " in (UNITS / "gearmand-py.sysusers").read_text()
