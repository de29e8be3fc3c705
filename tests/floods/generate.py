"""The floods, each in a process of its own: `python -m tests.floods.generate NAME PORT COUNT`.

A flood says `flooding` once it has begun in earnest, goes on until its standard input ends, and prints in one line of
JSON what came of it. They use plain sockets and one thread: the server is to be busy, not the generator.
"""

import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Thread
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.codec import Connection

HOST: Final = "127.0.0.1"
CHUNK: Final = 256 * 1024
MIB: Final = 1024 * 1024
BARE: Final = 10_000  # the last of a backlog, of which no more than the first are in memory

Result = dict[str, int]
Source = Iterator[bytes]


class Stop:
    """Whether the flood is to end."""

    def __init__(self) -> None:
        self.told = False
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        sys.stdin.read()
        self.told = True


class Ended(Stop):
    """The flood goes on until there is enough of it."""

    def __init__(self) -> None:
        self.told = True


ALREADY: Final = Ended()


class Line:
    """A connection that sends what its source gives, as fast as it is taken, and reads, or does not."""

    def __init__(self, port: int, source: Source, *, reads: bool = True) -> None:
        self.socket = socket.create_connection((HOST, port), 20)
        self.socket.setblocking(False)
        self.source = source
        self.reads = reads
        self.sent = 0
        self.said: Counter[str] = Counter()
        self._out = memoryview(b"")
        self._codec = Connection(packets.RESPONSE, 1 << 32)

    @property
    def done(self) -> bool:
        """All of its source is sent."""
        return not self._out and self.source is EMPTY

    @property
    def answered(self) -> int:
        """How many packets have come."""
        return self.said.total()

    @property
    def events(self) -> int:
        """What to wait for."""
        return (EVENT_READ if self.reads else 0) | (0 if self.done else EVENT_WRITE)

    def attend(self, events: int) -> bool:
        """Read and write what can be; False once the server has ended it."""
        try:
            if events & EVENT_READ and not self._read():
                return False
            if events & EVENT_WRITE:
                self._write()
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _read(self) -> bool:
        data = self.socket.recv(CHUNK)
        for kind, body in self._codec.feed(data):
            self.said[body.partition(b"\0")[0].decode() if kind == packets.ERROR else packets.name(kind)] += 1
        return bool(data)

    def _write(self) -> None:
        if not self._out:
            self._out = memoryview(next(self.source, b""))
            if not self._out:
                self.source = EMPTY
                return
        sent = self.socket.send(self._out)
        self.sent += sent
        self._out = self._out[sent:]


EMPTY: Final[Source] = iter(())


class Crowd:
    """Connections that are attended together; one that the server ends is gone, or is made anew."""

    def __init__(self, port: int, *, again: Callable[[], Line] | None = None) -> None:
        self._port = port
        self._again = again
        self._selector = DefaultSelector()
        self.ended = 0
        self.bytes = 0
        self.said: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        """One more."""
        if line.events:
            self._selector.register(line.socket, line.events, line)

    def flood(self, stop: Stop, enough: Callable[[], bool] = lambda: True) -> None:
        """Attend them until told to stop and this holds."""
        while not (stop.told and enough()):
            for key, events in self._selector.select(0.1):
                line: Line = key.data
                before, wanted = line.sent, line.events
                if not line.attend(events):
                    self._lose(line)
                elif line.events != wanted:
                    self._selector.unregister(line.socket)
                    self.add(line)
                self.bytes += line.sent - before

    def _lose(self, line: Line) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()
        self.ended += 1
        self.said += line.said
        if self._again is not None:
            with suppress(OSError):
                self.add(self._again())

    def result(self) -> Result:
        """What came of it."""
        for key in self._selector.get_map().values():
            self.said += key.data.said
        return {"bytes": self.bytes, "ended": self.ended, **self.said}


def flooding() -> None:
    """It has begun."""
    print("flooding", flush=True)


def repeated(packet: bytes, most: float = float("inf")) -> Source:
    """A packet again and again, many in a write."""
    many = max(1, CHUNK // len(packet))
    written = 0
    while written < most:
        yield packet * many
        written += many


def some(packets_: Iterator[bytes]) -> Source:
    """Packets, many in a write."""
    while found := b"".join(islice(packets_, 2000)):
        yield found


def large(kind: int, start: bytes, size: int, sent: int) -> Source:
    """A large packet of which only so much is sent."""
    yield packets.HEADER.pack(packets.REQUEST, kind, size) + start
    for at in range(0, sent, CHUNK):
        yield bytes(min(CHUNK, sent - at))


# ---- the floods


def idle(port: int, number: int, stop: Stop) -> Result:
    """Connections that say nothing."""
    connections = []
    for _ in range(number):
        if stop.told:
            break
        connections.append(socket.create_connection((HOST, port), 20))
    flooding()
    wait(stop)
    return {"connections": len(connections)}


def come_and_go(port: int, number: int, stop: Stop) -> Result:
    """So many connections a second, opened and dropped."""
    flooding()
    made, began = 0, time.monotonic()
    while not stop.told:
        with suppress(OSError):
            socket.create_connection((HOST, port), 20).close()
            made += 1
        time.sleep(max(0.0, began + made / number - time.monotonic()))
    return {"connections": made, "a second": int(made / (time.monotonic() - began))}


def deaf(port: int, number: int, stop: Stop) -> Result:
    """Clients that ask and ask, and read no answer."""
    crowd = Crowd(port)
    for _ in range(number):
        crowd.add(Line(port, repeated(packets.request(packets.GET_STATUS, b"H:x:1")), reads=False))
    flooding()
    crowd.flood(stop)
    return crowd.result()


def deaf_to_results(port: int, number: int, stop: Stop) -> Result:
    """Clients with a worker of theirs that makes results of 1 MiB, which they do not read."""
    worker = socket.create_connection((HOST, port), 20)
    worker.sendall(packets.request(packets.CAN_DO, b"large"))

    def client() -> Line:
        return Line(port, repeated(packets.request(packets.SUBMIT_JOB, b"large", b"", b"")), reads=False)

    crowd = Crowd(port, again=client)
    for _ in range(number):
        crowd.add(client())
    thread = Thread(target=work, args=(worker, bytes(MIB), stop), daemon=True)
    thread.start()
    flooding()
    crowd.flood(stop)
    thread.join(5)
    return crowd.result()


def work(worker: socket.socket, result: bytes, stop: Stop) -> None:
    """Do jobs, all with this result."""
    codec = Connection(packets.RESPONSE, 1 << 32)
    worker.sendall(packets.request(packets.GRAB_JOB))
    with suppress(OSError):
        while not stop.told:
            for kind, body in codec.feed(worker.recv(CHUNK)):
                if kind == packets.JOB_ASSIGN:
                    worker.sendall(packets.request(packets.WORK_COMPLETE, body.partition(b"\0")[0], result))
                elif kind == packets.NO_JOB:
                    time.sleep(0.01)
                worker.sendall(packets.request(packets.GRAB_JOB))


def trickle(port: int, number: int, stop: Stop) -> Result:
    """Connections that send a byte a second, of a packet of 1 MiB."""
    packet = packets.request(packets.ECHO_REQ, bytes(MIB))
    connections = [socket.create_connection((HOST, port), 20) for _ in range(number)]
    flooding()
    sent = 0
    while not stop.told:
        for connection in connections:
            with suppress(OSError):
                connection.send(packet[sent : sent + 1])
        sent += 1
        time.sleep(1)
    return {"connections": number, "bytes each": sent}


def four_gib(port: int, number: int, stop: Stop) -> Result:
    """Packets that declare 4 GiB, so many connections at a time."""
    head = packets.HEADER.pack(packets.REQUEST, packets.SUBMIT_JOB_BG, (1 << 32) - 1)

    def line() -> Line:
        return Line(port, iter((head,)))

    crowd = Crowd(port, again=line)
    for _ in range(number):
        crowd.add(line())
    flooding()
    crowd.flood(stop)
    return crowd.result()


def can_do(port: int, number: int, stop: Stop) -> Result:
    """A worker that can do so many things."""
    names = (packets.request(packets.CAN_DO, b"skill-%d" % each) for each in range(number))
    crowd = Crowd(port)
    line = Line(port, some(names))
    crowd.add(line)
    flooding()
    crowd.flood(stop, lambda: line.done or crowd.ended > 0)
    return {"all sent": int(line.done), **crowd.result()}


def new_functions(port: int, number: int, stop: Stop) -> Result:
    """Background jobs, each of a function that nobody has heard of."""
    crowd = Crowd(port)
    lines = [Line(port, some(jobs_of_new_functions(part, number // 4))) for part in range(4)]
    for line in lines:
        crowd.add(line)
    flooding()
    crowd.flood(stop, lambda: all(line.done for line in lines) or crowd.ended > 0)
    return crowd.result()


def jobs_of_new_functions(part: int, number: int) -> Iterator[bytes]:
    """Those of one connection."""
    for each in range(number):
        yield packets.request(packets.SUBMIT_JOB_BG, b"f-%d-%d" % (part, each), b"", b"")


def submit(port: int, number: int, stop: Stop) -> Result:
    """Background jobs of 100 bytes on so many connections, as fast as they are taken."""
    crowd = Crowd(port)
    for _ in range(number):
        crowd.add(Line(port, repeated(packets.request(packets.SUBMIT_JOB_BG, b"flood", b"", bytes(100)))))
    flooding()
    crowd.flood(stop)
    return crowd.result()


def nobody_works(port: int, number: int, stop: Stop) -> Result:
    """Foreground jobs of 1 kB that nobody works on."""
    crowd = Crowd(port)
    for _ in range(number):
        crowd.add(Line(port, repeated(packets.request(packets.SUBMIT_JOB, b"nobody", b"", bytes(1000)))))
    flooding()
    crowd.flood(stop)
    return crowd.result()


def half_packets(port: int, number: int, stop: Stop) -> Result:
    """Connections that each send half of a packet of 64 MiB, and no more, until the server has ended one of them."""
    size = 64 * MIB - 100
    crowd = Crowd(port)
    for _ in range(number):
        crowd.add(Line(port, large(packets.SUBMIT_JOB_BG, b"half\0\0", size, size // 2)))
    flooding()
    crowd.flood(stop, lambda: crowd.ended > 0)
    return crowd.result()


def echoes(port: int, number: int, stop: Stop) -> Result:
    """So many ECHO_REQ of 1 MiB on some connections, of which no answer is read."""
    crowd = Crowd(port)
    packet = packets.request(packets.ECHO_REQ, bytes(MIB))
    for _ in range(20):
        crowd.add(Line(port, repeated(packet, number // 20), reads=False))
    flooding()
    crowd.flood(stop)
    return crowd.result()


def listings(port: int, number: int, stop: Stop) -> Result:
    """So many connections that ask for `show jobs` without end, and read it."""
    connections = [socket.create_connection((HOST, port), 20) for _ in range(number)]
    selector = DefaultSelector()
    for connection in connections:
        connection.setblocking(False)
        connection.send(b"show jobs\n" * 100)
        selector.register(connection, EVENT_READ)
    flooding()
    read = 0
    while not stop.told:
        for key, _ in selector.select(0.1):
            with suppress(OSError):
                read += len(os.read(key.fd, CHUNK))
    return {"bytes": read}


def leave(port: int, number: int, stop: Stop) -> Result:
    """Clients that submit so many foreground jobs each, and leave once they are acknowledged."""
    packet = packets.request(packets.SUBMIT_JOB, b"left", b"", b"")
    return leaving(port, number, stop, lambda: repeated(packet, number))


def hoard(port: int, number: int, stop: Stop) -> Result:
    """Workers that take so many background jobs each, do none, and leave."""
    able, grab = packets.request(packets.CAN_DO, b"backlog"), packets.request(packets.GRAB_JOB)
    return leaving(port, number, stop, lambda: chain((able,), repeated(grab, number)))


def leaving(port: int, number: int, stop: Stop, source: Callable[[], Source]) -> Result:
    """Ten connections at a time, which leave when they have so many answers."""
    flooding()
    left = 0
    while not stop.told:
        left += leave_together(port, number, stop, [Line(port, source()) for _ in range(10)])
    return {"left": left}


def leave_together(port: int, number: int, stop: Stop, lines: list[Line]) -> int:
    """These; returns how many they are."""
    crowd = Crowd(port)
    for line in lines:
        crowd.add(line)
    crowd.flood(ALREADY, lambda: stop.told or crowd.ended > 0 or all(line.answered >= number for line in lines))
    for line in lines:
        line.socket.close()
    return len(lines)


def delayed(port: int, number: int, stop: Stop) -> Result:
    """So many jobs for one and the same second, a few from now."""
    due = b"%d" % (time.time() + 4)
    packet = packets.request(packets.SUBMIT_JOB_EPOCH, b"delayed", b"", due, b"")
    crowd = Crowd(port)
    lines = [Line(port, repeated(packet, number // 4)) for _ in range(4)]
    for line in lines:
        crowd.add(line)
    flooding()
    crowd.flood(stop)
    return crowd.result()


def statuses(port: int, number: int, stop: Stop) -> Result:
    """So many connections that ask without end for the status of jobs that are in the table only."""
    with socket.create_connection((HOST, port), 20) as operator:
        operator.sendall(b"show jobs\n")
        listing = bytearray()
        while not listing.endswith(b"\n.\n"):
            listing += operator.recv(CHUNK)
    handles = [line.partition(b"\t")[0] for line in listing.splitlines()[-BARE:-1]]
    questions = b"".join(packets.request(packets.GET_STATUS, bytes(handle)) for handle in handles)
    crowd = Crowd(port)
    for _ in range(number):
        crowd.add(Line(port, repeated(questions)))
    flooding()
    crowd.flood(stop)
    return crowd.result()


def wait(stop: Stop) -> None:
    """Until the flood is to end."""
    while not stop.told:
        time.sleep(0.05)


FLOODS: Final = {
    flood.__name__: flood
    for flood in (
        idle,
        come_and_go,
        deaf,
        deaf_to_results,
        trickle,
        four_gib,
        can_do,
        new_functions,
        submit,
        nobody_works,
        half_packets,
        echoes,
        listings,
        leave,
        hoard,
        delayed,
        statuses,
    )
}


def main() -> None:
    """See above."""
    os.nice(10)
    name, port, number = sys.argv[1:]
    print(json.dumps(FLOODS[name](int(port), int(number), Stop())), flush=True)


if __name__ == "__main__":
    main()
