"""A proxy before a server that meddles with what the server sends, to see whether a benchmark notices."""

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from types import TracebackType
from typing import Final, Self

from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from tests.harness.process import DEADLINE
from tests.harness.server import HOST

READ_SIZE: Final = 64 * 1024
# From the body of the packet it waits for: what goes to the peer instead of it, and what to the server.
Meddle = Callable[[int, bytes], tuple[bytes, bytes]]


class Meddler:
    """Lets everything through but the packet number `at` of a kind that the server sends."""

    def __init__(self, port: int, kind: int, meddle: Meddle, at: int = 10) -> None:
        self._server = HOST, port
        self._kind, self._meddle, self._at = kind, meddle, at
        self._seen = 0
        self._lock = Lock()
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def has_meddled(self) -> bool:
        """Whether there were so many packets."""
        return self._seen >= self._at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # which wakes who accepts
        self._listening.close()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._threads.append(Thread(target=self._connect, args=(self._listening.accept()[0],)))
                self._threads[-1].start()

    def _connect(self, peer: socket.socket) -> None:
        with peer, socket.create_connection(self._server) as server:
            requests = Thread(target=carry, args=(peer, server))
            requests.start()
            self._answers(server, peer)
            requests.join(DEADLINE)

    def _answers(self, server: socket.socket, peer: socket.socket) -> None:
        codec, binary = Connection(packets.RESPONSE), False
        with suppress(OSError):
            while data := server.recv(READ_SIZE):
                if not binary and data[0]:  # the text protocol is left alone
                    peer.sendall(data)
                    continue
                binary = True
                for kind, body in codec.feed(data):
                    peer.sendall(self._instead(server, kind, body))
        with suppress(OSError):
            peer.shutdown(socket.SHUT_WR)

    def _instead(self, server: socket.socket, kind: int, body: bytes) -> bytes:
        packet = packets.pack(packets.RESPONSE, kind, body)
        if kind != self._kind:
            return packet
        with self._lock:
            self._seen += 1
            if self._seen != self._at:
                return packet
        to_peer, to_server = self._meddle(kind, body)
        server.sendall(to_server)
        return to_peer


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Everything, until the end."""
    with suppress(OSError):
        while data := source.recv(READ_SIZE):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def lose(_kind: int, body: bytes) -> tuple[bytes, bytes]:
    """The worker gets no job, the server hears that it is done."""
    return packets.NO_JOB_PACKET, packets.request(packets.WORK_COMPLETE, body.split(b"\0")[0], b"")


def double(kind: int, body: bytes) -> tuple[bytes, bytes]:
    """The packet comes twice."""
    return 2 * packets.pack(packets.RESPONSE, kind, body), b""


def add_foreign(kind: int, body: bytes) -> tuple[bytes, bytes]:
    """The worker gets the job of somebody else before its own."""
    return packets.response(kind, b"H:other:1", b"mail", b"to: ann") + packets.pack(packets.RESPONSE, kind, body), b""


def swallow(_kind: int, _body: bytes) -> tuple[bytes, bytes]:
    """The packet does not come."""
    return b"", b""


def refuse(_kind: int, _body: bytes) -> tuple[bytes, bytes]:
    """The client is told that it was refused."""
    return packets.error("QUEUE_ERROR", "Job queue is full"), b""
