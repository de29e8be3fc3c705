"""A set of places that tells the next one at once, however many there are."""

from typing import Final

# Places of a block are the bits of one int, and so are the blocks that have any: a search looks at two small ints.
SHIFT: Final = 8
WITHIN: Final = (1 << SHIFT) - 1


class Agenda:
    """Small integers, added and removed in constant time; `next` goes round."""

    __slots__ = ("_blocks", "_filled")

    def __init__(self) -> None:
        self._blocks: list[int] = []
        self._filled = 0  # the blocks that are not 0

    def __bool__(self) -> bool:
        return self._filled != 0

    def __contains__(self, place: int) -> bool:
        block = place >> SHIFT
        return block < len(self._blocks) and self._blocks[block] >> (place & WITHIN) & 1 == 1

    def add(self, place: int) -> None:
        """Put `place` in, if it is not there."""
        block = place >> SHIFT
        while block >= len(self._blocks):
            self._blocks.append(0)
        self._blocks[block] |= 1 << (place & WITHIN)
        self._filled |= 1 << block

    def discard(self, place: int) -> None:
        """Take `place` out, if it is there."""
        if place in self:
            block = place >> SHIFT
            self._blocks[block] ^= 1 << (place & WITHIN)
            if not self._blocks[block]:
                self._filled ^= 1 << block

    def next(self, start: int, end: int) -> int | None:
        """The first place from `start` on, going round at `end`; None when there is none below `end`."""
        if not self._filled:
            return None
        found = self._first(start, end)
        if found >= end:
            found = self._first(0, end)
        return found if found < end else None

    def _first(self, start: int, end: int) -> int:
        """The first place from `start` on; when there is none, `end`."""
        block = start >> SHIFT
        if block < len(self._blocks) and (bits := self._blocks[block] >> (start & WITHIN)):
            return start + lowest(bits)
        block += 1
        if not (filled := self._filled >> block):
            return end
        block += lowest(filled)
        return (block << SHIFT) + lowest(self._blocks[block])


def lowest(bits: int) -> int:
    """The number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1
