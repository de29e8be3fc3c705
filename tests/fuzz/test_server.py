"""A real server among peers that send anything, hang up, or do not read: it serves the others, and says nothing of it.

`FUZZ_SEED` repeats a run that failed. A traceback on the server's standard error fails the test (tests/conftest.py).
"""

import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.packets import HEADER, REQUEST
from tests.conftest import StartServer
from tests.fuzz.dictionary import DICTIONARY
from tests.harness.server import HOST, Server
from tests.load import DEADLINE

SEED: Final = os.environ.get("FUZZ_SEED")
PEERS: Final = 150
AT_ONCE: Final = 15
MOST_WORDS: Final = 200
CLAIMED: Final = 60 * 1024 * 1024
MOST_GROWTH: Final = 32 * 1024 * 1024  # bytes, less than one packet that was claimed


def stream(chance: random.Random) -> bytes:
    """Packets, lines, and some bytes that are neither."""
    words = (*DICTIONARY["codec"], *DICTIONARY["text"], *DICTIONARY["core"])
    chosen = chance.choices(words, k=chance.randint(1, MOST_WORDS))
    return b"".join(chance.choice((word, word, word, word + b"\n", chance.randbytes(2))) for word in chosen)


def read_to_the_end(peer: socket.socket) -> None:
    """All answers, until the server hangs up."""
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(65536):
        pass


def reset(peer: socket.socket) -> None:
    """What came is thrown away, and the server told so."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


ENDS: Final[tuple[Callable[[socket.socket], None], ...]] = (read_to_the_end, reset, socket.socket.close)


def serves(server: Server) -> None:
    """A job of a function of its own goes all the way."""
    with server.connect() as worker, server.connect() as client:
        worker.send(packets.CAN_DO, b"of its own")
        handle = client.ask(packets.SUBMIT_JOB, b"of its own", b"", b"data", answer=packets.JOB_CREATED)
        assert worker.ask(packets.GRAB_JOB, answer=packets.JOB_ASSIGN) == handle + b"\0of its own\0data"
        worker.send(packets.WORK_COMPLETE, handle, b"done")
        assert client.receive(DEADLINE) == (packets.WORK_COMPLETE, handle + b"\0done")


@pytest.mark.parametrize("memory", ["1G", "1K"])
def test_a_server_among_peers_that_send_anything(start_server: StartServer, memory: str) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"FUZZ_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    server = start_server("--memory-limit", memory)
    for _ in range(PEERS // AT_ONCE):
        peers = [socket.create_connection((HOST, server.port), DEADLINE) for _ in range(AT_ONCE)]
        for peer in peers:
            with suppress(ConnectionError):  # the server hangs up on some before all is said
                peer.sendall(stream(chance))
        for peer in peers:
            with peer, suppress(ConnectionError):
                chance.choice(ENDS)(peer)
        serves(server)
    assert server.stop() == 0


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_packets_that_are_only_claimed_take_no_memory(server: Server) -> None:
    serves(server)
    before = resident(server.pid)
    peers = [socket.create_connection((HOST, server.port), DEADLINE) for _ in range(PEERS)]
    for peer in peers:
        peer.sendall(HEADER.pack(REQUEST, packets.SUBMIT_JOB_BG, CLAIMED) + b"f\0\0data")
    serves(server)
    assert resident(server.pid) - before < MOST_GROWTH
    for peer in peers:
        peer.close()
