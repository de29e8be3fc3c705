"""What a server still knows after kill -9: jobs, handles, attempts, dead jobs, times."""

import time
from contextlib import closing
from typing import Final

from gearmand_py.server import packets
from tests.command.running import GearmandPy, Worker, execute, rows
from tests.conftest import StartServer
from tests.harness.process import DEADLINE
from tests.harness.server import Server

STATES: Final = "SELECT function_name, state, attempts FROM gearman_jobs ORDER BY id"


def known(server: Server, handle: str) -> bool:
    """Does the server know this handle?"""
    with server.connect() as client:
        answer = client.ask(packets.GET_STATUS, handle.encode(), answer=packets.STATUS_RES)
    return answer.split(b"\0")[:2] == [handle.encode(), b"1"]


def expect_no_rows(server: Server) -> None:
    """That a job is over is written a moment later."""
    until = time.monotonic() + DEADLINE
    while left := rows(server.database, STATES):
        assert time.monotonic() < until, left


def test_a_job_is_kept_and_so_is_its_handle(client: GearmandPy, server: Server) -> None:
    handle = client.output("submit", "--background", "shout", "still here")
    assert server.jobs_found() == 0
    server.restart()
    assert server.jobs_found() == 1
    assert known(server, handle)
    worker = client.start("work", "--count", "1", "shout", "--", "sh", "-c", "echo $GEARMAN_HANDLE; tr a-z A-Z >&2")
    assert worker.wait() == 0
    assert worker.stderr == "STILL HERE"
    assert not known(server, handle)
    expect_no_rows(server)
    server.restart()
    assert server.jobs_found() == 0


def test_order_is_kept(client: GearmandPy, server: Server) -> None:
    for priority, data in [("low", "3"), ("normal", "1"), ("high", "0"), ("normal", "2")]:
        client.output("submit", "-b", "--priority", priority, "f", data)
    server.restart()
    worker = client.start("work", "--count", "4", "f", "--", "sh", "-c", "cat >&2")
    assert worker.wait() == 0
    assert worker.stderr == "0123"


def test_a_unique_key_is_kept(client: GearmandPy, server: Server) -> None:
    handle = client.output("submit", "-b", "-u", "key", "f", "first")
    server.restart()
    assert client.output("submit", "-b", "-u", "key", "f", "second") == handle
    assert rows(server.database, "SELECT unique_key, data_bytes FROM gearman_jobs") == [("key", 5)]


def test_attempts_are_kept_and_when_they_run_out_the_job_is_dead(
    gearmand_py: GearmandPy, start_server: StartServer
) -> None:
    server = start_server("--job-retries", "2")
    client = gearmand_py.at(server.port)
    handle = client.output("submit", "-b", "-u", "key", "f", "data")

    with closing(Worker(server.port, b"f")) as other:
        with closing(Worker(server.port, b"f")) as worker:
            worker.take()
        assert other.take()[0].decode() == handle  # it has come back
        client.output("submit", "-b", "fence")  # committed with that, or after it
        server.kill()
    server.restart()
    assert rows(server.database, STATES) == [("f", "waiting", 1), ("fence", "waiting", 0)]
    assert f"{handle}\t1\t0\t1" in client.output("jobs", "--raw").splitlines()

    with server.connect() as waiting:
        assert waiting.ask(packets.SUBMIT_JOB, b"f", b"key", b"", answer=packets.JOB_CREATED).decode() == handle
        with closing(Worker(server.port, b"f")) as worker:
            worker.take()
        assert waiting.receive(DEADLINE) == (packets.WORK_FAIL, handle.encode())
    client.output("submit", "-b", "fence")
    server.restart()
    assert server.jobs_found() == 2
    assert rows(server.database, STATES)[0] == ("f", "dead", 2)
    assert client.output("cancel", handle) == f"{handle} cancelled"
    assert rows(server.database, STATES) == 2 * [("fence", "waiting", 0)]


def test_a_delayed_job_keeps_its_time(client: GearmandPy, server: Server) -> None:
    when = int(time.time()) + 2
    handle = client.output("submit", "--at", str(when), "f", "later")
    server.restart()
    assert server.jobs_found() == 1
    with closing(Worker(server.port, b"f")) as worker:
        assert worker.take() == (handle.encode(), b"later")
    assert when <= time.time() < when + 2


def test_a_delayed_job_whose_time_has_passed_meanwhile_runs_at_once(client: GearmandPy, server: Server) -> None:
    client.output("submit", "--at", "+1d", "f", "later")
    server.kill()
    execute(server.database, "UPDATE gearman_job SET run_at = 1000000000")
    server.restart()
    with closing(Worker(server.port, b"f")) as worker:
        assert worker.take()[1] == b"later"
