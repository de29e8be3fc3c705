"""Jobs whose time is to come, as ids: 16 bytes each while they are far off.

What is far lies in boxes of 17 minutes, unsorted. A box is opened a box's time ahead, a page at each look, and its ids
go into one list for each second, which is what times are given in.
"""

from array import array
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain
from math import inf
from typing import Final

BOX_SECONDS: Final = 1024
PAGE: Final = 5000  # ids taken out of a box at a time, in about a millisecond

Box = tuple["array[int]", "array[int]"]


class Later:
    """Ids by the second (wall clock) at which they are due."""

    __slots__ = ("_boxes", "_nearest", "_seconds", "_size", "_times", "left_from")

    def __init__(self) -> None:
        self._boxes: dict[int, Box] = {}  # by their number: when, id
        self._nearest: list[int] = []  # a heap of box numbers
        self._seconds: dict[int, array[int]] = {}
        self._times: list[int] = []  # a heap of seconds
        self._size = 0
        self.left_from = inf  # the first second that was due at the last look and was not taken yet

    def __len__(self) -> int:
        return self._size

    def ids(self) -> Iterator[int]:
        """Those that are there now; it may change meanwhile."""
        return chain.from_iterable([*(ids for _, ids in self._boxes.values()), *self._seconds.values()])

    def add(self, id_: int, when: int, now: float) -> None:
        """`id_` is due at `when`, epoch seconds."""
        self._size += 1
        box = when // BOX_SECONDS
        if box <= now // BOX_SECONDS + 1 and box not in self._boxes:
            self._add_near(id_, when)
            return
        if box not in self._boxes:
            self._boxes[box] = array("q"), array("q")
            heappush(self._nearest, box)
        whens, ids = self._boxes[box]
        whens.append(when)
        ids.append(id_)

    def _add_near(self, id_: int, when: int) -> None:
        if when not in self._seconds:
            self._seconds[when] = array("q")
            heappush(self._times, when)
        self._seconds[when].append(id_)

    def next(self) -> float:
        """When there is something to do: a box to open, or ids due; infinity when there is nothing."""
        opens = (self._nearest[0] - 1) * BOX_SECONDS if self._nearest else inf
        return min(opens, self._times[0] if self._times else inf)

    def take_due(self, now: float, most: int) -> list[int]:
        """Remove and return ids that are due, earliest first, about `most` of them; look again while `next` is past."""
        if self._nearest and (self._nearest[0] - 1) * BOX_SECONDS <= now:
            self._open_box()
        due: list[int] = []
        while self._times and self._times[0] <= now and len(due) < most:
            if self._nearest and self._nearest[0] * BOX_SECONDS <= self._times[0]:
                break  # after a jump of the clock: what is still in the box may be due before it
            due += self._seconds.pop(heappop(self._times))
        self._size -= len(due)
        left = min(self._times[0] if self._times else inf, self._nearest[0] * BOX_SECONDS if self._nearest else inf)
        self.left_from = left if left <= now else inf
        return due

    def _open_box(self) -> None:
        """Take a page of the nearest box."""
        box = self._nearest[0]
        whens, ids = self._boxes[box]
        for when, id_ in zip(whens[:PAGE], ids[:PAGE], strict=True):
            self._add_near(id_, when)
        if len(ids) > PAGE:
            self._boxes[box] = whens[PAGE:], ids[PAGE:]  # not in place: somebody may be going through them
        else:
            del self._boxes[heappop(self._nearest)]
