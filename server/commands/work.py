"""`gearmand-py work`: a worker that runs a command for each job."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Final, NamedTuple

import click

from gearmand_py.server import packets
from gearmand_py.server.client import (
    DEFAULT_TIMEOUT,
    Address,
    BadAnswer,
    Client,
    ClientError,
    ConnectionLost,
    ServerError,
    ServerUnreachable,
    readable,
)
from gearmand_py.server.codec import Packet
from gearmand_py.server.commands.shared import (
    EXIT_STATUS,
    SUCCESS,
    ClientCommand,
    connect,
    function_bytes,
    note,
    server_option,
)
from gearmand_py.server.runner import BY_SIGNAL

NOT_EXECUTABLE: Final = 126  # the shell's own, for a command that cannot be run
NOT_FOUND: Final = 127  # the shell's own, for a command that does not exist
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


class NotExecutable(click.ClickException):
    """The command is there, but the system does not run it."""

    exit_code = NOT_EXECUTABLE


class NotFound(click.ClickException):
    """There is no such command."""

    exit_code = NOT_FOUND


class Job(NamedTuple):
    """What JOB_ASSIGN_UNIQ carries."""

    handle: bytes
    function: bytes
    unique: bytes
    data: bytes

    @property
    def environment(self) -> dict[bytes, bytes]:
        """What the command learns about its job."""
        about = {b"GEARMAN_HANDLE": self.handle, b"GEARMAN_FUNCTION": self.function, b"GEARMAN_UNIQUE": self.unique}
        return {**os.environb, **about}


class Worker:
    """Runs a command for each job of one function, and outlives the connections to its server."""

    def __init__(self, server: Address, function: bytes, command: Sequence[str], count: int | None) -> None:
        self._server = server
        self._function = function
        self._command = command
        self._left = count  # None: without end
        self._job: Job | None = None  # in hand: assigned, and not known to be reported
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._abandoned = 0  # the signal that said not to wait for the job in hand
        self._answered = False  # has this server ever answered?
        self._pause = 0.0  # above 0 while the connection is lost: how long to wait before the next attempt

    def run(self) -> None:
        """Work until the count is reached or a signal ends it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        while not self._is_done():
            try:
                self._serve()
            except (ServerUnreachable, ConnectionLost) as error:
                self._lost(error)

    def _is_done(self) -> bool:
        return self._stopping or self._left == 0

    def _serve(self) -> None:
        with connect(self._server) as client:
            client.send(packets.CAN_DO, self._function)
            while not self._is_done():
                self._job = self._next_job(client)
                self._report(client, self._job, *self._execute(self._job))

    def _next_job(self, client: Client) -> Job:
        while True:
            client.send(packets.GRAB_JOB_UNIQ)
            # A server that never answers is none; one that did is left all the time it needs.
            timeout = None if self._answered else DEFAULT_TIMEOUT
            packet = self._receive(client, packets.JOB_ASSIGN_UNIQ, packets.NO_JOB, timeout=timeout)
            if packet[0] == packets.JOB_ASSIGN_UNIQ:
                return Job(*client.split(packet, 4))
            client.send(packets.PRE_SLEEP)
            self._receive(client, packets.NOOP)

    def _receive(self, client: Client, *kinds: int, timeout: float | None = None) -> Packet:
        """The next packet of one of `kinds`. A NOOP may come at any time: a wake-up can cross our request."""
        while True:
            try:
                packet = client.receive(timeout)
            except ServerError as error:
                self._tolerate(error)
                continue
            self._found()
            if packet[0] in kinds:
                return packet
            if packet[0] != packets.NOOP:
                raise BadAnswer(self._server, f"it sent {packets.name(packet[0])} to a worker that waits")

    def _tolerate(self, error: ServerError) -> None:
        """A job can be cancelled, or run out of time, while the command runs: no reason to stop working."""
        if error.code != "JOB_NOT_FOUND" or not self._job:
            raise error
        note(f"{readable(self._job.handle)}: no longer known to the server (cancelled or timed out), result discarded")

    def _execute(self, job: Job) -> tuple[int, bytes]:
        """Run the command; returns its exit status, negative for a signal, and its output."""
        try:
            # A process group of its own: the Ctrl-C that tells us to stop after this job must not end the job.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=job.environment, process_group=0
            )
        except OSError as error:  # the job is not at fault
            reason = f"cannot run {self._command[0]}: {error.strerror}"
            raise NotExecutable(f"{reason}. Job {readable(job.handle)} goes back to its queue.") from error
        if self._abandoned:
            self._abandon()
        output, _ = self._process.communicate(job.data)
        return self._process.returncode, output

    def _report(self, client: Client, job: Job, status: int, output: bytes) -> None:
        if status:
            note(f"{readable(job.handle)}: {self._command[0]} {status_text(status)}")
            client.send(packets.WORK_FAIL, job.handle)
        else:
            client.send(packets.WORK_COMPLETE, job.handle, output)
        # Nothing answers a report. The echo of what follows it shows that the server has read it: only then is the
        # job out of our hands, and may the connection be closed.
        client.send(packets.ECHO_REQ, job.handle)
        self._receive(client, packets.ECHO_RES)
        self._job = self._process = None
        if self._left:
            self._left -= 1

    def _found(self) -> None:
        if self._pause:
            note(f"connected to {self._server} again")
        self._pause, self._answered = 0.0, True

    def _lost(self, error: ClientError) -> None:
        """Say so once, and wait longer from attempt to attempt."""
        if not self._answered or self._is_done():
            raise error
        if not self._pause:
            in_hand = f" (job {readable(self._job.handle)} goes back to its queue)" if self._job else ""
            note(f"{error}{in_hand}; reconnecting")
        self._job = self._process = None
        self._pause = min(2 * self._pause, LONGEST_PAUSE) or FIRST_PAUSE
        time.sleep(self._pause)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._job:
            sys.exit(SUCCESS)
        if self._stopping:
            self._abandoned = number
            self._abandon()
        else:
            self._stopping = True
            note(
                f"stopping after job {readable(self._job.handle)}; a second signal kills it: it goes back to its queue"
            )

    def _abandon(self) -> None:
        """End without the command. One that is just being started is not known yet: `_execute` then comes here."""
        if self._process:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            sys.exit(BY_SIGNAL + self._abandoned)


def status_text(status: int) -> str:
    """A return code of subprocess in words."""
    if status > 0:
        return f"exited with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
    return f"was killed by signal {-status} ({name})"


def command_words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The words of COMMAND, without the -- before it."""
    command = value[1:] if value[0] == "--" else value
    if not command:
        raise click.BadParameter("it is missing", ctx, parameter)
    if command[0].startswith("-"):
        raise click.UsageError(f"Put the option {command[0]} before FUNCTION: what follows is the command to run.", ctx)
    return command


# Options end at FUNCTION, as with env or xargs, so that those of COMMAND need no care.
@click.command(
    cls=ClientCommand,
    context_settings={"allow_interspersed_args": False},
    epilog=f"{EXIT_STATUS} {NOT_EXECUTABLE} and {NOT_FOUND}: COMMAND cannot be run.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="Stop after N jobs.  [default: never]")
@server_option
@click.argument("function", callback=function_bytes)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=command_words)
def work(function: bytes, command: tuple[str, ...], count: int | None, server: Address) -> None:
    """Run COMMAND for each job of FUNCTION.

    COMMAND reads what was submitted on its standard input; what it prints is the result. When it exits with another
    status than 0 the job has failed. GEARMAN_HANDLE, GEARMAN_FUNCTION and GEARMAN_UNIQUE are in its environment.

    \b
    gearmand-py work reverse -- rev
    gearmand-py work resize -- convert - -resize 200x200 jpg:-
    gearmand-py work --count 1 mail -- sh -c 'sendmail -t'

    SIGINT (Ctrl-C) and SIGTERM let a job in hand finish, then end with status 0. A second one kills COMMAND, and the
    job goes back to its queue. Lost connections are made again; only when the first fails is the status 3.
    """  # noqa: D301 (the backspace character is click's mark for lines to leave alone)
    if not shutil.which(command[0]):  # better no worker than one that fails every job for a typing error
        raise NotFound(f"{command[0]}: command not found, or not executable. Check its spelling and PATH.")
    Worker(server, function, command, count).run()
