"""`gearmand-py submit`: a job to the server, its result or its handle to standard output."""

import math
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import click

from gearmand_py.server import packets
from gearmand_py.server.client import Address, Client, readable
from gearmand_py.server.commands.shared import (
    ClientCommand,
    Failed,
    argument_bytes,
    connect,
    function_bytes,
    printable,
    server_option,
    write,
)

SUBMIT: Final = {
    ("high", False): packets.SUBMIT_JOB_HIGH,
    ("normal", False): packets.SUBMIT_JOB,
    ("low", False): packets.SUBMIT_JOB_LOW,
    ("high", True): packets.SUBMIT_JOB_HIGH_BG,
    ("normal", True): packets.SUBMIT_JOB_BG,
    ("low", True): packets.SUBMIT_JOB_LOW_BG,
}


# ---- when


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


# ---- the command


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
            submit_background(client, packets.SUBMIT_JOB_EPOCH, function, unique, b"%d" % at, payload)
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
    """Submit, pass on what the worker sends, and raise Failed if the job fails."""
    client.ask(packets.OPTION_REQ, b"exceptions", answer=packets.OPTION_RES)
    client.send(kind, *arguments)
    progress = Progress()
    try:
        while not follow(client, progress):
            pass
    finally:
        progress.clear()


# ---- what comes of a foreground job


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


def progress_text(numerator: bytes, denominator: bytes) -> str:
    """How far a job is, in per cent where the two are numbers; workers may send anything."""
    text = f"{readable(numerator)}/{readable(denominator)}"
    if numerator.isdigit() and denominator.isdigit() and int(denominator):
        return f"{text} ({100 * int(numerator) // int(denominator)}%)"
    return text


def follow(client: Client, progress: Progress) -> bool:
    """Handle the next packet about our job; returns whether it was the last."""
    packet = client.receive()
    kind = packet[0]
    if kind == packets.WORK_STATUS:
        progress.show(*client.split(packet, 3)[1:])
    elif kind == packets.WORK_FAIL:
        raise Failed(f"job {readable(packet[1])} failed")
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
    raise Failed(f"job {readable(handle)} failed with an exception: {readable(data)}")


SHOW: Final[dict[int, Callable[[bytes, bytes], None]]] = {
    packets.WORK_DATA: show_result,
    packets.WORK_COMPLETE: show_result,
    packets.WORK_WARNING: show_warning,
    packets.WORK_EXCEPTION: show_exception,
}
