"""A compact map from hashes to ids, for the unique keys of jobs that are not in memory.

A dict takes over 100 bytes for a number and another; this takes 17 to 18. The entries of a bucket are one bytes object,
which `bytes.find` searches: an insertion takes 0.4, a look 0.3 microseconds. The buckets grow one by one (linear
hashing), so no insertion has to move them all.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

ENTRY: Final = Struct("<Qq")
HASH: Final = Struct("<Q")
WIDTH: Final = ENTRY.size
FIRST_BUCKETS: Final = 64  # a power of two
FULL: Final = 24  # entries a bucket, on average
MASK: Final = (1 << 64) - 1
# Nearly all looks are for keys that are not there. One byte tells it of most, where a bucket takes several lines of the
# processor's cache: 0.3 for 0.9 microseconds. 16 MiB, which the system gives as they are touched.
SEEN_SHIFT: Final = 40
SEEN: Final = 1 << 24


class CompactMap:
    """From a hash (any int; its lowest 64 bits count) to ids. A hash may have several."""

    __slots__ = ("_buckets", "_mask", "_room", "_seen", "_size", "_split")

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._buckets = [b""] * FIRST_BUCKETS
        self._mask = FIRST_BUCKETS - 1
        self._split = 0  # buckets below this one are split already
        self._room = FIRST_BUCKETS * FULL
        self._seen = bytearray(SEEN)  # by the highest bits of a hash: none but 0 if it was never added
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def _at(self, hash_: int) -> int:
        at = hash_ & self._mask
        return hash_ & (2 * self._mask + 1) if at < self._split else at

    def add(self, hash_: int, id_: int) -> None:
        """Add an entry."""
        hash_ &= MASK
        at = hash_ & self._mask
        if at < self._split:
            at = hash_ & (2 * self._mask + 1)
        self._buckets[at] += ENTRY.pack(hash_, id_)
        self._seen[hash_ >> SEEN_SHIFT] = 1
        self._size += 1
        if self._size > self._room:
            self._grow()

    def get(self, hash_: int) -> Sequence[int]:
        """The ids of a hash, in the order in which they were added."""
        hash_ &= MASK
        if not self._seen[hash_ >> SEEN_SHIFT]:
            return ()
        bucket = self._buckets[self._at(hash_)]
        wanted = HASH.pack(hash_)
        at = bucket.find(wanted)
        found = []
        while at >= 0:
            if at % WIDTH == 0:
                found.append(ENTRY.unpack_from(bucket, at)[1])
            at = bucket.find(wanted, at + 1)
        return found

    def discard(self, hash_: int, id_: int) -> bool:
        """Remove an entry; was it there?"""
        hash_ &= MASK
        number = self._at(hash_)
        bucket = self._buckets[number]
        entry = ENTRY.pack(hash_, id_)
        at = bucket.find(entry)
        while at % WIDTH and at >= 0:
            at = bucket.find(entry, at + 1)
        if at < 0:
            return False
        self._buckets[number] = bucket[:at] + bucket[at + WIDTH :]
        self._size -= 1
        if not self._size:
            self._clear()  # a drained backlog leaves nothing behind
        return True

    def _grow(self) -> None:
        """Divide one bucket between itself and a new one."""
        bit = self._mask + 1
        stay: list[bytes] = []
        go: list[bytes] = []
        for hash_, id_ in ENTRY.iter_unpack(self._buckets[self._split]):
            (go if hash_ & bit else stay).append(ENTRY.pack(hash_, id_))
        self._buckets[self._split] = b"".join(stay)
        self._buckets.append(b"".join(go))
        self._split += 1
        self._room += FULL
        if self._split == bit:
            self._mask = 2 * bit - 1
            self._split = 0
