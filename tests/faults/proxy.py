"""A network between a server and its database that can be cut, swallow what it should carry, or lead elsewhere.

A connection that has swallowed anything is dead for good in that direction, as one whose router forgot it: its ends
are not told, and what is sent over it later goes nowhere. New ones are made as the proxy stands then.
"""

import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread
from time import sleep
from types import TracebackType
from typing import Final, NamedTuple, Self

from tests.databases.ports import HOST, free_port

READ_SIZE: Final = 256 * 1024
CONNECT_SECONDS: Final = 10.0
END_SECONDS: Final = 60.0
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: a close throws away and resets


class Target(NamedTuple):
    """Where connections lead."""

    host: str
    port: int


class Link:
    """One connection through the proxy: two sockets, and a thread for each direction."""

    def __init__(self, proxy: "Proxy", near: socket.socket, far: socket.socket) -> None:
        self._proxy = proxy
        self.near = near  # the server's end
        self.far = far  # the database's end
        self._dead: set[bool] = set()  # directions
        self._ended = False  # by the database; the server does not know yet
        self._lock = Lock()
        self._threads = [
            Thread(target=self._pump, args=(near, far, True), daemon=True),
            Thread(target=self._pump, args=(far, near, False), daemon=True),
        ]

    def start(self) -> None:
        """Carry from now on."""
        for thread in self._threads:
            thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, to_database: bool) -> None:
        with suppress(OSError):
            while data := source.recv(READ_SIZE):
                if self._is_dead(to_database):
                    self._proxy.swallowed.set()
                    continue
                if to_database and self._ended:
                    break
                if to_database and self._proxy.springs(data, self):
                    continue
                if self._proxy.delay:
                    sleep(self._proxy.delay)
                sink.sendall(data)
        if self._is_dead(to_database):
            source.close()  # the other end hears nothing of it
        elif self._proxy.keeps_open and not to_database:
            self._ended = True
        else:
            self.end(reset=False)

    def _is_dead(self, to_database: bool) -> bool:
        if self._proxy.swallows(to_database):
            self._dead.add(to_database)
        return to_database in self._dead

    def end(self, *, reset: bool) -> None:
        """Both ends are told: that it is over, or that it is broken."""
        with self._lock:
            for end in (self.near, self.far):
                close(end, reset=reset)

    def join(self) -> None:
        """Wait for its threads."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(END_SECONDS)
            assert not thread.is_alive()


class Proxy:
    """Listens on a port of its own that stays the same, and leads to `target`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.port = free_port()
        self._links: list[Link] = []
        self._to_database = self._to_server = False  # whether that direction is swallowed
        self._trap: Callable[[bytes, Link], bool] | None = None
        self.keeps_open = False
        self.delay = 0.0  # seconds that each piece of data is late
        self.swallowed = Event()  # something was
        self._listening: socket.socket | None = None
        self._acceptor: Thread | None = None
        self.listen()

    # ---- what a test does to it

    def listen(self) -> None:
        """Take connections again."""
        if self._listening is None:
            self._listening = socket.create_server((HOST, self.port))
            self._acceptor = Thread(target=self._accept, args=(self._listening,), daemon=True)
            self._acceptor.start()

    def refuse(self) -> None:
        """New connections are refused."""
        if self._listening and self._acceptor:
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes its thread
            self._acceptor.join(END_SECONDS)
            self._listening.close()
            self._listening = self._acceptor = None

    def cut(self, *, reset: bool = True) -> None:
        """End the connections that there are, by a reset or in order."""
        for link in self._take_links():
            link.end(reset=reset)

    def swallow(self) -> None:
        """From now on nothing goes through, and nobody is told."""
        self._to_database = self._to_server = True

    def mute(self) -> None:
        """The database hears everything; its answers are lost."""
        self._to_server = True

    def pass_on(self) -> None:
        """New connections are carried again."""
        self._to_database = self._to_server = False

    def keep_open(self) -> None:
        """What the database ends looks open to the server, until it sends something."""
        self.keeps_open = True

    def cut_at(self, pattern: bytes, *, forward: bool) -> Event:
        """Reset the connection when what matches is to be sent to the database: once it is sent, or in its place.

        The event tells when that has happened.
        """

        def cut(data: bytes, link: Link) -> None:
            if forward:
                link.far.sendall(data)
            link.end(reset=True)

        return self._set_trap(pattern, cut)

    def mute_at(self, pattern: bytes) -> Event:
        """From when what matches is sent to the database, its answers are lost. The event tells when."""

        def mute(data: bytes, link: Link) -> None:
            self.mute()
            link.far.sendall(data)

        return self._set_trap(pattern, mute)

    def remove_trap(self) -> None:
        """Nothing is waited for any more."""
        self._trap = None

    def _set_trap(self, pattern: bytes, action: Callable[[bytes, Link], None]) -> Event:
        sprung = Event()

        def trap(data: bytes, link: Link) -> bool:
            if not re.search(pattern, data):
                return False
            self._trap = None
            action(data, link)
            sprung.set()
            return True

        self._trap = trap
        return sprung

    # ---- what its connections ask

    def swallows(self, to_database: bool) -> bool:
        """Does this direction carry nothing?"""
        return self._to_database if to_database else self._to_server

    def springs(self, data: bytes, link: Link) -> bool:
        """Does this trigger the trap? Then it has been dealt with."""
        return self._trap is not None and self._trap(data, link)

    # ---- connections

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self.target, CONNECT_SECONDS)
        except OSError:
            close(near, reset=True)
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(self, near, far)
        self._links.append(link)  # before it carries anything: whoever ends the swallowing can cut what has swallowed
        link.start()

    def _take_links(self) -> list[Link]:
        links, self._links = self._links, []
        return links

    def close(self) -> None:
        """End everything."""
        self.refuse()
        links = self._take_links()
        for link in links:
            link.end(reset=True)
        for link in links:
            link.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def close(end: socket.socket, *, reset: bool) -> None:
    """Close one end, which a thread may be reading."""
    with suppress(OSError):  # the other side was first
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.shutdown(socket.SHUT_RD)  # wakes the thread, says nothing
        else:
            end.shutdown(socket.SHUT_RDWR)
    end.close()
