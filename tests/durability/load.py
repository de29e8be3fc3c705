"""A load of all that the order of commit and answer matters for, and what of it left the server, from a trace."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from gearmand_py.server.ids import id_of
from tests.harness.strace import WRITES, Call
from tests.load import Link, Load, Record, sequence_of

NOW: Final = b"now"  # worked on under load
LATER: Final = b"later"  # waits
SHOWN: Final = b"shown"  # in the foreground
GONE: Final = b"gone"  # cancelled


class Mixed(Record):
    """A record of one server's time. `submitted`: the first sequence number."""

    def __init__(self, submitted: int = 0) -> None:
        super().__init__()
        self.submitted = submitted
        self.results = 0
        self.cancelled = 0
        self.foreground: set[int] = set()  # ports of clients with such jobs only
        self.cancelling: set[int] = set()  # ports of clients that cancel all their jobs


class Foreground(Link):
    """A client that waits for the result of each job."""

    record: Mixed

    def start(self) -> None:
        self.record.foreground.add(self.socket.getsockname()[1])
        self._submit()

    def _submit(self) -> None:
        self.out += packets.request(packets.SUBMIT_JOB, SHOWN, b"", b"")

    def handle(self, kind: int, body: bytes) -> None:
        if kind != packets.JOB_CREATED:
            assert kind == packets.WORK_COMPLETE, packets.name(kind)
            self.record.results += 1
            self._submit()


class Helper(Link):
    """A worker for the jobs of these."""

    def start(self) -> None:
        self.out += packets.request(packets.CAN_DO, SHOWN) + packets.request(packets.GRAB_JOB)

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.JOB_ASSIGN:
            self.out += packets.request(packets.WORK_COMPLETE, body.split(b"\0", 1)[0], b"result")
        self.out += packets.request(packets.PRE_SLEEP if kind == packets.NO_JOB else packets.GRAB_JOB)


class Canceller(Link):
    """A client that takes each job back once it is acknowledged."""

    record: Mixed

    def start(self) -> None:
        self.record.cancelling.add(self.socket.getsockname()[1])
        self._submit()

    def _submit(self) -> None:
        self.out += packets.request(packets.SUBMIT_JOB_BG, GONE, b"", b"")

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.JOB_CREATED:
            self.out += b"cancel job " + body + b"\n"
        else:
            assert (kind, body) == (packets.TEXT, b"OK"), body
            self.record.cancelled += 1
            self._submit()


# As strace writes it: the server's end, and that of its peer.
CONNECTION: Final = re.compile(r"TCP:\[127\.0\.0\.1:\d+->127\.0\.0\.1:(\d+)\]")
OTHERS: Final[Sequence[type[Link]]] = (Foreground, Foreground, Helper, Canceller, Canceller)


def load_on(port: int, record: Mixed) -> Load:
    """8 submitters with 64 jobs in flight each, 10 workers, and those above."""
    return Load(port, record, submitted=(NOW, LATER), worked=(NOW,), others=OTHERS)


class Said(NamedTuple):
    """What left the server about a background job."""

    what: int  # JOB_CREATED, JOB_ASSIGN, or TEXT for the OK of a cancel
    id: int
    line: int  # of the trace, where the call began that completed it
    port: int  # of the client or worker
    sequence: int = -1  # that a job carries, where it was handed out


def said(calls: Sequence[Call], record: Mixed) -> Iterator[Said]:
    """All that left the server, in order."""
    outputs: defaultdict[int, Connection] = defaultdict(lambda: Connection(packets.RESPONSE))
    last: dict[int, int] = {}
    for call in calls:
        found = CONNECTION.fullmatch(call.file)
        if call.name not in WRITES or not found:
            continue
        port = int(found[1])
        for kind, body in outputs[port].feed(call.data):
            handle, _, rest = body.partition(b"\0")
            if kind == packets.JOB_CREATED and port not in record.foreground:
                last[port] = id_of(handle) or 0
                yield Said(kind, last[port], call.began, port)
            elif kind == packets.TEXT:
                yield Said(kind, last[port], call.began, port)
            elif kind == packets.JOB_ASSIGN and not rest.startswith(SHOWN):
                yield Said(kind, id_of(handle) or 0, call.began, port, sequence_of(rest.partition(b"\0")[2]))
