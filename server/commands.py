"""The commands for people who use a server: submit and run jobs, look at the queues, cancel, ping.

Each is a small shell around `Client`. What goes wrong reaches the user as one line that says what happened and what
to do about it; `ClientCommand` is the one place that turns it into an exit status.
"""

import json
import math
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self

import click
from click.core import ParameterSource

from gearmand_py.server import packets
from gearmand_py.server.client import (
    DEFAULT_PORT,
    DEFAULT_TIMEOUT,
    Address,
    BadAnswer,
    Client,
    ClientError,
    ConnectionLost,
    ServerError,
    ServerUnreachable,
    parse_address,
    readable,
)
from gearmand_py.server.codec import Packet

SUCCESS: Final = 0
FAILED: Final = 1  # the job failed, the server refused, or there is no such job
USAGE: Final = 2  # click's own
NO_SERVER: Final = 3  # not reachable, connection lost, or no Gearman server
NOT_EXECUTABLE: Final = 126  # the shell's own, for a command that cannot be run
NOT_FOUND: Final = 127  # the shell's own, for a command that does not exist
BY_SIGNAL: Final = 128  # the shell's own, plus the number of the signal

EXIT_STATUS: Final = (
    f"Exit status: {SUCCESS} success; {FAILED} the job failed, was refused or is not known; {USAGE} wrong usage; "
    f"{NO_SERVER} no server, or the connection was lost."
)


# --- what all commands share ------------------------------------------------------------------------------------


class Failure(Exception):
    """The command cannot go on: what to tell the user, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ClientCommand(click.Command):
    """A command that talks to a server: its errors become one line on stderr and an exit status."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("epilog", EXIT_STATUS)
        super().__init__(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            leave(str(failure), failure.status)
        except ServerError as error:
            leave(str(error), FAILED)
        except ClientError as error:
            leave(str(error), NO_SERVER)
        except BrokenPipeError:  # of our output (the client has its own errors): `... | head` is nobody's mistake
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BY_SIGNAL + signal.SIGPIPE)
        except OSError as error:
            leave(f"cannot read the input or write the output: {error.strerror}", FAILED)
        except KeyboardInterrupt:  # die of it, so that a shell loop around us ends too
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)


def note(message: str) -> None:
    """A line for people, beside the output."""
    click.echo(message, err=True)


def write(data: bytes) -> None:
    """Bytes to standard output, at once."""
    output = sys.stdout.buffer
    rest = memoryview(data)
    while rest:  # with PYTHONUNBUFFERED there is no buffer that would loop over partial writes
        rest = rest[output.write(rest) :]
    output.flush()


def say(text: str) -> None:
    """A line to standard output, also where its encoding lacks a character of some function's name."""
    write(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))


def leave(message: str, status: int) -> NoReturn:
    """End with a message in click's own form."""
    note(f"Error: {message}")
    sys.exit(status)


def connect(server: Address) -> Client:
    """A connection, to be used in a with statement."""
    return Client.connect(server.host, server.port)


def own_address(params: dict[str, Any]) -> Address:
    """Where a server with the options of `gearmand-py` itself would be found from this machine."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    host = params.get("listen") or "127.0.0.1"
    return Address(loopback.get(host, host), params.get("port") or DEFAULT_PORT)


def choose_server(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Address:
    """The server to use: --server; -L and -p before the command; GEARMAN_SERVERS; the default of -L and -p."""
    own = own_address(ctx.parent.params if ctx.parent else {})
    from_environment = ctx.get_parameter_source("server") is ParameterSource.ENVIRONMENT
    if not value or (from_environment and _typed_before_command(ctx)):
        return own
    try:
        return parse_address(value.split(",")[0].strip(), own.port)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


def _typed_before_command(ctx: click.Context) -> bool:
    parent = ctx.parent
    return parent is not None and ParameterSource.COMMANDLINE in map(parent.get_parameter_source, ("listen", "port"))


server_option: Final = click.option(
    "-s",
    "--server",
    metavar="HOST[:PORT]",
    envvar="GEARMAN_SERVERS",
    show_envvar=True,
    callback=choose_server,
    help="The server to talk to. Of a list with commas the first.  [default: the -L and -p of gearmand-py]",
)


def argument_bytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    """A word of the command line as the bytes the user typed."""
    return None if value is None else os.fsencode(value)


def function_bytes(ctx: click.Context, parameter: click.Parameter, value: str) -> bytes:
    """The name of a function."""
    if not value:
        raise click.BadParameter("it is empty; give the name of a function", ctx, parameter)
    return os.fsencode(value)


def printable(text: str) -> str:
    """Text that cannot move the cursor: names come from clients, and a terminal obeys control characters."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


# --- submit -----------------------------------------------------------------------------------------------------

SUBMIT: Final = {
    ("high", False): packets.SUBMIT_JOB_HIGH,
    ("normal", False): packets.SUBMIT_JOB,
    ("low", False): packets.SUBMIT_JOB_LOW,
    ("high", True): packets.SUBMIT_JOB_HIGH_BG,
    ("normal", True): packets.SUBMIT_JOB_BG,
    ("low", True): packets.SUBMIT_JOB_LOW_BG,
}
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LATEST: Final = 253_402_300_799  # the end of the year 9999; more is most likely milliseconds


def parse_when(text: str, now: float) -> int:
    """Epoch seconds of `1767225600`, `+30s`, `+5m`, `+2h`, `+1d` or an ISO 8601 date-time; ValueError otherwise.

    Parts of a second round up: a job never runs before the time that was asked for.
    """
    if delay := re.fullmatch(r"\+([0-9]+)([smhd])", text):
        when = math.ceil(now + int(delay[1]) * SECONDS[delay[2]])
    elif re.fullmatch(r"[0-9]+", text):
        when = int(text)
    else:
        when = _iso_seconds(text)
    if not 0 <= when <= LATEST:
        raise ValueError(f"{text!r} is not between the years 1970 and 9999; epoch times are in seconds")
    return when


def _iso_seconds(text: str) -> int:
    try:
        return math.ceil(datetime.fromisoformat(text).timestamp())  # without a zone: local time
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is no time: give +30s, +5m, +2h, +1d, 2030-01-31T08:00 or epoch seconds") from error


def start_time(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """The value of --at."""
    try:
        return None if value is None else parse_when(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


class Progress:
    """A line on the terminal that is written over and over, and is gone in the end."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._shown = False

    def show(self, numerator: bytes, denominator: bytes) -> None:
        """Show how far the worker says it is."""
        if self._wanted:
            self._shown = True
            click.echo(f"\r\x1b[K{printable(progress_text(numerator, denominator))}", nl=False, err=True)

    def clear(self) -> None:
        """Make room for other output."""
        if self._shown:
            self._shown = False
            click.echo("\r\x1b[K", nl=False, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.clear()


def progress_text(numerator: bytes, denominator: bytes) -> str:
    """How far a job is, in per cent where the two are numbers; workers may send anything."""
    text = f"{readable(numerator)}/{readable(denominator)}"
    if numerator.isdigit() and denominator.isdigit() and int(denominator):
        return f"{text} ({100 * int(numerator) // int(denominator)}%)"
    return text


PRIORITIES: Final = click.Choice(["high", "normal", "low"])
UNIQUE_HELP: Final = "Join a live job of FUNCTION that has this key, instead of making another."
AT_HELP: Final = (
    "Run it in the background at a time: +30s, +5m, +2h, +1d, an ISO 8601 date and time (local unless it has a "
    "zone), or epoch seconds. A time that is past means now."
)


@click.command(cls=ClientCommand)
@click.argument("function", callback=function_bytes)
@click.argument("data", required=False, callback=argument_bytes)
@click.option("-b", "--background", is_flag=True, help="Print the handle of the job and do not wait for its result.")
@click.option("-u", "--unique", default="", metavar="TEXT", callback=argument_bytes, help=UNIQUE_HELP)
@click.option("--priority", type=PRIORITIES, default="normal", show_default=True, help="Which jobs go first.")
@click.option("--at", metavar="WHEN", callback=start_time, help=AT_HELP)
@server_option
def submit(
    function: bytes,
    data: bytes | None,
    background: bool,
    unique: bytes,
    priority: str,
    at: int | None,
    server: Address,
) -> None:
    """Submit a job and print its result.

    DATA is what the worker gets; without it, standard input is read.

    \b
    gearmand-py submit reverse hello
    gearmand-py submit resize < photo.jpg > small.jpg
    gearmand-py submit --background mail 'to: ann'
    gearmand-py submit --at 2030-01-31T08:00 report
    """  # noqa: D301 (the backspace character is click's mark for lines to leave alone)
    if at is not None and priority != "normal":
        raise click.UsageError("--at runs at normal priority: leave out --priority.")
    payload = read_payload() if data is None else data
    with connect(server) as client:
        if at is not None:
            submit_background(client, packets.SUBMIT_JOB_EPOCH, function, unique, str(at).encode(), payload)
        elif background:
            submit_background(client, SUBMIT[priority, True], function, unique, payload)
        else:
            submit_foreground(client, SUBMIT[priority, False], function, unique, payload)


def read_payload() -> bytes:
    """Standard input; nothing when that is a terminal, where a newcomer would wait without knowing for what."""
    return b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()


def submit_background(client: Client, kind: int, *arguments: bytes) -> None:
    """Submit and print the handle. No timeout: a durable server lets its clients wait while its database is down."""
    write(client.ask(kind, *arguments, answer=packets.JOB_CREATED, timeout=None) + b"\n")


def submit_foreground(client: Client, kind: int, *arguments: bytes) -> None:
    """Submit, pass on what the worker sends, and leave with FAILED if the job does."""
    client.ask(packets.OPTION_REQ, b"exceptions", answer=packets.OPTION_RES)
    client.send(kind, *arguments)
    with Progress() as progress:
        while not follow(client, progress):
            pass


def follow(client: Client, progress: Progress) -> bool:
    """Handle the next packet about our job; returns whether it was the last."""
    packet = client.receive()
    kind = packet[0]
    if kind == packets.WORK_STATUS:
        progress.show(*client.split(packet, 3)[1:])
    elif kind == packets.WORK_FAIL:
        raise Failure(f"job {readable(packet[1])} failed", FAILED)
    elif kind in SHOW:
        handle, data = client.split(packet, 2)
        progress.clear()
        SHOW[kind](handle, data)
    return kind == packets.WORK_COMPLETE


def show_result(handle: bytes, data: bytes) -> None:
    """A piece of the result, as it is."""
    write(data)


def show_warning(handle: bytes, data: bytes) -> None:
    """Write a warning on a line of its own."""
    click.echo(data, nl=not data.endswith(b"\n"), err=True)


def show_exception(handle: bytes, data: bytes) -> None:
    """An exception ends the job."""
    raise Failure(f"job {readable(handle)} failed with an exception: {readable(data)}", FAILED)


SHOW: Final[dict[int, Callable[[bytes, bytes], None]]] = {
    packets.WORK_DATA: show_result,
    packets.WORK_COMPLETE: show_result,
    packets.WORK_WARNING: show_warning,
    packets.WORK_EXCEPTION: show_exception,
}


# --- work -------------------------------------------------------------------------------------------------------

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


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
            raise Failure(f"{reason}. Job {readable(job.handle)} goes back to its queue.", NOT_EXECUTABLE) from error
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


class WorkCommand(ClientCommand):
    """Options end at FUNCTION, as with env or xargs, so that those of COMMAND need no care."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings["context_settings"] = {"allow_interspersed_args": False}
        settings["epilog"] = f"{EXIT_STATUS} {NOT_EXECUTABLE} and {NOT_FOUND}: COMMAND cannot be run."
        super().__init__(*args, **settings)


def command_words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The words of COMMAND, without the -- before it."""
    command = value[1:] if value[0] == "--" else value
    if not command:
        raise click.BadParameter("it is missing", ctx, parameter)
    if command[0].startswith("-"):
        raise click.UsageError(f"Put the option {command[0]} before FUNCTION: what follows is the command to run.", ctx)
    return command


@click.command(cls=WorkCommand)
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
    """  # noqa: D301 (as above)
    if not shutil.which(command[0]):  # better no worker than one that fails every job for a typing error
        raise Failure(f"{command[0]}: command not found, or not executable. Check its spelling and PATH.", NOT_FOUND)
    Worker(server, function, command, count).run()


# --- status, workers, jobs ----------------------------------------------------------------------------------------

Value = int | str | list[str] | None
Row = dict[str, Value]


def parse_status(line: bytes) -> Row:
    """A line of `status`."""
    function, *numbers = line.rsplit(b"\t", 3)
    total, running, workers = map(int, numbers)
    waiting = total - running
    return {"function": readable(function), "total": total, "running": running, "waiting": waiting, "workers": workers}


def parse_worker(line: bytes) -> Row:
    """A line of `workers`."""
    file_descriptor, address, rest = readable(line).split(" ", 2)
    name, colon, functions = rest.partition(" :")
    if not colon:
        raise ValueError("no colon before the functions")
    return {
        "fd": int(file_descriptor),
        "address": address,
        "id": None if name == "-" else name,
        "functions": functions.split(),
    }


def parse_job(line: bytes) -> Row:
    """A line of `show jobs`."""
    handle, *numbers = line.split(b"\t")
    retries, ignored, persisted = map(int, numbers)
    return {"handle": readable(handle), "retries": retries, "ignored": ignored, "persisted": persisted}


class Listing(NamedTuple):
    """A listing of the text protocol, and how people and programs see it."""

    command: str
    columns: tuple[str, ...]
    parse: Callable[[bytes], Row]


STATUS: Final = Listing("status", ("function", "total", "running", "waiting", "workers"), parse_status)
WORKERS: Final = Listing("workers", ("fd", "address", "id", "functions"), parse_worker)
JOBS: Final = Listing("show jobs", ("handle", "retries", "ignored", "persisted"), parse_job)


def parse_rows(listing: Listing, lines: Sequence[bytes], server: Address) -> list[Row]:
    """The rows of an answer; BadAnswer when a line does not look like one."""
    rows = []
    for line in lines:
        try:
            rows.append(listing.parse(line))
        except ValueError as error:
            raise BadAnswer(server, f"{line[:60]!r} is no line of {listing.command!r}") from error
    return rows


def cell(value: Value) -> str:
    """A value as people read it."""
    if isinstance(value, list):
        return printable(" ".join(value)) or "-"
    return "-" if value is None else printable(str(value))


def table(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Aligned lines under a heading: numbers to the right, text to the left."""
    lines = [[column.upper() for column in columns], *([cell(row[column]) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [all(isinstance(row[column], int) for row in rows) for column in columns]
    return ["  ".join(map(_align, line, widths, right)).rstrip() for line in lines]


def _align(text: str, width: int, to_the_right: bool) -> str:
    return text.rjust(width) if to_the_right else text.ljust(width)


def show(listing: Listing, style: str | None, server: Address) -> None:
    """Ask for a listing and print it in a style: None is for people."""
    with connect(server) as client:
        lines = client.text(listing.command)
    if style == "raw":
        write(b"".join(line + b"\n" for line in lines))
        return
    rows = parse_rows(listing, lines, server)
    if style == "json":
        say(json.dumps(rows, indent=2))
    else:
        say("\n".join(table(listing.columns, rows)))


def listing_options(command: Callable[..., None]) -> Callable[..., None]:
    """What status, workers and jobs have in common."""
    raw = click.option("--raw", "style", flag_value="raw", help="The lines as the server sends them.")
    return server_option(raw(click.option("--json", "style", flag_value="json", help="JSON, for programs.")(command)))


@click.command(cls=ClientCommand)
@listing_options
def status(style: str | None, server: Address) -> None:
    """Show the functions: their jobs and how many workers offer them.

    With --raw: function, total, running, workers, separated by tabs.
    """
    show(STATUS, style, server)


@click.command(cls=ClientCommand)
@listing_options
def workers(style: str | None, server: Address) -> None:
    """Show the connections: where from, their id, the functions they offer.

    Every connection is listed, this command's own too. With --raw: "FD ADDRESS ID : FUNCTIONS".
    """
    show(WORKERS, style, server)


@click.command(cls=ClientCommand)
@listing_options
def jobs(style: str | None, server: Address) -> None:
    """Show the jobs: handle, failed attempts, whether the result is ignored, whether it is kept in the database.

    With --raw: handle, retries, ignored, persisted, separated by tabs.
    """
    show(JOBS, style, server)


# --- cancel, ping -------------------------------------------------------------------------------------------------


def handle_words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Handles as they stand in a line of the text protocol."""
    for handle in value:
        if len(handle.split()) != 1 or handle.strip() != handle:
            raise click.BadParameter(f"{handle!r} is no handle: see gearmand-py jobs", ctx, parameter)
    return value


@click.command(cls=ClientCommand)
@click.argument("handles", metavar="HANDLE...", nargs=-1, required=True, callback=handle_words)
@server_option
def cancel(handles: tuple[str, ...], server: Address) -> None:
    """Take jobs out of the queue.

    A HANDLE is what "submit --background" prints and "jobs" lists. The status is 1 when one is not known.
    """
    with connect(server) as client:
        known = [cancel_one(client, handle) for handle in handles]
    if not all(known):
        sys.exit(FAILED)


def cancel_one(client: Client, handle: str) -> bool:
    """Cancel a job and print what came of it; returns whether it was known."""
    try:
        client.text(f"cancel job {handle}")
    except ServerError as error:
        if error.code != "UNKNOWN_JOB":
            raise
        say(f"{handle} unknown")
        return False
    say(f"{handle} cancelled")
    return True


@click.command(cls=ClientCommand)
@click.option("-c", "--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How often.")
@server_option
def ping(count: int, server: Address) -> None:
    """Measure the time of a round trip, once a second."""
    with connect(server) as client:
        for number in range(count):
            if number:
                time.sleep(1)
            say(f"pong from {client.peer} in {1000 * round_trip(client):.2f} ms")


def round_trip(client: Client) -> float:
    """Seconds until the server has sent a random payload back."""
    payload = secrets.token_bytes(16)
    start = time.perf_counter()
    if client.ask(packets.ECHO_REQ, payload, answer=packets.ECHO_RES) != payload:
        raise BadAnswer(client.address, "its echo differs from what it was sent")
    return time.perf_counter() - start


COMMANDS: Final[list[click.Command]] = [submit, work, status, workers, jobs, cancel, ping]
