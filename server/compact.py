"""A compact map from hashes to ids, for the unique keys of jobs that are not in memory.

A dict takes over 100 bytes for a number and another; this takes 20, and 5 a slot. Entries with the same slot are a
chain, linked by their places in three arrays. Nothing is ever moved, so nothing pauses.

What decides is how often the processor waits for memory, and nearly all looks are for keys that are not there. Of most
of these one bit tells it: there are 8 for each slot, set where an entry has such a hash. All of them lie in 8 MiB,
which caches hold, where slots and entries lie in 130 (docs/benchmarks.md).
"""

from array import array
from collections.abc import Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final

MOST_SLOTS: Final = 1 << 23  # 32 MiB, which the system gives as they are touched
FEWEST_SLOTS: Final = 1 << 10
BITS_OF_A_SLOT: Final = 8
BIT: Final = tuple(1 << number for number in range(8))


class CompactMap:
    """From a hash, as `hash` makes them, to ids. A hash may have several.

    `size` is the number of entries; `expected` of them make it as fast as it gets; with more it is slower and no less
    right. Who cannot afford a call looks himself: without the bit of `hash & bit_mask` in `bits` it is not there.
    """

    __slots__ = ("_free", "_hashes", "_heads", "_ids", "_mask", "_next", "bit_mask", "bits", "size")

    def __init__(self, expected: float = MOST_SLOTS) -> None:
        wanted = max(FEWEST_SLOTS, min(MOST_SLOTS, expected))
        slots = 1 << (int(wanted) - 1).bit_length()
        self._mask = slots - 1
        self.bit_mask = BITS_OF_A_SLOT * slots - 1
        self._clear()

    def _clear(self) -> None:
        self.bits = zeros((self.bit_mask + 1) // 8)
        # The first entry of each slot; 0 is none, so the first place of the arrays is not used.
        self._heads = memoryview(zeros(4 * (self._mask + 1))).cast("I")
        self._hashes = array("q", (0,))
        self._ids = array("q", (0,))
        self._next = array("I", (0,))
        self._free = 0  # the first of a chain of places that are free again
        self.size = 0

    def add(self, hash_: int, id_: int) -> None:
        """Add an entry."""
        bit = hash_ & self.bit_mask
        self.bits[bit >> 3] |= BIT[bit & 7]
        slot = hash_ & self._mask
        place = self._free
        if place:
            self._free = self._next[place]
            self._hashes[place] = hash_
            self._ids[place] = id_
            self._next[place] = self._heads[slot]
        else:
            place = len(self._ids)
            self._hashes.append(hash_)
            self._ids.append(id_)
            self._next.append(self._heads[slot])
        self._heads[slot] = place
        self.size += 1

    def get(self, hash_: int) -> Sequence[int]:
        """The ids of a hash, in no order."""
        bit = hash_ & self.bit_mask
        if not self.bits[bit >> 3] & BIT[bit & 7]:
            return ()
        found = []
        place = self._heads[hash_ & self._mask]
        while place:
            if self._hashes[place] == hash_:
                found.append(self._ids[place])
            place = self._next[place]
        return found

    def discard(self, hash_: int, id_: int) -> bool:
        """Remove an entry; was it there?"""
        hashes, bit_mask = self._hashes, self.bit_mask
        found = before = last = same_bit = 0
        place = self._heads[hash_ & self._mask]
        while place:
            other = hashes[place]
            if not (other ^ hash_) & bit_mask:
                same_bit += 1
                if other == hash_ and self._ids[place] == id_:
                    found, before = place, last
            last = place
            place = self._next[place]
        if found:
            self._take_out(found, before, alone=same_bit == 1)
        return bool(found)

    def _take_out(self, place: int, before: int, *, alone: bool) -> None:
        hash_ = self._hashes[place]
        if alone:
            bit = hash_ & self.bit_mask
            self.bits[bit >> 3] ^= BIT[bit & 7]
        if before:
            self._next[before] = self._next[place]
        else:
            self._heads[hash_ & self._mask] = self._next[place]
        self._next[place] = self._free
        self._free = place
        self.size -= 1
        if not self.size:
            self._clear()  # a drained backlog leaves nothing behind


def zeros(size: int) -> mmap:
    """So many bytes, which take memory as they are touched; a bytearray touches all of its own."""
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
