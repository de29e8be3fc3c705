"""`gearmand-py submit` and `work`, the one against the other, and each against a client or worker of the test's own."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from tests.command.running import GearmandPy, Worker, rows
from tests.databases.ports import free_port
from tests.harness.server import Server

FAILED: Final = 1
NO_SERVER: Final = 3

# Runs a command on a terminal of its own, and prints what that shows.
ON_A_TERMINAL: Final = (
    sys.executable,
    "-c",
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
)


class Gate:
    """Holds a command up: it runs `wait`, and goes on once for each `open`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.wait = f"read _ < '{path}'"
        self._pipe = os.open(path, os.O_RDWR)

    def open(self) -> None:
        """Let the command go on."""
        os.write(self._pipe, b"\n")

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._pipe)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Holds a worker's command up."""
    with closing(Gate(tmp_path / "gate")) as gate:
        yield gate


# ---- in the foreground


def test_the_result_is_on_standard_output(client: GearmandPy) -> None:
    client.start("work", "upper", "--", "tr", "a-z", "A-Z")
    ended = client.run("submit", "upper", "hello")
    assert ended == (0, b"HELLO", "")


def test_any_bytes_go_through_standard_input_and_output(client: GearmandPy) -> None:
    client.start("work", "echo", "--", "cat")
    payload = bytes(range(256)) * 4096
    assert client.run("submit", "echo", stdin=payload) == (0, payload, "")
    assert client.run("submit", "echo", stdin=b"") == (0, b"", "")


def test_a_command_that_fails_fails_the_job(client: GearmandPy) -> None:
    worker = client.start("work", "fail", "--", "sh", "-c", "echo output; exit 7")
    ended = client.run("submit", "fail", "data")
    assert (ended.status, ended.stdout) == (FAILED, b"")
    handle = ended.stderr.split()[2]
    assert ended.stderr == f"Error: job {handle} failed\n"
    worker.expect_error(f"{handle}: sh exited with status 7\n".encode())


def test_an_exception_fails_the_job_and_is_shown(client: GearmandPy, server: Server) -> None:
    submitting = client.start("submit", "f", "data")
    with closing(Worker(server.port, b"f")) as worker:
        handle, data = worker.take()
        worker.report(packets.WORK_EXCEPTION, handle, b"no ink")
    assert data == b"data"
    assert submitting.wait() == FAILED
    assert submitting.stderr == f"Error: job {handle.decode()} failed with an exception: no ink\n"


def test_data_comes_as_it_is_sent_and_warnings_beside_it(client: GearmandPy, server: Server) -> None:
    submitting = client.start("submit", "f", "data")
    with closing(Worker(server.port, b"f")) as worker:
        handle, _ = worker.take()
        worker.report(packets.WORK_DATA, handle, b"one ")
        submitting.expect(b"one ")
        worker.report(packets.WORK_STATUS, handle, b"1", b"2")
        worker.report(packets.WORK_WARNING, handle, b"careful")
        submitting.expect_error(b"careful\n")
        worker.report(packets.WORK_COMPLETE, handle, b"two")
    assert submitting.result() == b"one two"
    assert submitting.stderr == "careful\n"  # no progress where no terminal is


def test_progress_is_shown_on_a_terminal_and_gone_in_the_end(client: GearmandPy, server: Server) -> None:
    submitting = client.start("submit", "f", prefix=ON_A_TERMINAL)
    with closing(Worker(server.port, b"f")) as worker:
        handle, data = worker.take()
        assert data == b""  # a terminal is not read: nobody would know what for
        worker.report(packets.WORK_STATUS, handle, b"1", b"4")
        submitting.expect(rb"\r\x1b\[K1/4 \(25%\)")
        worker.report(packets.WORK_STATUS, handle, b"2", b"4")
        submitting.expect(rb"\r\x1b\[K2/4 \(50%\)")
        worker.report(packets.WORK_COMPLETE, handle, b"done")
    assert submitting.result().endswith(b"\r\x1b[Kdone")


def test_a_client_that_is_interrupted_takes_its_job_along(client: GearmandPy, server: Server) -> None:
    submitting = client.start("submit", "f", "data")
    with server.connect() as looking, closing(Worker(server.port, b"f")) as worker:
        handle, _ = worker.take()
        submitting.send_signal(signal.SIGINT)
        assert submitting.wait() == -signal.SIGINT
        worker.report(packets.WORK_COMPLETE, handle, b"")
        assert looking.text("status") == [b"f\t0\t0\t1"]


# ---- in the background


def test_the_handle_of_a_background_job_is_printed(client: GearmandPy, server: Server) -> None:
    handle = client.output("submit", "--background", "f", "data")
    assert handle.startswith("H:")
    assert rows(server.database, "SELECT id, data FROM gearman_job") == [(int(handle.split(":")[-1]), b"data")]
    assert client.output("status", "--raw") == "f\t1\t0\t0"


def test_the_same_unique_key_is_one_job(client: GearmandPy) -> None:
    first = client.output("submit", "-b", "--unique", "key", "f", "first")
    assert client.output("submit", "-b", "--unique", "key", "f", "second") == first
    assert client.output("submit", "-b", "--unique", "other", "f", "third") != first
    assert client.output("status", "--raw") == "f\t2\t0\t0"


def test_jobs_go_by_priority_then_by_submission(client: GearmandPy, tmp_path: Path) -> None:
    for priority, data in [("low", "e"), ("normal", "c"), ("high", "a"), ("low", "f"), ("normal", "d"), ("high", "b")]:
        client.output("submit", "-b", "--priority", priority, "f", data)
    client.output("work", "--count", "6", "f", "--", "sh", "-c", f"cat >> {tmp_path}/order")
    assert (tmp_path / "order").read_text() == "abcdef"


def test_a_job_for_a_time_waits_for_it(client: GearmandPy, server: Server) -> None:
    client.output("submit", "--at", "+1h", "f", "much later")
    assert rows(server.database, "SELECT state FROM gearman_jobs") == [("delayed",)]
    when = int(time.time()) + 2
    client.output("submit", "--at", str(when), "f", "later")
    with closing(Worker(server.port, b"f")) as worker:
        assert worker.take()[1] == b"later"
    assert when <= time.time() < when + 2


def test_a_time_that_is_past_is_now(client: GearmandPy) -> None:
    client.output("submit", "--at", "2001-01-01T00:00", "f", "late")
    worker = client.start("work", "-n", "1", "f", "--", "sh", "-c", "cat >&2")
    assert worker.wait() == 0
    assert worker.stderr == "late"


# ---- the worker


def test_a_worker_ends_after_its_count(client: GearmandPy) -> None:
    for data in ("1", "2", "3"):
        client.output("submit", "-b", "f", data)
    assert client.run("work", "--count", "2", "f", "cat") == (0, b"", "")
    assert client.output("status", "--raw") == "f\t1\t0\t0"


def test_a_worker_that_is_told_to_stop_finishes_its_job(client: GearmandPy, gate: Gate) -> None:
    worker = client.start("work", "f", "--", "sh", "-c", f"echo began >&2; {gate.wait}; echo done")
    submitting = client.start("submit", "f")
    worker.expect_error(b"began")
    os.kill(worker.pid, signal.SIGTERM)
    worker.expect_error(b"stopping after job H:")
    gate.open()
    assert submitting.result() == b"done\n"
    assert worker.wait() == 0


def test_an_idle_worker_stops_at_once(client: GearmandPy) -> None:
    worker = client.start("work", "f", "--", "cat")
    assert client.output("submit", "f", "here") == "here"
    os.kill(worker.pid, signal.SIGINT)
    assert worker.wait() == 0


def test_a_worker_outlives_its_server(client: GearmandPy, server: Server) -> None:
    worker = client.start("work", "f", "--", "cat")
    assert client.output("submit", "f", "before") == "before"
    server.kill()
    worker.expect_error(rf"127.0.0.1:{server.port} closed the connection; reconnecting".encode())
    server.restart()
    worker.expect_error(rf"connected to 127.0.0.1:{server.port} again".encode())
    assert client.output("submit", "f", "after") == "after"
    assert len(worker.stderr.splitlines()) == 2


def test_a_job_in_hand_is_run_again_when_the_server_was_killed_meanwhile(
    client: GearmandPy, server: Server, gate: Gate
) -> None:
    client.output("submit", "-b", "f", "job ")
    worker = client.start("work", "--count", "1", "f", "--", "sh", "-c", f"cat >&2; {gate.wait}")
    worker.expect_error(b"job ")
    server.restart()
    gate.open()
    worker.expect_error(rb"\(job H:\S+ goes back to its queue\); reconnecting")
    worker.expect_error(b"again\njob ")
    gate.open()
    assert worker.wait() == 0
    assert server.stop() == 0  # what is over is written by then
    assert rows(server.database, "SELECT * FROM gearman_job") == []


# ---- no server


@pytest.mark.parametrize(
    "words", [["submit", "f", "x"], ["submit", "-b", "f", "x"], ["work", "f", "cat"], ["status"], ["ping"]]
)
def test_without_a_server_it_is_told_how_to_start_one(gearmand_py: GearmandPy, words: list[str]) -> None:
    port = free_port()
    ended = gearmand_py.at(port).run(*words)
    assert (ended.status, ended.stdout) == (NO_SERVER, b"")
    assert ended.stderr == (
        f"Error: cannot reach 127.0.0.1:{port}: Connection refused. "
        f"Is gearmand-py running there? Start it with: gearmand-py --port {port}\n"
    )


def test_a_submitter_whose_server_is_killed_says_so(client: GearmandPy, server: Server) -> None:
    submitting = client.start("submit", "f", "data")
    with closing(Worker(server.port, b"f")) as worker:
        worker.take()
        server.kill()
    assert submitting.wait() == NO_SERVER
    assert f"127.0.0.1:{server.port} closed the connection" in submitting.stderr


def test_output_that_nobody_reads_any_more_is_nobodys_mistake(
    gearmand_py: GearmandPy, server: Server, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    without_a_reader = ("sh", "-c", f'exec 3<>{tmp_path}/pipe 4>{tmp_path}/pipe 3<&-; exec "$@" >&4', "sh")
    ended = gearmand_py.start("-p", str(server.port), "status", prefix=without_a_reader)
    assert ended.wait() == 128 + signal.SIGPIPE
    assert ended.stderr == ""
