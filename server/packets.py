"""The packets of the Gearman protocol: their numbers, names, arguments, and how one is built.

A packet is a 12-byte header (magic, type, size of the body, each 4 bytes big-endian) and a body. Arguments in the
body are separated by NUL; the last one runs to the end of the body. Types are plain ints on the hot path (an enum
member costs three times as much to look at); `name()` gives the pretty form for errors, logs and tests.
"""

from struct import Struct
from typing import Final

from gearmand_py.storage.base import Payload

REQUEST: Final = int.from_bytes(b"\0REQ", "big")
RESPONSE: Final = int.from_bytes(b"\0RES", "big")
HEADER: Final = Struct(">III")

# Payloads from this size on are not copied to put something before them or to cut it off: above, a copy of a payload
# costs more than the care. 64 MiB take 20 to 40 ms.
LARGE: Final = 128 * 1024

CAN_DO: Final = 1
CANT_DO: Final = 2
RESET_ABILITIES: Final = 3
PRE_SLEEP: Final = 4
NOOP: Final = 6
SUBMIT_JOB: Final = 7
JOB_CREATED: Final = 8
GRAB_JOB: Final = 9
NO_JOB: Final = 10
JOB_ASSIGN: Final = 11
WORK_STATUS: Final = 12
WORK_COMPLETE: Final = 13
WORK_FAIL: Final = 14
GET_STATUS: Final = 15
ECHO_REQ: Final = 16
ECHO_RES: Final = 17
SUBMIT_JOB_BG: Final = 18
ERROR: Final = 19
STATUS_RES: Final = 20
SUBMIT_JOB_HIGH: Final = 21
SET_CLIENT_ID: Final = 22
CAN_DO_TIMEOUT: Final = 23
ALL_YOURS: Final = 24
WORK_EXCEPTION: Final = 25
OPTION_REQ: Final = 26
OPTION_RES: Final = 27
WORK_DATA: Final = 28
WORK_WARNING: Final = 29
GRAB_JOB_UNIQ: Final = 30
JOB_ASSIGN_UNIQ: Final = 31
SUBMIT_JOB_HIGH_BG: Final = 32
SUBMIT_JOB_LOW: Final = 33
SUBMIT_JOB_LOW_BG: Final = 34
SUBMIT_JOB_SCHED: Final = 35
SUBMIT_JOB_EPOCH: Final = 36
SUBMIT_REDUCE_JOB: Final = 37
SUBMIT_REDUCE_JOB_BACKGROUND: Final = 38
GRAB_JOB_ALL: Final = 39
JOB_ASSIGN_ALL: Final = 40
GET_STATUS_UNIQUE: Final = 41
STATUS_RES_UNIQUE: Final = 42

# Two things a reader of bytes meets beside packets of its peer's magic.
TEXT: Final = -1  # a line of the text protocol; its body is the line without its end
WRONG_MAGIC: Final = -2  # a packet that carries the magic of the other direction

NAMES: Final[dict[int, str]] = {
    number: word for word, number in list(globals().items()) if isinstance(number, int) and 0 < number < 100
}
HIGHEST: Final = max(NAMES)


def name(kind: int) -> str:
    """The protocol's name of a packet type, or its number when it has none."""
    return NAMES.get(kind, str(kind))


def pack(magic: int, kind: int, body: bytes = b"") -> bytes:
    """A whole packet around a ready body."""
    return HEADER.pack(magic, kind, len(body)) + body


def request(kind: int, *arguments: bytes) -> bytes:
    """A packet to a server."""
    return pack(REQUEST, kind, b"\0".join(arguments))


def response(kind: int, *arguments: Payload) -> bytes:
    """A packet from a server."""
    return pack(RESPONSE, kind, b"\0".join(arguments))


def around(kind: int, body: bytes) -> tuple[bytes, ...]:
    """A packet from a server around a ready body; a large one is a piece of its own."""
    if len(body) < LARGE:
        return (pack(RESPONSE, kind, body),)
    return HEADER.pack(RESPONSE, kind, len(body)), body


def ending_with(data: Payload, kind: int, *arguments: bytes) -> tuple[Payload, ...]:
    """A packet from a server whose last argument is a payload; a large one is a piece of its own."""
    if len(data) < LARGE:
        return (response(kind, *arguments, data),)
    head = b"\0".join((*arguments, b""))
    return HEADER.pack(RESPONSE, kind, len(head) + len(data)) + head, data


def error(code: str, text: str) -> bytes:
    """An ERROR packet. libgearman maps `code` to its return codes, so the codes are a contract."""
    return response(ERROR, code.encode(), text.encode("utf-8", "backslashreplace"))


NOOP_PACKET: Final = response(NOOP)
NO_JOB_PACKET: Final = response(NO_JOB)
