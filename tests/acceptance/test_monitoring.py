"""How monitoring tools read the listings: each reader below cuts lines and takes columns as its tool does."""

import socket
from collections.abc import Iterator

import pytest
from python3_gearman import GearmanAdminClient

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.acceptance.clients import Clients
from tests.harness.server import HOST, Server

ENOUGH = 1 << 16
# Names that occur in the wild.
PLAIN = b"resize"
ODD = [rb"App\Jobs\Resize", b"Report::make", b"a|b=c;d", b"tab\there"]
SHOWN = {b"tab\there": r"tab\x09here"}
DOTTED = b"mail.send"
UMLAUT = "größe".encode()
SPACED = b"two words"

Counts = tuple[int, int, int]


class Load:
    """Jobs and workers that stand still, so that every reader sees the same."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client = server.connect()
        self._workers: list[Client] = []

    def add(self, function: bytes, queued: int = 2, running: int = 1, idle: int = 2) -> None:
        for _ in range(queued + running):
            self._client.ask(packets.SUBMIT_JOB_BG, function, b"", b"x", answer=packets.JOB_CREATED)
        for number in range(running + idle):
            worker = self._server.connect()
            self._workers.append(worker)
            worker.send(packets.SET_CLIENT_ID, b"worker-%d" % number)
            worker.send(packets.CAN_DO, function)
            if number < running:
                worker.ask(packets.GRAB_JOB, answer=packets.JOB_ASSIGN)
            worker.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)

    def close(self) -> None:
        for client in (self._client, *self._workers):
            client.close()


@pytest.fixture
def load(server: Server) -> Iterator[Load]:
    load = Load(server)
    yield load
    load.close()


def said(server: Server, *commands: str) -> bytes:
    """What a server says to commands sent together, up to where the last listing or line ends."""
    with socket.create_connection((HOST, server.port), timeout=10) as connection:
        connection.sendall("".join(f"{command}\n" for command in commands).encode())
        return connection.recv(ENOUGH)


def munin(clients: Clients) -> dict[str, Counts]:
    """Munin's gearman_queue and gearman_workers: gearadmin's output by white space, up to the first line with a dot."""
    found: dict[str, Counts] = {}
    for line in clients.gearadmin("--status").splitlines():
        if "." in line:
            break
        name, queue, running, total = line.split()
        found[name] = int(queue), int(running), int(total)
    return found


def netdata(server: Server) -> dict[str, Counts]:
    """Netdata's collector: all lines but the last, by white space; pending, running and idle of functions in use."""
    found: dict[str, Counts] = {}
    for line in sorted(said(server, "status").decode().splitlines()[:-1]):
        name, *numbers = line.split()
        total, running, workers = map(int, numbers)
        if any((total, running, workers)):
            found[name] = total - running, running, workers - running
    return found


def exporter(server: Server) -> dict[str, Counts]:
    """gearman-exporter for Prometheus: by tabs, into four; the version is behind a space."""
    found: dict[str, Counts] = {}
    for line in said(server, "status\r").decode().splitlines():
        if line == ".":
            break
        name, total, running, workers = line.split("\t", 3)
        found[name] = int(total), int(running), int(workers)
    return found


def check_gearman(server: Server) -> tuple[dict[str, Counts], str]:
    """Nagios' check_gearman: two commands in one write, both answers in one read; waiting, running, workers."""
    found: dict[str, Counts] = {}
    lines = iter(said(server, "status", "version").split(b"\n"))
    for line in lines:
        if line == b".":
            break
        name, total, running, workers = line.split(b"\t", 3)
        found[name.decode()] = int(total) - int(running), int(running), int(workers)
    version = next(lines)
    assert version[:1] == b"O"
    return found, version[3:].decode()


def shown(name: bytes) -> str:
    return SHOWN.get(name, name.decode())


def test_munin(clients: Clients, load: Load) -> None:
    for name in (PLAIN, *ODD, UMLAUT):
        load.add(name)
    assert munin(clients) == {shown(name): (3, 1, 3) for name in (PLAIN, *ODD, UMLAUT)}


def test_munin_reads_up_to_a_dot(clients: Clients, load: Load) -> None:
    """With every server; not ours to mend."""
    for name in (PLAIN, DOTTED, UMLAUT):
        load.add(name, running=0, idle=0)
    assert munin(clients).keys() == {shown(PLAIN)}


def test_netdata(server: Server, load: Load) -> None:
    load.add(b"unused", queued=0, running=0, idle=0)
    with server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, b"waiting", b"", b"x", answer=packets.JOB_CREATED)
    for name in (PLAIN, *ODD, DOTTED, UMLAUT):
        load.add(name)
    assert netdata(server) == {
        "waiting": (1, 0, 0),
        **{shown(name): (2, 1, 2) for name in (PLAIN, *ODD, DOTTED, UMLAUT)},
    }


def test_gearman_exporter(server: Server, load: Load) -> None:
    for name in (PLAIN, *ODD, DOTTED, UMLAUT, SPACED):
        load.add(name)
    assert exporter(server) == {shown(name): (3, 1, 3) for name in (PLAIN, *ODD, DOTTED, UMLAUT, SPACED)}
    word, _, number = said(server, "version\r").decode().rstrip("\r\n").partition(" ")
    assert word == "OK"
    assert number[0].isdigit()


def test_check_gearman(server: Server, load: Load) -> None:
    for name in (PLAIN, *ODD, DOTTED, UMLAUT, SPACED):
        load.add(name)
    found, version = check_gearman(server)
    assert found == {shown(name): (2, 1, 3) for name in (PLAIN, *ODD, DOTTED, UMLAUT, SPACED)}
    assert version[0].isdigit()


def test_datadog(server: Server, load: Load) -> None:
    """Its gearmand check asks through python3-gearman, as here; that miscounts names that are not ASCII."""
    names = (PLAIN, *ODD, DOTTED, SPACED)
    for name in names:
        load.add(name)
    client = GearmanAdminClient([f"{HOST}:{server.port}"])
    tasks = {status["task"]: (status["queued"], status["running"], status["workers"]) for status in client.get_status()}
    assert tasks == {shown(name): (3, 1, 3) for name in names}
    workers = [worker for worker in client.get_workers() if worker["tasks"]]
    assert len(workers) == 3 * len(names)
    assert {task for worker in workers for task in worker["tasks"]} == {
        shown(name).replace(" ", r"\x20") for name in names
    }
    assert client.get_version().startswith("OK ")
    client.shutdown()


def test_queued_jobs_by_priority(server: Server, load: Load) -> None:
    """The columns of prioritystatus: function, high, normal, low, workers; running jobs are in none."""
    load.add(PLAIN)
    with server.connect() as client:
        for kind in (packets.SUBMIT_JOB_HIGH_BG, packets.SUBMIT_JOB_LOW_BG, packets.SUBMIT_JOB_LOW_BG):
            client.ask(kind, PLAIN, b"", b"x", answer=packets.JOB_CREATED)
        for command in ("prioritystatus", "priority-status"):
            assert said(server, command) == b"resize\t1\t2\t2\t3\n.\n"
