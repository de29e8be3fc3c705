"""The part of a queue that is not in memory: bare ids in order, and how large their payloads are."""

from array import array
from bisect import bisect
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Final

# Ids in one piece, and at most a batch more. Pieces are given back one by one; a shorter queue has one of its length.
PIECE: Final = 8192

Piece = tuple["array[int]", "array[int]"]


class Tail:
    """Ids with payload sizes (bytes), first in first out; 12 bytes each. Entries at the front can be put back."""

    __slots__ = ("_pieces", "_size", "_start")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._start = 0  # entries of the first piece that were taken
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, ids: Sequence[int], sizes: Sequence[int]) -> None:
        """Add at the end."""
        pieces = self._pieces
        if not pieces or len(pieces[-1][0]) >= PIECE:
            pieces.append((array("q"), array("I")))
        pieces[-1][0].extend(ids)
        pieces[-1][1].extend(sizes)
        self._size += len(ids)

    def extend(self, other: "Tail") -> None:
        """Add all of another."""
        self._size += len(other)
        self._pieces.extend(other.pieces())

    def put_back(self, entries: Iterable[tuple[int, int]]) -> None:
        """Add ids and sizes at the front, in their order."""
        if self._start:
            self._cut()
        ids, sizes = array("q"), array("I")
        for id_, size in entries:
            ids.append(id_)
            sizes.append(size)
        if ids:
            self._pieces.appendleft((ids, sizes))
            self._size += len(ids)

    def take(self, count: int, most_bytes: int) -> list[tuple[int, int]]:
        """Remove and return the first ids with their sizes: at most `count`, and so many bytes; one at least."""
        taken: list[tuple[int, int]] = []
        while self._pieces and count > 0:
            ids, sizes = self._pieces[0]
            stop = min(self._start + count, len(ids))
            fitting = bisect(list(accumulate(sizes[self._start : stop])), most_bytes)
            stop = self._start + (fitting or not taken)
            taken += zip(ids[self._start : stop], sizes[self._start : stop], strict=True)
            count -= stop - self._start
            most_bytes -= sum(sizes[self._start : stop])
            self._start = stop
            if stop < len(ids):
                break
            self._pieces.popleft()
            self._start = 0
        self._size -= len(taken)
        return taken

    def __iter__(self) -> Iterator[int]:
        for ids, _ in self.pieces():
            yield from ids

    def ids(self) -> Iterator[int]:
        """Those that are there now; it may change meanwhile."""
        return chain.from_iterable([ids for ids, _ in self.pieces()])

    def pieces(self) -> Iterator[Piece]:
        """Ids and sizes, in order."""
        if self._start:
            self._cut()
        return iter(self._pieces)

    def _cut(self) -> None:
        """Let go of what was taken from the first piece."""
        ids, sizes = self._pieces.popleft()
        self._pieces.appendleft((ids[self._start :], sizes[self._start :]))
        self._start = 0
