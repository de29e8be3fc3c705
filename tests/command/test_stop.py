"""SIGTERM and SIGINT: the open batch is committed, its acknowledgements go out, connections end, exit status 0."""

import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ClientError, ConnectionLost
from gearmand_py.server.codec import Connection, Packet
from tests.command.running import STOPPED, rows
from tests.conftest import StartServer
from tests.harness.process import DEADLINE, Process
from tests.harness.server import COMMAND, HOST, Server

AT_ONCE: Final = 4.0  # seconds; less than a silent database is given
SIGNALS: Final = [signal.SIGTERM, signal.SIGINT]
IN_FLIGHT: Final = 64
STOPPED_AT_ONCE: Final = 1
STOPS_ITSELF: Final = """
import os, signal
signal.signal(signal.SIGUSR2, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
"""


class Submitter:
    """Submits background jobs as fast as they are taken, from a thread, and meanwhile reads what comes back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=DEADLINE)
        self._codec = Connection(packets.RESPONSE)
        self._thread = Thread(target=self._submit)
        self._thread.start()

    def _submit(self) -> None:
        jobs = 100 * packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"data")
        with suppress(OSError):  # that is how it ends
            while True:
                self._socket.sendall(jobs)

    def acknowledged(self) -> Iterator[bytes]:
        """The handles that come back, until the server ends the connection."""
        with suppress(ConnectionResetError):  # for what it had not read any more
            while data := self._socket.recv(65536):
                for kind, handle in self._codec.feed(data):
                    assert kind == packets.JOB_CREATED
                    yield handle

    def close(self) -> None:
        """End; the server has hung up before."""
        self._thread.join()
        self._socket.close()


def until_closed(client: Client) -> list[Packet]:
    """What still comes, up to the orderly end of the connection."""
    received = []
    with suppress(ConnectionLost):
        while True:
            received.append(client.receive(timeout=DEADLINE))
    with pytest.raises(ConnectionLost, match="closed the connection"):  # and not: reset, or silent
        client.receive(timeout=DEADLINE)
    return received


@pytest.mark.parametrize("number", SIGNALS)
def test_every_job_that_was_acknowledged_is_in_the_table(server: Server, number: signal.Signals) -> None:
    with closing(Submitter(server.port)) as submitter:
        acknowledged = submitter.acknowledged()
        handles = [next(acknowledged) for _ in range(1000)]
        os.kill(server.pid, number)
        handles.extend(acknowledged)
    assert server.wait() == STOPPED
    stored = {id_ for (id_,) in rows(server.database, "SELECT id FROM gearman_job")}
    assert {int(handle.rpartition(b":")[2]) for handle in handles} <= stored
    assert f"stopped, {len(stored)} jobs left" in server.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_jobs_in_flight_are_acknowledged_and_the_connection_ends_in_order(
    server: Server, number: signal.Signals
) -> None:
    with server.connect() as client:
        for _ in range(IN_FLIGHT):
            client.send(packets.SUBMIT_JOB_BG, b"f", b"", b"data")
        assert client.receive(timeout=DEADLINE)[0] == packets.JOB_CREATED  # the others are under way
        os.kill(server.pid, number)
        rest = until_closed(client)
    assert server.wait() == STOPPED
    assert len(rows(server.database, "SELECT id FROM gearman_job")) == 1 + len(rest)


@pytest.mark.parametrize("number", SIGNALS)
def test_everybody_is_hung_up_on(server: Server, number: signal.Signals) -> None:
    with server.connect() as idle, server.connect() as sleeper, server.connect() as waiter:
        sleeper.send(packets.CAN_DO, b"f")
        sleeper.send(packets.PRE_SLEEP)
        waiter.ask(packets.SUBMIT_JOB, b"g", b"", b"", answer=packets.JOB_CREATED)
        idle.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
        os.kill(server.pid, number)
        for client in (idle, sleeper, waiter):
            with pytest.raises(ConnectionLost, match="closed the connection"):
                client.receive(timeout=DEADLINE)
    assert server.wait() == STOPPED


def test_a_second_signal_does_not_wait_for_a_database_that_is_locked(server: Server) -> None:
    with server.connect() as client, closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"stored", answer=packets.JOB_CREATED)
        other.execute("BEGIN IMMEDIATE")
        client.send(packets.SUBMIT_JOB_BG, b"f", b"", b"in flight")
        for number in (signal.SIGSTOP, *SIGNALS, signal.SIGCONT):  # both at once, however fast it stops
            os.kill(server.pid, number)
        with pytest.raises(ConnectionLost):
            client.receive(timeout=DEADLINE)
        assert server.wait() == STOPPED_AT_ONCE
        assert other.execute("SELECT data FROM gearman_job").fetchall() == [(b"stored",)]


def test_a_signal_that_comes_while_another_is_handled_is_one_signal(start_server: StartServer, tmp_path: Path) -> None:
    # uvloop calls a handler twice for it: once from its list of signals, once from its pipe.
    (tmp_path / "sitecustomize.py").write_text(STOPS_ITSELF)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    server = start_server(environment={"PYTHONPATH": path})
    os.kill(server.pid, signal.SIGUSR2)
    assert server.wait() == STOPPED, server.stderr


def test_finished_jobs_are_deleted_before_the_end(server: Server) -> None:
    with server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"", answer=packets.JOB_CREATED)
        client.send(packets.CAN_DO, b"f")
        handle, _ = client.ask(packets.GRAB_JOB, answer=packets.JOB_ASSIGN).split(b"\0", 1)
        client.send(packets.WORK_COMPLETE, handle, b"")
        client.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
        assert server.stop() == STOPPED
    assert rows(server.database, "SELECT * FROM gearman_job") == []


def test_a_client_that_does_not_read_does_not_keep_it_from_stopping(server: Server) -> None:
    with server.connect() as client:
        flood = Thread(target=send_echoes, args=(client,))
        flood.start()
        with server.connect() as other:
            other.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
        assert server.stop() == STOPPED
        flood.join()


def send_echoes(client: Client) -> None:
    """Ask for more than any buffer holds, and read none of it."""
    with suppress(ClientError):  # that is how it ends
        for _ in range(64):
            client.send(packets.ECHO_REQ, b"x" * 1_000_000)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_that_waits_for_its_database_stops_at_once(number: signal.Signals) -> None:
    with socket.create_server((HOST, 0)) as database:
        url = f"postgresql://ann@{HOST}:{database.getsockname()[1]}/jobs"
        with Process([str(COMMAND), "--port", "0", "--database", url]) as server:
            connection, _ = database.accept()
            with connection:
                connection.recv(1)
                server.send_signal(number)
                assert server.wait(AT_ONCE) == 0
            assert "stopped before it served" in server.stderr
