"""`gearmand-py ping`: is the server there, and how fast does it answer?"""

import secrets
import time

import click

from gearmand_py.server import packets
from gearmand_py.server.client import Address, BadAnswer, Client
from gearmand_py.server.commands.shared import ClientCommand, connect, say, server_option


@click.command(cls=ClientCommand)
@click.option("-c", "--count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How often.")
@click.option(
    "--ready",
    is_flag=True,
    help="Fail also while the server is still taking up the jobs stored before its start; it serves meanwhile.",
)
@server_option
def ping(count: int, ready: bool, server: Address) -> None:
    """Measure the time of a round trip, once a second."""
    with connect(server) as client:
        if ready:
            client.text("ready")
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
