"""Ports for servers that come back on the same one."""

import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import Final

HOST: Final = "127.0.0.1"

# Below the ports that systems give to outgoing connections: a client that retries while its server is down could
# else be given the server's own port, connect to itself, and keep the server from coming back.
PORTS: Final = range(16_000, 32_000)
# Each process of pytest-xdist has ports of its own: what one lets go of, to come back on it, is no port for the others.
SHARES: Final = 8
TRIES: Final = 100


def free_port() -> int:
    """A port that nobody listens on, and that this process has not given for long."""
    for port in islice(own_ports(), TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"found no free port in {PORTS}")


@cache
def own_ports() -> Iterator[int]:
    """Those of this process, again and again in an order that other runs on this machine do not have."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(PORTS[number % SHARES :: SHARES])
    random.SystemRandom().shuffle(ports)
    return cycle(ports)
