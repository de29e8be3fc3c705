"""A compact map from hashes to ids, for the unique keys of jobs that are not in memory.

A dict takes over 100 bytes for a number and another; this takes 20, and 4 a slot. Entries with the same slot are a
chain, linked by their places in three arrays. Nothing is ever moved, so nothing pauses. What decides is how often the
processor has to wait for memory: here once for a key that is not there, and once for one that is added
(docs/benchmarks.md).
"""

from array import array
from collections.abc import Sequence
from typing import Final

MOST_SLOTS: Final = 1 << 24  # 64 MiB, which the system gives as they are touched
FEWEST_SLOTS: Final = 1 << 10


class CompactMap:
    """From a hash, as `hash` makes them, to ids. A hash may have several.

    `expected` entries make it as fast as it gets; with more it is slower and no less right. Who cannot afford a call
    looks himself: where `heads[hash & mask]` is 0 the hash is not there.
    """

    __slots__ = ("_free", "_hashes", "_ids", "_next", "_size", "heads", "mask")

    def __init__(self, expected: float = MOST_SLOTS) -> None:
        wanted = max(FEWEST_SLOTS, min(MOST_SLOTS, expected))
        self.mask = (1 << (int(wanted) - 1).bit_length()) - 1
        self._clear()

    def _clear(self) -> None:
        # The first entry of each slot; 0 is none, so the first place of the arrays is not used.
        self.heads = memoryview(bytearray(4 * (self.mask + 1))).cast("I")
        self._hashes = array("q", (0,))
        self._ids = array("q", (0,))
        self._next = array("I", (0,))
        self._free = 0  # the first of a chain of places that are free again
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, hash_: int, id_: int) -> None:
        """Add an entry."""
        slot = hash_ & self.mask
        place = self._free
        if place:
            self._free = self._next[place]
            self._hashes[place] = hash_
            self._ids[place] = id_
            self._next[place] = self.heads[slot]
        else:
            place = len(self._ids)
            self._hashes.append(hash_)
            self._ids.append(id_)
            self._next.append(self.heads[slot])
        self.heads[slot] = place
        self._size += 1

    def get(self, hash_: int) -> Sequence[int]:
        """The ids of a hash, in the order in which they were added."""
        place = self.heads[hash_ & self.mask]
        if not place:
            return ()
        found = []
        while place:
            if self._hashes[place] == hash_:
                found.append(self._ids[place])
            place = self._next[place]
        return found[::-1]

    def discard(self, hash_: int, id_: int) -> bool:
        """Remove an entry; was it there?"""
        slot = hash_ & self.mask
        following = self._next
        before, place = 0, self.heads[slot]
        while place and (self._ids[place] != id_ or self._hashes[place] != hash_):
            before, place = place, following[place]
        if not place:
            return False
        if before:
            following[before] = following[place]
        else:
            self.heads[slot] = following[place]
        following[place] = self._free
        self._free = place
        self._size -= 1
        if not self._size:
            self._clear()  # a drained backlog leaves nothing behind
        return True
