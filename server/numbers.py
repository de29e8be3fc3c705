"""Sets of small numbers that tell at once which number two of them have in common."""

from collections.abc import Iterator
from typing import Final

# A block of numbers is the bits of one int, and so are the blocks that have any: a search looks at few of them.
SHIFT: Final = 10
WITHIN: Final = (1 << SHIFT) - 1


class Numbers:
    """A set of numbers from 0 on, some bits each."""

    __slots__ = ("blocks", "filled")

    def __init__(self, key: tuple[int, ...] = ()) -> None:
        self.blocks = list(key)
        self.filled = sum(1 << at for at, block in enumerate(key) if block)  # which of the blocks are not 0

    def __contains__(self, number: int) -> bool:
        block = number >> SHIFT
        return block < len(self.blocks) and self.blocks[block] >> (number & WITHIN) & 1 == 1

    def __iter__(self) -> Iterator[int]:
        """In ascending order."""
        for at, block in enumerate(self.blocks):
            yield from members(at, block)

    @property
    def key(self) -> tuple[int, ...]:
        """Equal for equal sets, and such a set can be made of it."""
        return tuple(self.blocks[: self.filled.bit_length()])

    def add(self, number: int) -> None:
        """Put `number` in, if it is not there."""
        block = number >> SHIFT
        while block >= len(self.blocks):
            self.blocks.append(0)
        self.blocks[block] |= 1 << (number & WITHIN)
        self.filled |= 1 << block

    def discard(self, number: int) -> None:
        """Take `number` out, if it is there."""
        if number in self:
            block = number >> SHIFT
            self.blocks[block] ^= 1 << (number & WITHIN)
            if not self.blocks[block]:
                self.filled ^= 1 << block

    def in_common(self, other: "Numbers") -> Iterator[int]:
        """The numbers in both, in ascending order; both may lose numbers meanwhile."""
        both = self.filled & other.filled
        while both:
            at = lowest(both)
            yield from members(at, self.blocks[at] & other.blocks[at])
            both &= both - 1

    def next_in_common(self, other: "Numbers", start: int) -> int | None:
        """The first number from `start` on that is in both, going round; None when there is none."""
        both = self.filled & other.filled
        block = start >> SHIFT
        if both >> block & 1 and (bits := (self.blocks[block] & other.blocks[block]) >> (start & WITHIN)):
            return start + lowest(bits)
        behind = (both >> (block + 1)) << (block + 1)
        for blocks in (behind, both ^ behind):
            if (found := self._first_in_common(other, blocks)) is not None:
                return found
        return None

    def _first_in_common(self, other: "Numbers", blocks: int) -> int | None:
        """The first number in both, and in these blocks."""
        while blocks:
            at = lowest(blocks)
            if bits := self.blocks[at] & other.blocks[at]:
                return (at << SHIFT) + lowest(bits)
            blocks &= blocks - 1
        return None


def members(block: int, bits: int) -> Iterator[int]:
    """The numbers that these bits of a block stand for."""
    while bits:
        yield (block << SHIFT) + lowest(bits)
        bits &= bits - 1


def lowest(bits: int) -> int:
    """The number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1
