"""What listings go through: copies, since what is listed changes meanwhile.

A copy of a million jobs takes 8 MB for as long as its listing is not read to the end, and ten thousand peers may ask
for one and read nothing. So all copies together have a bound: beyond it the listing that has made no progress for the
longest time loses its copy.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

MOST: Final = 4_000_000  # entries in all, 8 bytes each
PROGRESS: Final = 100  # entries after which a listing counts as read on

Entry = TypeVar("Entry")


class Taken(Exception):
    """A listing has lost its copy."""


class Copies:
    """Those of all listings underway. One alone may have more than `most` entries."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.size = 0
        self._copies: dict[object, list[Any]] = {}  # who has made no progress for the longest time first

    def walk(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Go through these entries as they are when the first is asked for. Raises Taken."""
        key, copy = object(), list(entries)
        self._copies[key] = copy
        self.size += len(copy)
        self._make_room()
        try:
            for number, entry in enumerate(copy):
                if not number % PROGRESS:
                    self._copies[key] = self._copies.pop(key)
                yield entry
            if key not in self._copies:
                raise Taken
        finally:
            self._forget(key)

    def _make_room(self) -> None:
        while self.size > self.most and len(self._copies) > 1:
            self._forget(next(iter(self._copies)))

    def _forget(self, key: object) -> None:
        copy = self._copies.pop(key, None)
        if copy is not None:
            self.size -= len(copy)
            copy.clear()
