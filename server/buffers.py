"""The memory of all connections together: large packets on their way in, and answers that are not read yet.

A large packet needs a place for what is to come of it before more of it is read. Where there is none its connection
waits, the smallest packet first. While somebody waits, who has a place and hardly sends anything loses it, with its
connection: else some hundred connections that begin a packet and stop would keep all others from sending one.

Answers cannot wait: somebody else has made them. So the connection that has left most of them unread goes, until the
rest fits. The same holds for what was read and not handled yet.
"""

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from math import inf
from typing import Final, Generic, Protocol, TypeVar

# While others wait: so many bytes (or the rest of its packet) a connection must send between two looks, such a part of
# a larger packet, and how many looks in a row it may fall short. So nobody has a place for much more than a minute.
LEAST_SENT: Final = 64 * 1024
LEAST_PART: Final = 60
PATIENCE: Final = 3


class Sender(Protocol):
    """A connection that sends a large packet."""

    @property
    def missing(self) -> int:
        """Bytes that are still to come of it."""

    @property
    def may_send(self) -> bool:
        """It is read."""

    def wait_for_place(self) -> None:
        """Read it no more."""

    def have_place(self) -> None:
        """Read it again."""


S = TypeVar("S", bound=Sender)
R = TypeVar("R")


class Place:
    """What a sender has a place for, and how it makes use of it."""

    __slots__ = ("failed", "least", "missing", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.least = max(LEAST_SENT, size // LEAST_PART)  # to be sent between two looks
        self.missing = size  # at the last look
        self.failed = 0  # looks in a row


class Incoming(Generic[S]):
    """Places for `limit` bytes; 0 is without limit. A packet larger than that gets them all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit or inf
        self._places: dict[S, Place] = {}
        self._waiting: list[tuple[int, int, S]] = []  # a heap; also of those that wait no more
        self._queued: set[S] = set()
        self._arrivals = 0
        self.used = 0

    @property
    def crowded(self) -> bool:
        """Somebody waits."""
        return bool(self._queued)

    def begin(self, sender: S) -> None:
        """A large packet has begun."""
        size = sender.missing
        if self._fits(size) and not self._queued:
            self._give(sender, size)
        else:
            self._arrivals += 1
            heappush(self._waiting, (size, self._arrivals, sender))
            self._queued.add(sender)
            sender.wait_for_place()

    def end(self, sender: S) -> None:
        """It is whole and done with, or its connection is gone."""
        place = self._places.pop(sender, None)
        if place:
            self.used -= place.size
        self._queued.discard(sender)
        self._let_in()

    def _fits(self, size: int) -> bool:
        return not self._places or self.used + size <= self._limit

    def _give(self, sender: S, size: int) -> None:
        self._places[sender] = Place(size)
        self.used += size

    def _let_in(self) -> None:
        while self._waiting:
            size, _, sender = self._waiting[0]
            if sender in self._queued and not self._fits(size):
                return
            heappop(self._waiting)
            if sender in self._queued:
                self._queued.discard(sender)
                self._give(sender, size)
                sender.have_place()

    def look(self) -> list[S]:
        """Who has to go because others wait. To be called every second or so while it is crowded."""
        slow = []
        for sender, place in self._places.items():
            sent, place.missing = place.missing - sender.missing, sender.missing
            idle = self.crowded and sender.may_send and sender.missing > 0 and sent < place.least
            place.failed = place.failed + 1 if idle else 0
            if place.failed >= PATIENCE:
                slow.append(sender)
        return slow


class Backlogs(Generic[R]):
    """What waits of some connections, for them or for us, in `limit` bytes; 0 is without limit. `size_of` looks."""

    def __init__(self, limit: int, size_of: Callable[[R], int]) -> None:
        self._limit = limit or inf
        self._size_of = size_of
        self._sizes: dict[R, int] = {}
        self.used = 0

    def note(self, whose: R, size: int) -> Iterable[R]:
        """It is so much now. Returns who has to go because it is too much in all."""
        self.used += size - self._sizes.get(whose, 0)
        self._sizes[whose] = size
        return self._excess() if self.used > self._limit else ()

    def forget(self, whose: R) -> None:
        """Nothing waits any more, or the connection is gone."""
        self.used -= self._sizes.pop(whose, 0)

    def _excess(self) -> list[R]:
        self._sizes = {whose: self._size_of(whose) for whose in self._sizes}
        self.used = sum(self._sizes.values())
        gone = []
        for whose in sorted(self._sizes, key=self._sizes.__getitem__, reverse=True):
            if self.used <= self._limit:
                break
            self.forget(whose)
            gone.append(whose)
        return gone
