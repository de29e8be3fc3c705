"""What a running server is told: by signals, and by the text command."""

import os
import signal
from contextlib import closing

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ServerError, ServerUnreachable
from tests.command.running import STOPPED, Worker
from tests.conftest import StartServer
from tests.harness.server import HOST, Server


def submit(server: Server, function: bytes, data: bytes) -> None:
    """A background job."""
    with server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, function, b"", data, answer=packets.JOB_CREATED)


def expect_no_more_connections(server: Server) -> None:
    """The port is closed by the time that the log says so."""
    server.expect(rb"taking no more connections, ending after \d+ jobs?")
    with pytest.raises(ServerUnreachable):
        server.connect()


def test_it_finishes_what_its_workers_can_do(server: Server) -> None:
    submit(server, b"upper", b"one")
    submit(server, b"upper", b"two")
    submit(server, b"nobody", b"stays")
    with closing(Worker(server.port, b"upper")) as worker:
        handle, data = worker.take()
        os.kill(server.pid, signal.SIGUSR1)
        expect_no_more_connections(server)
        assert data == b"one"
        worker.report(packets.WORK_COMPLETE, handle, b"ONE")
        handle, data = worker.take()
        assert data == b"two"
        worker.client.send(packets.WORK_COMPLETE, handle, b"TWO")
        assert server.wait() == STOPPED
    assert "stopped, 1 job left" in server.stderr


def test_it_ends_at_once_when_nothing_runs(server: Server) -> None:
    submit(server, b"nobody", b"stays")
    os.kill(server.pid, signal.SIGUSR1)
    assert server.wait() == STOPPED
    assert "stopped, 1 job left" in server.stderr


def test_a_job_submitted_meanwhile_is_done_too(server: Server) -> None:
    with closing(Worker(server.port, b"upper")) as worker, server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, b"upper", b"", b"one", answer=packets.JOB_CREATED)
        first, _ = worker.take()
        os.kill(server.pid, signal.SIGUSR1)
        expect_no_more_connections(server)
        client.ask(packets.SUBMIT_JOB_BG, b"upper", b"", b"two", answer=packets.JOB_CREATED)
        worker.report(packets.WORK_COMPLETE, first, b"ONE")
        second, data = worker.take()
        assert data == b"two"
        worker.client.send(packets.WORK_COMPLETE, second, b"TWO")
        assert server.wait() == STOPPED
    assert "stopped, 0 jobs left" in server.stderr


def test_a_worker_that_goes_does_not_keep_it(server: Server) -> None:
    submit(server, b"upper", b"one")
    worker = Worker(server.port, b"upper")
    worker.take()
    os.kill(server.pid, signal.SIGUSR1)
    expect_no_more_connections(server)
    worker.close()
    assert server.wait() == STOPPED
    assert "stopped, 1 job left" in server.stderr


def test_it_can_still_be_stopped(server: Server) -> None:
    submit(server, b"upper", b"one")
    with closing(Worker(server.port, b"upper")) as worker:
        worker.take()
        os.kill(server.pid, signal.SIGUSR1)
        expect_no_more_connections(server)
        assert server.stop() == STOPPED
    assert "stopped, 1 job left" in server.stderr


# ---- shutdown


def test_shutdown_is_refused(server: Server) -> None:
    with server.connect() as client, pytest.raises(ServerError, match="start with --allow-shutdown or send SIGTERM"):
        client.text("shutdown")


def test_shutdown_if_allowed(start_server: StartServer) -> None:
    server = start_server("--allow-shutdown")
    with Client.connect(HOST, server.port) as client:
        with pytest.raises(ServerError, match="INVALID_ARGUMENTS"):
            client.text("shutdown now")
        assert client.text("shutdown") == [b"OK"]
        assert server.wait() == STOPPED


def test_shutdown_graceful_if_allowed(start_server: StartServer) -> None:
    server = start_server("--allow-shutdown")
    submit(server, b"upper", b"one")
    with closing(Worker(server.port, b"upper")) as worker, server.connect() as client:
        handle, _ = worker.take()
        assert client.text("shutdown graceful") == [b"OK"]
        expect_no_more_connections(server)
        worker.client.send(packets.WORK_COMPLETE, handle, b"ONE")
        assert server.wait() == STOPPED
    assert "stopped, 0 jobs left" in server.stderr
