"""Load on a server that may be killed at any moment: submitters with jobs in flight, workers, and a record of it all.

Every job carries its sequence number, so that afterwards acknowledged and executed jobs can be compared. A `Record`
goes on over any number of loads, as the queue does over any number of restarts. One thread does all the talking: its
record is consistent in itself, and what it saw before is before what it sent after.
"""

import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from struct import Struct
from threading import Condition, Thread
from time import monotonic
from typing import Final, NamedTuple

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from gearmand_py.server.codec import Connection
from gearmand_py.server.ids import id_of

HOST: Final = "127.0.0.1"
READ_SIZE: Final = 256 * 1024
DEADLINE: Final = 120.0  # to fail with a message; nothing here takes that long
GRABS: Final = 32  # asked for at once when a queue is drained

SUBMITS: Final = (packets.SUBMIT_JOB_HIGH_BG, packets.SUBMIT_JOB_BG, packets.SUBMIT_JOB_LOW_BG)  # by priority
PAYLOAD: Final = Struct("<Q92x")


def priority_of(sequence: int) -> int:
    """Priorities take turns: 0 high, 1 normal, 2 low."""
    return sequence % len(SUBMITS)


class Execution(NamedTuple):
    """A job as a worker got it."""

    id: int
    sequence: int


class Record:
    """What happened to the jobs, over all loads, in this process's order of events."""

    def __init__(self) -> None:
        self.submitted = 0  # the next sequence number
        self.acknowledged: set[int] = set()
        self.refused: dict[int, bytes] = {}  # and why
        self.executed: Counter[int] = Counter()  # how often each
        self.anomalies: list[str] = []
        self._events = 0
        self._sent_at: dict[int, int] = {}  # since the last restart
        self._completed_at: dict[int, int] = {}  # completions that the server has read, since the last restart
        self._handed_out: set[int] = set()  # since the last restart
        self._gone: set[int] = set()  # completed, and that on disk

    def submit(self) -> int:
        """Take the next sequence number."""
        sequence = self.submitted
        self.submitted += 1
        self._sent_at[sequence] = self._now()
        return sequence

    def acknowledge(self, sequence: int) -> None:
        """JOB_CREATED came."""
        self.acknowledged.add(sequence)

    def refuse(self, sequence: int, error: bytes) -> None:
        """ERROR came."""
        self.refused[sequence] = error

    def hand_out(self, sequence: int) -> None:
        """A worker got the job."""
        if sequence in self._handed_out:
            self.anomalies.append(f"job {sequence} was handed out twice without a restart")
        if sequence in self._gone:
            self.anomalies.append(f"job {sequence} came back although its completion was on disk")
        self._handed_out.add(sequence)

    def execute(self, sequence: int) -> None:
        """A worker did the job."""
        self.executed[sequence] += 1

    def complete(self, sequence: int) -> None:
        """The server has read the worker's WORK_COMPLETE: it answered what was sent after it."""
        self._completed_at[sequence] = self._now()

    def restart(self) -> None:
        """The server was killed, and what it only knew in memory is gone.

        A completion that was read before a job was sent is committed with that job or before it; so where that job
        was acknowledged, the completed one must not come back.
        """
        acknowledged_from = max((at for job, at in self._sent_at.items() if job in self.acknowledged), default=0)
        self._gone.update(job for job, at in self._completed_at.items() if at < acknowledged_from)
        self._sent_at.clear()
        self._completed_at.clear()
        self._handed_out.clear()

    @property
    def lost(self) -> set[int]:
        """Acknowledged and never done."""
        return self.acknowledged - self.executed.keys()

    def _now(self) -> int:
        self._events += 1
        return self._events


class Link:
    """A connection that does not block; a subclass says what to do with packets."""

    def __init__(self, connected: socket.socket, record: Record) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.record = record
        self.out = bytearray()
        self._codec = Connection(packets.RESPONSE)

    def start(self) -> None:
        """The first requests."""

    def handle(self, kind: int, body: bytes) -> None:
        """One packet from the server."""

    def read(self) -> bool:
        """Handle what has come; False when the connection is gone."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        for kind, body in self._codec.feed(data):
            self.handle(kind, body)
        if self._codec.error:
            self.record.anomalies.append(f"the server sent what is not Gearman: {self._codec.error}")
        return bool(data) and self._codec.error is None

    def write(self) -> bool:
        """Send what can be sent; False when the connection is gone."""
        try:
            del self.out[: self.socket.send(self.out)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Submitter(Link):
    """Keeps `window` background jobs in flight, of its functions in turn and all priorities."""

    def __init__(self, connected: socket.socket, record: Record, functions: Sequence[bytes], window: int) -> None:
        super().__init__(connected, record)
        self._functions = functions
        self._window = window
        self._in_flight: deque[int] = deque()
        self._last_id = 0

    def start(self) -> None:
        while len(self._in_flight) < self._window:
            sequence = self.record.submit()
            function = self._functions[sequence // len(SUBMITS) % len(self._functions)]
            unique = b"unique %d" % sequence
            kind = SUBMITS[priority_of(sequence)]
            self.out += packets.request(kind, function, unique, PAYLOAD.pack(sequence))
            self._in_flight.append(sequence)

    def handle(self, kind: int, body: bytes) -> None:
        sequence = self._in_flight.popleft()
        if kind == packets.JOB_CREATED:
            self.record.acknowledge(sequence)
            self._check_order(id_of(body) or 0)
        elif kind == packets.ERROR:
            self.record.refuse(sequence, body)
        else:
            self.record.anomalies.append(f"a submitter was sent {packets.name(kind)}")
        self.start()

    def _check_order(self, id_: int) -> None:
        if id_ <= self._last_id:
            self.record.anomalies.append(f"id {id_} was given after {self._last_id} on one connection")
        self._last_id = id_


class Worker(Link):
    """Does jobs of its functions, each at once; an idle one takes a job and never ends it."""

    def __init__(self, connected: socket.socket, record: Record, functions: Sequence[bytes], *, idle: bool) -> None:
        super().__init__(connected, record)
        self._functions = functions
        self._idle = idle
        self._completed: int | None = None  # the job completed last, until the server answers the grab sent behind it

    def start(self) -> None:
        for function in self._functions:
            self.out += packets.request(packets.CAN_DO, function)
        self.out += packets.request(packets.GRAB_JOB)

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.NOOP:
            self.out += packets.request(packets.GRAB_JOB)
            return
        if self._completed is not None:
            self.record.complete(self._completed)
            self._completed = None
        if kind == packets.NO_JOB:
            self.out += packets.request(packets.PRE_SLEEP)
        elif kind == packets.JOB_ASSIGN:
            self._run(body)
        else:
            self.record.anomalies.append(f"a worker was sent {packets.name(kind)}")

    def _run(self, body: bytes) -> None:
        handle, _, payload = body.split(b"\0", 2)
        sequence = sequence_of(payload)
        self.record.hand_out(sequence)
        if self._idle:
            return
        self.record.execute(sequence)
        self._completed = sequence
        self.out += packets.request(packets.WORK_COMPLETE, handle, b"") + packets.request(packets.GRAB_JOB)


def sequence_of(payload: bytes) -> int:
    """The number that a job carries."""
    sequence: int = PAYLOAD.unpack_from(payload.ljust(PAYLOAD.size, b"\0"))[0]
    return sequence


class Load:
    """A number of connections to a server, served by a thread of their own until all are gone or `stop` is called.

    `submitted` are the functions of the jobs, `worked` those that the workers can do: what is not among these waits.
    `idlers` are workers that take a job and never end it: it must come back after a restart. `others` are links that
    a test has besides.
    """

    def __init__(
        self,
        port: int,
        record: Record,
        *,
        submitted: Sequence[bytes],
        worked: Sequence[bytes],
        submitters: int = 8,
        window: int = 64,
        workers: int = 8,
        idlers: int = 2,
        others: Sequence[Callable[[socket.socket, Record], Link]] = (),
    ) -> None:
        self.record = record
        self._selector = DefaultSelector()
        for number in range(workers + idlers):
            self._add(Worker(connect(port), record, worked, idle=number < idlers))
        for _ in range(submitters):
            self._add(Submitter(connect(port), record, submitted, window))
        for other in others:
            self._add(other(connect(port), record))
        self._stopping = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="load")
        self._thread.start()

    def _add(self, link: Link) -> None:
        self._selector.register(link.socket, EVENT_READ, link)
        link.start()

    def _run(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._attend(key.data, 0)
        while self._selector.get_map() and not self._stopping:
            for key, events in self._selector.select(0.1):
                self._attend(key.data, events)
            with self._changed:
                self._changed.notify_all()
        for key in list(self._selector.get_map().values()):
            self._drop(key.data)
        self._selector.close()

    def _attend(self, link: Link, events: int) -> None:
        if (events & EVENT_READ and not link.read()) or (link.out and not link.write()):
            self._drop(link)
            return
        self._selector.modify(link.socket, EVENT_READ | (EVENT_WRITE if link.out else 0), link)

    def _drop(self, link: Link) -> None:
        self._selector.unregister(link.socket)
        link.socket.close()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until this holds for the record; it is looked at whenever that may have changed."""
        with self._changed:
            holds = self._changed.wait_for(condition, DEADLINE)
        record = self.record
        assert holds, (
            f"not within {DEADLINE} s; jobs acknowledged: {len(record.acknowledged)}, refused: {len(record.refused)}, "
            f"executed: {len(record.executed)}"
        )

    def goes_on_for(self, seconds: float) -> bool:
        """Whether, after that time, there still are connections."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close the connections, if the server did not, and wait for the end."""
        self._stopping = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def connect(port: int) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection((HOST, port), DEADLINE)


def jobs_of(client: Client, function: bytes) -> int:
    """How many jobs of a function the server knows."""
    totals = {name: int(total) for name, total, _, _ in (line.split(b"\t") for line in client.text("status", DEADLINE))}
    return totals.get(function, 0)


def drain(port: int, record: Record, function: bytes) -> list[Execution]:
    """Run all jobs of a function that the server knows; returns them in the order in which they were handed out."""
    done: list[Execution] = []
    until = monotonic() + DEADLINE * 4
    with Client.connect(HOST, port) as client:
        while jobs_of(client, function):  # a row that is slow to be read is told as no job
            assert monotonic() < until, f"still jobs after {len(done)}"
            done += drain_some(port, record, function, until)
    return done


def drain_some(port: int, record: Record, function: bytes, until: float) -> list[Execution]:
    """The same on one connection, until it is told that there is none."""
    done: list[Execution] = []
    with Client.connect(HOST, port) as worker:
        worker.send(packets.CAN_DO, function)
        for _ in range(GRABS):
            worker.send(packets.GRAB_JOB)
        while (packet := worker.receive(DEADLINE))[0] == packets.JOB_ASSIGN:
            handle, _, payload = worker.split(packet, 3)
            sequence = sequence_of(payload)
            record.hand_out(sequence)
            record.execute(sequence)
            done.append(Execution(id_of(handle) or 0, sequence))
            worker.send(packets.WORK_COMPLETE, handle, b"")
            worker.send(packets.GRAB_JOB)
            assert monotonic() < until, f"still jobs after {len(done)}"
        worker.send(packets.ECHO_REQ, b"")
        while packet[0] != packets.ECHO_RES:  # by then the server has read every completion
            packet = worker.receive(DEADLINE)
    return done
