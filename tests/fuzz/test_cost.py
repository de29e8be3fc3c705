"""Twice the input costs about twice as much: in steps of the interpreter, and in processor time, where the work is not
in Python's own steps. Never an absolute time: what is compared is of one run.
"""

import sys
import tracemalloc
from collections.abc import Callable, Mapping
from time import process_time
from types import FrameType
from typing import Any, Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from gearmand_py.server.gearmand_options import parse_conninfo
from gearmand_py.server.packets import HEADER, REQUEST, request
from tests.core import Core
from tests.fuzz import targets
from tests.fuzz.targets import bytewise

Work = Callable[[], object]

SOME: Final = 150
MOST_STEPS: Final = 2.5  # of twice the input: 2, and some for what grows in powers of two; of a square 4
MORE: Final = 4
MOST_TIME: Final = 9.0  # of four times the input: 4, and much for a busy machine; of a square 16
TRIES: Final = 5


def fed(*stream: bytes) -> Work:
    """A new core that is fed these, one read each."""
    core = Core()
    peer = core.connect()

    def run() -> None:
        for piece in stream:
            core.feed(peer, piece)
        core.commit()

    return run


def many(count: int, each: Callable[[int], bytes]) -> Work:
    """All in one read."""
    return fed(b"".join(map(each, range(count))))


def left(count: int) -> Work:
    """A connection with this many jobs, functions and clients is lost."""
    core = Core()
    worker, client = core.connect(), core.connect()
    for number in range(count):
        core.send(worker, packets.CAN_DO, b"f%d" % number)
        core.send(client, packets.SUBMIT_JOB, b"f%d" % number, b"", b"")
        core.send(worker, packets.GRAB_JOB)

    def run() -> None:
        core.disconnect(worker)
        core.disconnect(client)

    return run


def woken(count: int) -> Work:
    """This many sleep, and then there are as many jobs."""
    core = Core()
    client = core.connect()
    for _ in range(count):
        core.sleeper(b"f")
    return lambda: core.feed(client, request(packets.SUBMIT_JOB, b"f", b"", b"") * count)


def reading(data: bytes) -> Work:
    """A stream that comes by the byte."""

    def run() -> None:
        codec = Connection(REQUEST)
        for piece in bytewise(data):
            codec.feed(piece)

    return run


def target(name: str, data: bytes) -> Work:
    """A target of the fuzzer."""
    return lambda: targets.TARGETS[name](data)


H: Final = b"H:here:%d"
SHAPES: Final[Mapping[str, Callable[[int], Work]]] = {
    "echoes": lambda n: many(n, lambda i: request(packets.ECHO_REQ, b"%d" % i)),
    "unknown packets": lambda n: many(n, lambda i: request(packets.JOB_CREATED, b"")),
    "foreground jobs": lambda n: many(n, lambda i: request(packets.SUBMIT_JOB, b"f", b"%d" % i, b"d")),
    "background jobs": lambda n: many(n, lambda i: request(packets.SUBMIT_JOB_BG, b"f", b"", b"d")),
    "the same job": lambda n: many(n, lambda i: request(packets.SUBMIT_JOB_BG, b"f", b"k", b"d")),
    "jobs of many functions": lambda n: many(n, lambda i: request(packets.SUBMIT_JOB_BG, b"f%d" % i, b"", b"d")),
    "jobs for later": lambda n: many(n, lambda i: request(packets.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (1 << 31), b"")),
    "abilities": lambda n: many(n, lambda i: request(packets.CAN_DO, b"f%d" % i)),
    "the same ability": lambda n: many(n, lambda i: request(packets.CAN_DO, b"f")),
    "abilities come and go": lambda n: many(
        n, lambda i: request(packets.CAN_DO, b"f%d" % i) + request(packets.CANT_DO, b"f%d" % (i // 2))
    ),
    "abilities reset": lambda n: many(n, lambda i: request(packets.CAN_DO, b"f") + request(packets.RESET_ABILITIES)),
    "grabs": lambda n: many(n, lambda i: request(packets.GRAB_JOB)),
    "a worker of its own jobs": lambda n: many(
        n,
        lambda i: (
            request(packets.CAN_DO, b"f") + request(packets.SUBMIT_JOB, b"f", b"", b"") + request(packets.GRAB_JOB)
        ),
    ),
    "sleeps": lambda n: many(n, lambda i: request(packets.CAN_DO, b"f") + request(packets.PRE_SLEEP)),
    "reports of no job": lambda n: many(n, lambda i: request(packets.WORK_DATA, H % i, b"d")),
    "questions": lambda n: many(n, lambda i: request(packets.GET_STATUS, H % i)),
    "questions by key": lambda n: many(n, lambda i: request(packets.GET_STATUS_UNIQUE, b"%d" % i)),
    "cancels": lambda n: many(n, lambda i: b"cancel job " + H % i + b"\n"),
    "functions by hand": lambda n: many(n, lambda i: b"create function f%d\nmaxqueue f%d 3\n" % (i, i)),
    "versions": lambda n: many(n, lambda i: b"version\n"),
    "empty lines": lambda n: many(n, lambda i: b"\n"),
    "a listing": lambda n: fed(*(b"create function f%d\n" % i for i in range(n)), b"status\n"),
    "a connection lost": left,
    "sleepers woken": woken,
    "a packet by the byte": lambda n: reading(request(packets.ECHO_REQ, b"x" * n)),
    "packets by the byte": lambda n: reading(request(packets.GRAB_JOB) * (n // 12)),
    "settings": lambda n: target("toml", b'listen = [%s"x"]' % (b'"x",' * n)),
    "unknown settings": lambda n: target("toml", b"".join(b"x%d = 1\n" % i for i in range(n))),
    "words": lambda n: target("words", b"port=1 --port 1\n" * n),
    "parameters of a URL": lambda n: target("url", b"postgresql://h/d?" + b"a=b&" * n),
    "libpq's words": lambda n: target("conninfo", b"user=a " * n),
}


def steps(work: Work) -> int:
    """How many steps the interpreter takes."""
    taken = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal taken
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return taken


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_input_takes_twice_the_steps(shape: str) -> None:
    make = SHAPES[shape]
    make(SOME)()  # what is done once only
    assert steps(make(2 * SOME)) < MOST_STEPS * steps(make(SOME))


# Work that is done in one step each: these are long enough to be measured.
TIMED: Final[Mapping[str, Callable[[int], Work]]] = {
    "a large packet in small reads": lambda n: reading(request(packets.ECHO_REQ, b"x" * (30_000 * n))),
    "many packets in one read": lambda n: lambda: Connection(REQUEST).feed(request(packets.GRAB_JOB) * (30_000 * n)),
    "bytes without an end of line": lambda n: lambda: Connection(REQUEST).feed(b"\n" * (30_000 * n)),
    "a long conninfo": lambda n: lambda: parse_conninfo("user=a " * (5_000 * n)),
    "a quoted word": lambda n: lambda: parse_conninfo("user='" + "\\'" * (50_000 * n) + "'"),
}


def seconds(make: Callable[[int], Work], size: int) -> float:
    """The least processor time of some tries."""
    found = []
    for _ in range(TRIES):
        work = make(size)
        began = process_time()
        work()
        found.append(process_time() - began)
    return min(found)


@pytest.mark.parametrize("shape", TIMED)
def test_four_times_the_input_does_not_take_sixteen_times_the_time(shape: str) -> None:
    assert seconds(TIMED[shape], MORE) < MOST_TIME * seconds(TIMED[shape], 1)


def test_the_steps_tell_a_square() -> None:
    def square(count: int) -> Work:
        return lambda: [None for _ in range(count) for _ in range(count)]

    assert steps(square(2 * SOME)) > 1.4 * MOST_STEPS * steps(square(SOME))


def test_a_header_that_claims_much_takes_no_memory() -> None:
    codec = Connection(REQUEST)
    tracemalloc.start()
    try:
        codec.feed(HEADER.pack(REQUEST, packets.ECHO_REQ, 64 * 1024 * 1024) + b"x" * 20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000


@pytest.mark.parametrize("stream", [b"x" * 100_000, request(packets.ECHO_REQ, b"x" * 1_000_000), b"\n" * 1000 + b"y"])
def test_the_codec_keeps_no_more_than_it_was_given(stream: bytes) -> None:
    codec = Connection(REQUEST)
    pieces = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    tracemalloc.start()
    try:
        for piece in pieces:
            codec.feed(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * len(stream) + 20_000
