"""The answers of one connection on their way out, and how many of them it may leave unread.

A peer that does not read its answers is not read either. But others make answers for it too: results of its jobs come
whether it reads or not. So the memory for them has an end, for each connection and for all of them.
"""

from collections.abc import Sequence
from typing import Any, Final

from gearmand_py.server import packets
from gearmand_py.server.front import Front, Link
from gearmand_py.storage.base import Payload

# Unsent bytes at which a connection is a slow reader, and those at which it is no longer read: high enough for a
# client that submits some ten thousand jobs in one go before it reads an answer.
SLOW: Final = 64 * 1024
WRITE_HIGH: Final = 1024 * 1024


class Output:
    """What is written to `transport`, for `link`."""

    def __init__(self, front: Front, link: Link, transport: Any) -> None:
        self._front = front
        self._link = link
        self._transport = transport
        self.slow = False  # the peer does not read
        self.watched = False  # that, or results wait for a batch
        self._excused = 0  # bytes of its largest packet among those that are unread
        transport.set_write_buffer_limits(high=SLOW)

    @property
    def unread(self) -> int:
        """Bytes that the peer's end has not taken, and results that wait for a batch."""
        size: int = self._transport.get_write_buffer_size()
        return size + sum(held.results for held in self._link.peer.held)

    def falls_behind(self) -> None:
        """The peer leaves its answers unread."""
        self.slow = True
        self._excused = self.unread
        self.look()

    def catches_up(self) -> None:
        """It has read them."""
        self.slow = False
        self._link.resume("slow reader")
        self._end_watch()

    def _end_watch(self) -> None:
        """Nothing is unread, but for what may wait for a batch."""
        if not any(held.results for held in self._link.peer.held):
            self.watched = False
            self._excused = 0
            self._front.unread.forget(self._link)

    def look(self) -> None:
        """More is unread: too much to read on, too much for this peer, or too much in all?"""
        self.watched = True
        self._excused = max([self._excused, *(held.largest for held in self._link.peer.held)])
        size, most = self.unread, self._front.limits.output
        if 0 < most < size - self._excused:
            self._front.drop(self._link, "--max-output", f"left {size} bytes of answers unread")
        else:
            self._note(size)

    def _note(self, size: int) -> None:
        if size > WRITE_HIGH and self.slow:
            self._link.pause("slow reader")
        for other in self._front.unread.note(self._link, size):
            self._front.drop(
                other, "--max-buffers", "left more answers unread than any other when they became too many"
            )

    def write(self, pieces: Sequence[Payload]) -> None:
        """Write, unless that is too much for the peer: then its connection is dropped."""
        if self.slow and not self._makes_room(pieces):
            return
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        elif sum(map(len, pieces)) < packets.LARGE:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines(pieces)
        if self.watched and not self.slow:
            self._end_watch()

    def _makes_room(self, more: Sequence[Payload]) -> bool:
        """May this be written to a slow reader?"""
        self._excused = max(self._excused, *map(len, more))
        self.look()
        if not self._link.peer.closed:
            self._note(self.unread + sum(map(len, more)))
        return not self._link.peer.closed
