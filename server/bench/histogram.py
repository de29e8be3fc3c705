"""Latencies in buckets that grow with them, as HdrHistogram has it: 1 part in 128 exact, from nanoseconds to hours."""

import math
from collections.abc import Iterator
from typing import Final

PRECISION: Final = 7  # bits of a value that tell its bucket, below the highest one
BITS: Final = 46
HIGHEST: Final = (1 << BITS) - 1  # nanoseconds: 19 hours
BUCKETS: Final = (BITS - PRECISION + 1) << PRECISION


class Histogram:
    """Counts of values from 0 to HIGHEST; one outside counts as the nearest inside."""

    __slots__ = ("_counts", "count", "maximum")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0
        self.maximum = 0

    def add(self, value: int) -> None:
        """One more value."""
        value = min(max(value, 0), HIGHEST)
        shift = value.bit_length() - PRECISION - 1
        self._counts[(shift << PRECISION) + (value >> shift) if shift > 0 else value] += 1
        self.count += 1
        self.maximum = max(self.maximum, value)

    def merge(self, other: "Histogram") -> None:
        """The other's values too."""
        for index, count in enumerate(other._counts):  # noqa: SLF001 (of our own kind)
            self._counts[index] += count
        self.count += other.count
        self.maximum = max(self.maximum, other.maximum)

    def percentile(self, percent: float) -> int | None:
        """The value that so many are not above, by nearest rank, up to 1 part in 128 too high; None if it is empty."""
        rank = max(1, math.ceil(self.count * percent / 100))
        for _, above, count in self.buckets():
            rank -= count
            if rank <= 0:
                return min(above - 1, self.maximum)
        return None

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """Those that are not empty, in order: the lowest value, the first above, how many."""
        for index, count in enumerate(self._counts):
            if count:
                yield lowest(index), lowest(index + 1), count


def lowest(index: int) -> int:
    """The lowest value of a bucket."""
    shift = max((index >> PRECISION) - 1, 0)
    return (index - (shift << PRECISION)) << shift
