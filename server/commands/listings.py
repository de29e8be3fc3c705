"""`gearmand-py status`, `workers` and `jobs`: the listings of the text protocol, for people and for programs."""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import click

from gearmand_py.server.client import Address, BadAnswer, Client, ClientError, ServerError, readable
from gearmand_py.server.commands.shared import ClientCommand, connect, printable, say, server_option, write

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
        note = not_ready(client) if listing is STATUS and style is None else ""
    if style == "raw":
        write(b"".join(line + b"\n" for line in lines))
        return
    rows = parse_rows(listing, lines, server)
    if style == "json":
        say(json.dumps(rows, indent=2))
    else:
        say("\n".join(table(listing.columns, rows)))
        if note:
            click.echo(f"these numbers grow: {note}", err=True)


def not_ready(client: Client) -> str:
    """What a server says that is still taking up the jobs from before its start; nothing from one that is ready."""
    try:
        client.text("ready")
    except ServerError as error:
        return error.text if error.code == "NOT_READY" else ""  # gearmand does not know the command
    except ClientError:
        return ""  # what was asked for was answered
    return ""


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
