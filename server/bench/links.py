"""A client and a worker of a benchmark, on sockets that do not block: fed with packets, they count, answer, go on."""

import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.bench.source import RUN_SIZE, STAMP, Job
from gearmand_py.server.bench.tally import Tally
from gearmand_py.server.client import Address, BadAnswer, ConnectionLost
from gearmand_py.server.codec import Connection, Packet

READ_SIZE: Final = 256 * 1024
MAX_PACKET: Final = 2**32 - 1
END_SECONDS: Final = 5.0
GRAB: Final = packets.request(packets.GRAB_JOB)
SLEEP: Final = packets.request(packets.PRE_SLEEP)


class Link(ABC):
    """A connection; `attend` it when its socket is ready, and look at `blocked` after that."""

    def __init__(self, connected: socket.socket, address: Address, tally: Tally) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.tally = tally
        self._address = address
        self._codec = Connection(packets.RESPONSE, MAX_PACKET)
        self._rest = memoryview(b"")

    @property
    def blocked(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._rest)

    def read(self, now: int) -> None:
        """Handle what has come. Raises ClientError."""
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(error.strerror) from error
        if not data:
            raise self._lost("it closed the connection")
        self.tally.moved += len(data)
        self.handle(self._codec.feed(data), now)
        if self._codec.error:
            raise BadAnswer(self._address, self._codec.error.text)

    @abstractmethod
    def handle(self, arrived: Iterable[Packet], now: int) -> None:
        """Packets from the server; `now` in nanoseconds."""

    def send(self, data: bytes) -> None:
        """Send it once the server takes it. Raises ConnectionLost."""
        if self._rest:
            self._rest = memoryview(b"".join((self._rest, data)))
        elif data:
            self._rest = memoryview(data)
            self.write()

    def write(self) -> None:
        """Send what the server takes now. Raises ConnectionLost."""
        try:
            sent = self.socket.send(self._rest)
            self.tally.moved += sent
            self._rest = self._rest[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._lost(error.strerror) from error

    def leave(self) -> None:
        """Say that there will be no more."""
        with suppress(OSError):
            self.socket.settimeout(END_SECONDS)
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Wait for the server to leave too: a socket closed before all was read may take back what was sent."""
        with suppress(OSError):
            while self.socket.recv(READ_SIZE):
                pass
        self.socket.close()

    def _lost(self, reason: str | None) -> ConnectionLost:
        return ConnectionLost(f"lost the connection to {self._address}: {reason}")


class Worker(Link):
    """Grabs a job, reports at once that it is done, and so on."""

    def __init__(self, connected: socket.socket, address: Address, tally: Tally, run: bytes) -> None:
        super().__init__(connected, address, tally)
        self._run = run

    def begin(self) -> None:
        """The first grab."""
        self.send(GRAB)

    def leave(self) -> None:
        """The last reports first."""
        with suppress(OSError):
            self.socket.settimeout(END_SECONDS)
            self.socket.sendall(self._rest)
        super().leave()

    def handle(self, arrived: Iterable[Packet], now: int) -> None:
        """Jobs, and the lack of them."""
        answer = []
        for kind, body in arrived:
            if kind == packets.JOB_ASSIGN:
                answer.append(self._do(body, now))
            elif kind == packets.NO_JOB:
                answer.append(SLEEP)
            elif kind == packets.NOOP:
                answer.append(GRAB)
            else:
                self.tally.unexpected[said(kind, body)] += 1
        self.send(b"".join(answer))

    def _do(self, body: bytes, now: int) -> bytes:
        handle, _, payload = body.split(b"\0", 2)
        tally = self.tally
        if payload[:RUN_SIZE] != self._run or len(payload) < STAMP.size:
            tally.foreign += 1  # it is not ours to end: it goes back when this connection closes
            return GRAB
        _, number, due = STAMP.unpack_from(payload)
        tally.last_end = now
        tally.start.add(now - due)
        if not tally.ran.add(number):
            tally.doubled += 1
        return packets.pack(packets.REQUEST, packets.WORK_COMPLETE, handle + b"\0") + GRAB


class Client(Link):
    """Submits jobs, and counts their answers. It has `room` for so many more in flight."""

    def __init__(self, connected: socket.socket, address: Address, tally: Tally, *, window: int, waits: bool) -> None:
        super().__init__(connected, address, tally)
        self.room = window
        self._waits = waits  # for results
        self._unacknowledged: deque[tuple[int, int]] = deque()  # number, due
        self._running: dict[bytes, tuple[int, int]] = {}  # number, due, by handle

    def submit(self, jobs: list[Job]) -> None:
        """Send jobs."""
        self.room -= len(jobs)
        self.tally.submitted += len(jobs)
        self._unacknowledged.extend((number, due) for number, due, _ in jobs)
        self.send(b"".join([packet for _, _, packet in jobs]))

    def handle(self, arrived: Iterable[Packet], now: int) -> None:
        """Acknowledgements, refusals, results."""
        for kind, body in arrived:
            if kind == packets.JOB_CREATED and self._unacknowledged:
                self._acknowledge(body, now)
            elif kind == packets.WORK_COMPLETE:
                self._end(body.partition(b"\0")[0], now)
            elif kind == packets.WORK_FAIL and body in self._running:
                del self._running[body]
                self.tally.failed += 1
                self.room += 1
            elif kind == packets.ERROR and self._unacknowledged:
                self._unacknowledged.popleft()
                self.tally.refused[said(kind, body)] += 1
                self.room += 1
            else:
                self.tally.unexpected[said(kind, body)] += 1

    def _acknowledge(self, handle: bytes, now: int) -> None:
        number, due = self._unacknowledged.popleft()
        tally = self.tally
        tally.acked.add(number)
        tally.ack.add(now - due)
        tally.last_ack = now
        if self._waits:
            self._running[handle] = number, due
        else:
            self.room += 1

    def _end(self, handle: bytes, now: int) -> None:
        tally = self.tally
        if (found := self._running.pop(handle, None)) is None:
            tally.doubled += 1
            return
        number, due = found
        tally.answered.add(number)
        tally.round_trip.add(now - due)
        tally.last_end = now
        self.room += 1


def said(kind: int, body: bytes) -> str:
    """A packet in words: its name, and the code of an ERROR."""
    code = body.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return f"{packets.name(kind)} {code}" if kind == packets.ERROR else packets.name(kind)
