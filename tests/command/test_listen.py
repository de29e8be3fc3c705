"""Where a server listens: several addresses, IPv6, Unix sockets, and how its connections are set up."""

import re
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.command.running import CANNOT_START, GearmandPy, Worker
from tests.harness.process import DEADLINE, Process
from tests.harness.server import HOST

NO_STORE: Final = ("-q", "builtin")
ESTABLISHED: Final = "01"  # in /proc/net/tcp
SENDING: Final = "01"  # the timer of what is not confirmed yet
HAS_IPV6: Final = Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""


def addresses(server: Process) -> list[str]:
    """Where it says that it listens."""
    return server.expect_error(rb"listening on (.*), storing")[1].decode().split(", ")


def answers(*address: str | int) -> bool:
    """Whether a Gearman server answers there."""
    with Client.connect(*address) as client:  # type: ignore[arg-type]
        return bool(client.text("version"))


def test_several_addresses_share_a_port(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    words = ("-p", "0", "-L", HOST, "--listen", "127.0.0.2", "-L", f"unix:{path}")
    first, second, third = addresses(gearmand_py.start(*NO_STORE, *words))
    port = int(first.removeprefix(f"{HOST}:"))
    assert (second, third) == (f"127.0.0.2:{port}", str(path))
    assert answers(HOST, port)
    assert answers("127.0.0.2", port)
    assert answers(str(path))


def test_an_address_given_twice_is_one(gearmand_py: GearmandPy) -> None:
    server = gearmand_py.start(*NO_STORE, "-p", "0", "-L", HOST, "-L", HOST)
    assert len(addresses(server)) == 1


def test_a_name_stands_for_all_its_addresses_here(gearmand_py: GearmandPy) -> None:
    found = {info[4][0] for info in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    here = {str(address) for address in found if HAS_IPV6 or ":" not in str(address)}
    server = gearmand_py.start(*NO_STORE, "-p", "0", "-L", "localhost")
    assert {re.sub(r":\d+$", "", address).strip("[]") for address in addresses(server)} == here


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["-L", "::1"], ["::1"]),
        (["-L", "::"], ["::1", HOST]),
        (["-L", "::", "-L", "0.0.0.0"], ["::1", HOST]),
        (["-L", "::", "-L", "127.0.0.1"], ["::1", HOST]),
    ]
    if HAS_IPV6
    else [(["-L", "0.0.0.0"], [HOST])],
)
def test_ipv6_and_all_addresses(gearmand_py: GearmandPy, words: list[str], where: list[str]) -> None:
    server = gearmand_py.start(*NO_STORE, "-p", "0", *words)
    port = int(addresses(server)[0].rpartition(":")[2])
    assert all(answers(host, port) for host in where)


def test_a_port_in_the_address(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run(*NO_STORE, "-L", "127.0.0.1:4731")
    assert ended.status == CANNOT_START
    assert ended.stderr.endswith("; the port goes into --port\n")


# ---- Unix sockets


def test_a_unix_socket_serves_and_goes_with_the_server(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    server = gearmand_py.start(*NO_STORE, "-L", str(path))
    assert addresses(server) == [str(path)]
    at_socket = GearmandPy("--listen", str(path))
    assert at_socket.output("submit", "--background", "reverse", "abc").startswith("H:")
    assert "reverse" in gearmand_py.output("status", "--server", str(path))
    at_socket.close()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_is_taken_over(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    killed = gearmand_py.start(*NO_STORE, "-L", str(path))
    addresses(killed)
    killed.close()
    assert path.exists()
    addresses(gearmand_py.start(*NO_STORE, "-L", str(path)))
    assert answers(str(path))


def test_a_socket_in_use_is_left_alone(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    addresses(gearmand_py.start(*NO_STORE, "-L", str(path)))
    ended = gearmand_py.run(*NO_STORE, "-L", str(path))
    assert ended.status == CANNOT_START
    assert f"cannot listen on {path}: Address already in use" in ended.stderr
    assert answers(str(path))


def test_a_file_that_is_no_socket_is_left_alone(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    ended = gearmand_py.run(*NO_STORE, "-L", str(tmp_path / "precious"))
    assert ended.status == CANNOT_START
    assert "File exists; give --listen another path" in ended.stderr
    assert (tmp_path / "precious").read_text() == "x"


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o755), ("077", 0o700), ("007", 0o770)])
def test_the_umask_says_who_may_connect(gearmand_py: GearmandPy, tmp_path: Path, umask: str, mode: int) -> None:
    """To connect takes the right to write."""
    path = tmp_path / "g.sock"
    under_umask = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
    addresses(gearmand_py.start(*NO_STORE, "-L", str(path), prefix=under_umask))
    assert path.stat().st_mode & 0o777 == mode


def test_a_path_that_cannot_be(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    for path in (f"{tmp_path}/{'x' * 200}", f"{tmp_path}/no/such/directory/g.sock"):
        ended = gearmand_py.run(*NO_STORE, "-L", path)
        assert ended.status == CANNOT_START
        assert "cannot listen on" in ended.stderr


# ---- connections


def timer(port: int) -> str:
    """Which timer the kernel runs for the server's end of a connection: 00 is none, 02 keepalive."""
    with Client.connect(HOST, port) as client:
        client.text("version", DEADLINE)
        while (found := timer_now(port)) == SENDING:
            pass
        return found


def timer_now(port: int) -> str:
    """The same at this moment."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    (found,) = [line[5] for line in table if line[1].endswith(f":{port:04X}") and line[3] == ESTABLISHED]
    return found.partition(":")[0]


@pytest.mark.parametrize(("words", "running"), [((), "00"), (("--keepalive", "--keepalive-idle", "60"), "02")])
def test_idle_connections_are_probed_if_asked_for(
    gearmand_py: GearmandPy, words: tuple[str, ...], running: str
) -> None:
    server = gearmand_py.start(*NO_STORE, "-p", "0", *words)
    assert timer(int(addresses(server)[0].rpartition(":")[2])) == running


@pytest.mark.parametrize(
    ("words", "told"), [((), packets.WORK_FAIL), (("--exceptions",), packets.WORK_EXCEPTION)], ids=["asked", "always"]
)
def test_who_is_told_of_exceptions(gearmand_py: GearmandPy, words: tuple[str, ...], told: int) -> None:
    server = gearmand_py.start(*NO_STORE, "-p", "0", *words)
    port = int(addresses(server)[0].rpartition(":")[2])
    worker = Worker(port, b"blow")
    with closing(worker), Client.connect(HOST, port) as client:
        client.ask(packets.SUBMIT_JOB, b"blow", b"", b"x", answer=packets.JOB_CREATED)
        handle, _ = worker.take()
        worker.report(packets.WORK_EXCEPTION, handle, b"boom")
        assert client.receive(DEADLINE)[0] == told
