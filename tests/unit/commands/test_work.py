"""work: the packets a worker sends, the command it runs, signals and lost connections."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gearmand_py.server import packets
from gearmand_py.server.commands.shared import NO_SERVER, SUCCESS
from gearmand_py.server.commands.work import NOT_EXECUTABLE, NOT_FOUND, status_text
from tests.unit.commands.scripted import CLOSE, ScriptedServer, against, gearmand_py


def test_an_exit_status_is_told_in_words() -> None:
    assert status_text(3) == "exited with status 3"
    assert status_text(-9) == "was killed by signal 9 (SIGKILL)"


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """A worker takes the signals of its process, which here is that of all tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def assigned(number: int, data: bytes = b"") -> bytes:
    return packets.response(packets.JOB_ASSIGN_UNIQ, b"H:here:%d" % number, b"f", b"key", data)


def worker_script(*answers: bytes) -> dict[int | bytes, list[bytes]]:
    return {packets.GRAB_JOB_UNIQ: list(answers), packets.ECHO_REQ: 2 * [packets.response(packets.ECHO_RES, b"read")]}


@pytest.mark.usefixtures("restored_signals")
def test_work_gives_the_data_to_the_command_and_its_output_to_the_server() -> None:
    result, server = against(worker_script(assigned(1, b"a\0b")), "work", "-n", "1", "f", "--", "cat")
    assert (result.exit_code, result.stderr) == (SUCCESS, "")
    assert server.bodies(packets.CAN_DO) == [b"f"]
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0a\0b"]


@pytest.mark.usefixtures("restored_signals")
def test_the_command_learns_about_its_job() -> None:
    script = 'printf "$GEARMAN_HANDLE $GEARMAN_FUNCTION $GEARMAN_UNIQUE"'
    _, server = against(worker_script(assigned(1)), "work", "-n", "1", "f", "sh", "-c", script)
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0H:here:1 f key"]


@pytest.mark.usefixtures("restored_signals")
def test_a_command_that_fails_fails_the_job_and_the_worker_goes_on() -> None:
    script = worker_script(assigned(1), assigned(2))
    result, server = against(script, "work", "-n", "2", "f", "sh", "-c", "kill -9 $$")
    assert server.bodies(packets.WORK_FAIL) == [b"H:here:1", b"H:here:2"]
    assert result.stderr.splitlines()[0] == "H:here:1: sh was killed by signal 9 (SIGKILL)"
    assert result.exit_code == SUCCESS


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_without_a_job_sleeps_until_it_is_woken() -> None:
    script = worker_script(packets.NO_JOB_PACKET, packets.NOOP_PACKET + assigned(1))  # a late NOOP is passed over
    script[packets.PRE_SLEEP] = [packets.NOOP_PACKET]
    _, server = against(script, "work", "-n", "1", "f", "cat")
    kinds = [kind for kind, _ in server.requests]
    asleep = [packets.GRAB_JOB_UNIQ, packets.PRE_SLEEP]
    assert kinds == [packets.CAN_DO, *asleep, packets.GRAB_JOB_UNIQ, packets.WORK_COMPLETE, packets.ECHO_REQ]


@pytest.mark.usefixtures("restored_signals")
def test_a_job_that_was_cancelled_meanwhile_does_not_stop_the_worker() -> None:
    script = worker_script(assigned(1), assigned(2))
    script[packets.WORK_COMPLETE] = [packets.error("JOB_NOT_FOUND", "Job given in work result not found")]
    result, server = against(script, "work", "-n", "2", "f", "cat")
    assert (result.exit_code, len(server.bodies(packets.WORK_COMPLETE))) == (SUCCESS, 2)
    assert "H:here:1: no longer known to the server" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_outlives_its_connection_and_says_so_once() -> None:
    script = worker_script(packets.NO_JOB_PACKET, CLOSE, CLOSE, assigned(1))
    script[packets.PRE_SLEEP] = [CLOSE]
    result, server = against(script, "work", "-n", "1", "f", "cat")
    lost, again = result.stderr.splitlines()
    assert lost.endswith("closed the connection; reconnecting")
    assert again.endswith("again")
    assert (result.exit_code, len(server.bodies(packets.CAN_DO))) == (SUCCESS, 4)


@pytest.mark.usefixtures("restored_signals")
def test_a_job_counts_once_the_server_has_read_the_report() -> None:
    script = worker_script(assigned(1), assigned(1))
    script[packets.WORK_COMPLETE] = [CLOSE]
    result, server = against(script, "work", "-n", "1", "f", "cat")
    assert server.bodies(packets.WORK_COMPLETE) == 2 * [b"H:here:1\0"]
    assert "(job H:here:1 goes back to its queue); reconnecting" in result.stderr


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_job_in_hand_finish(number: signal.Signals) -> None:
    command = f"kill -{number.value} {os.getpid()}; echo done"
    result, server = against(worker_script(assigned(1), assigned(2)), "work", "f", "sh", "-c", command)
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0done\n"]
    assert "stopping after job H:here:1" in result.stderr
    assert result.exit_code == SUCCESS


def test_a_second_signal_leaves_the_job_to_the_server() -> None:
    # In a process of its own: with other threads about, a second signal may come to one of them.
    program = str(Path(sys.executable).with_name("gearmand-py"))
    with ScriptedServer(worker_script(assigned(1))) as server:
        command = ["work", "f", "--", "sh", "-c", "kill -INT $PPID; kill -TERM $PPID; sleep 300"]
        done = subprocess.run([program, "-p", str(server.port), *command], timeout=60, check=False)
    assert not server.bodies(packets.WORK_COMPLETE) + server.bodies(packets.WORK_FAIL)
    assert done.returncode == 128 + signal.SIGTERM


def test_a_command_that_does_not_exist_takes_no_job() -> None:
    result, server = against({}, "work", "f", "no-such-command-here")
    assert (result.exit_code, server.requests) == (NOT_FOUND, [])
    assert "no-such-command-here: command not found" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_command_that_cannot_be_run_fails_no_job(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF but not really")
    program.chmod(0o755)
    result, server = against(worker_script(assigned(1)), "work", "f", str(program))
    assert (result.exit_code, server.bodies(packets.WORK_FAIL)) == (NOT_EXECUTABLE, [])
    assert "goes back to its queue" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_whose_first_connection_fails_gives_up() -> None:
    result = gearmand_py("-p", "1", "work", "f", "cat")
    assert result.exit_code == NO_SERVER
