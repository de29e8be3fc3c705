"""Bytes to packets, without I/O and without a role: the server, the command line and the tests all read with it.

The contract of `Connection.feed`: give it what arrived, in pieces of any size; it returns every packet and text line
that is now whole, in order, as `(kind, body)`, and keeps the rest. However the bytes are cut, the same packets come
out. Nothing is raised: after bytes that cannot be a packet `error` is set, what came before them has been
returned, and everything after them is ignored (the stream has lost its frame).
"""

from io import BytesIO
from typing import Final

from gearmand_py.server.errors import ProtocolError
from gearmand_py.server.packets import HEADER, HIGHEST, REQUEST, RESPONSE, TEXT, WRONG_MAGIC

Packet = tuple[int, bytes]

# Text commands are a few words; a function name of 512 bytes and three numbers fit many times over. Without a limit a
# peer that never sends a newline would fill the memory.
MAX_LINE: Final = 8192
DEFAULT_MAX_PACKET: Final = 64 * 1024 * 1024

HEADER_SIZE: Final = HEADER.size

TLS_RECORD: Final = 0x16  # what a TLS client sends first; no command begins so
TLS_HERE: Final = "This port does not speak TLS"


class Connection:
    """One direction of one connection: the bytes a peer sends.

    `expected` is the magic that peer should use: REQUEST for a server reading its clients, RESPONSE for a client
    reading its server. A packet with the other one is returned as WRONG_MAGIC: the frame is intact.
    """

    __slots__ = ("_body", "_expected", "_head", "_max_packet", "bodies", "error", "kind", "missing")

    def __init__(self, expected: int, max_packet: int = DEFAULT_MAX_PACKET) -> None:
        self._expected = expected
        self._max_packet = max_packet
        self._head = b""  # the start of a header or of a text line
        self.kind = 0  # the packet whose body is being collected
        # Grows in place, by what is there and not by what a header claims, and gives its bytes away without a copy.
        # `tail + data` would be quadratic, and joining pieces stops the server for 40 ms at 64 MiB.
        self._body = BytesIO()
        self.missing = 0  # how many bytes of the body are still to come
        self.bodies = 0  # how many that came in pieces are whole
        self.error: ProtocolError | None = None

    def feed(self, data: bytes) -> list[Packet]:
        """The packets and lines that are whole now that `data` has arrived."""
        packets: list[Packet] = []
        at = 0
        if self.missing:
            at = self._continue_body(data, packets)
        elif self._head:
            data = self._head + data
            self._head = b""
        end = len(data)
        expected, max_packet, unpack = self._expected, self._max_packet, HEADER.unpack_from
        while at < end and self.error is None:
            if data[at]:
                at = self._line(data, at, packets)
                continue
            if end - at < HEADER_SIZE:
                self._keep_head(data, at)
                break
            magic, kind, size = unpack(data, at)
            if magic != expected or size > max_packet or not 0 < kind <= HIGHEST:
                kind = self._unusual(magic, kind, size)
                if self.error:
                    break
            at += HEADER_SIZE
            stop = at + size
            if stop > end:
                self.kind, self.missing = kind, stop - end
                self._body.write(memoryview(data)[at:])
                break
            packets.append((kind, data[at:stop]))
            at = stop
        return packets

    def _continue_body(self, data: bytes, packets: list[Packet]) -> int:
        """Add to the body begun earlier; returns where in `data` the next packet starts."""
        used = min(self.missing, len(data))
        self._body.write(memoryview(data)[:used])
        self.missing -= used
        if not self.missing:
            packets.append((self.kind, self._body.getvalue()))
            self._body = BytesIO()
            self.bodies += 1
        return used

    def _keep_head(self, data: bytes, at: int) -> None:
        head = data[at:]
        if REQUEST_START.startswith(head[:4]) or RESPONSE_START.startswith(head[:4]):
            self._head = head
        else:
            self._fail_magic()

    def _unusual(self, magic: int, kind: int, size: int) -> int:
        """What to make of a header that is not an ordinary packet of the peer; sets `error` if it breaks the frame."""
        if magic not in (REQUEST, RESPONSE):
            self._fail_magic()
        elif size > self._max_packet:
            self._fail("ARGUMENT_TOO_LARGE", f"Packet of {size} bytes is over the limit of {self._max_packet}")
        elif not 0 < kind <= HIGHEST:
            self._fail("INVALID_COMMAND", f"Packet type {kind} does not exist")
        return kind if magic == self._expected else WRONG_MAGIC

    def _line(self, data: bytes, at: int, packets: list[Packet]) -> int:
        """Take a text line that starts at `at`; returns where the next thing starts."""
        if data[at] == TLS_RECORD:
            self._fail("INVALID_MAGIC", TLS_HERE)
            return len(data)
        newline = data.find(b"\n", at, at + MAX_LINE)
        if newline < 0:
            if len(data) - at >= MAX_LINE:
                self._fail("ARGUMENT_TOO_LARGE", f"Text line is over the limit of {MAX_LINE} bytes")
            else:
                self._head = data[at:]
            return len(data)
        packets.append((TEXT, data[at:newline].removesuffix(b"\r")))
        return newline + 1

    def _fail_magic(self) -> None:
        self._fail("INVALID_MAGIC", f"{'Request' if self._expected == REQUEST else 'Response'} magic expected")

    def _fail(self, code: str, text: str) -> None:
        self.error = ProtocolError(code, text)


REQUEST_START: Final = b"\0REQ"
RESPONSE_START: Final = b"\0RES"
