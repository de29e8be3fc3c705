"""The codec: bytes to packets."""

from typing import Final

import pytest

from benchmarks.conftest import Measure
from gearmand_py.server import packets
from gearmand_py.server.codec import Connection

READ: Final = 256 * 1024  # what a socket gives at once
SMALL: Final = packets.request(packets.SUBMIT_JOB_BG, b"resize", b"0" * 32, b"x" * 100)
LARGE: Final = packets.request(packets.SUBMIT_JOB_BG, b"resize", b"0" * 32, b"x" * (8 << 20))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    ("packet", "count", "size"),
    [
        pytest.param(SMALL, 1000, READ, id="small packets, whole reads"),
        pytest.param(SMALL, 1000, 1448, id="small packets, a segment at a time"),
        pytest.param(SMALL, 100, 1, id="small packets, a byte at a time"),
        pytest.param(LARGE, 4, READ, id="packets of 8 MiB, whole reads"),
    ],
)
def test_feed(measure: Measure, packet: bytes, count: int, size: int) -> None:
    arriving = pieces(packet * count, size)

    def feed(codec: Connection) -> None:
        found = sum(len(codec.feed(piece)) for piece in arriving)
        assert found == count

    measure(count, lambda: (Connection(packets.REQUEST),), feed)
