"""`gearmand-py cancel`: jobs out of the queue."""

import sys

import click

from gearmand_py.server.client import Address, Client, ServerError
from gearmand_py.server.commands.shared import FAILED, ClientCommand, connect, say, server_option


def handle_words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Handles as they stand in a line of the text protocol."""
    for handle in value:
        if handle.split() != [handle]:
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
