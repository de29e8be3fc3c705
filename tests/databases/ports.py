"""Ports for servers that come back on the same one."""

import random
import socket
from typing import Final

HOST: Final = "127.0.0.1"

# Below the ports that systems give to outgoing connections: a client that retries while its server is down could
# else be given the server's own port, connect to itself, and keep the server from coming back.
PORTS: Final = range(16_000, 32_000)


def free_port() -> int:
    """A port that nobody listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"found no free port in {PORTS}")
