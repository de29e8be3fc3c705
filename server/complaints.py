"""Log lines about peers, few of each kind however many there would be."""

import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

EVERY: Final = 10.0  # seconds between two lines of a kind


class Complaints:
    """The first line of a kind is logged at once; of those after it the last, with their number, some time later.

    `clock` gives seconds. Kinds are few: options, not addresses.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}  # by kind
        self._kept: dict[str, tuple[int, str]] = {}  # how many were not logged, and the last of them

    def say(self, kind: str, line: str) -> None:
        """Log a line, now or later."""
        now = self._clock()
        if now >= self._next.get(kind, 0.0):
            self.catch_up()
            self._next[kind] = now + EVERY
            log.warning("%s", line)
        else:
            count, _ = self._kept.get(kind, (0, ""))
            self._kept[kind] = count + 1, line

    @property
    def waiting(self) -> bool:
        """There are lines to be caught up with."""
        return bool(self._kept)

    def catch_up(self) -> None:
        """Log what was kept back and is due."""
        now = self._clock()
        for kind in [kind for kind in self._kept if now >= self._next[kind]]:
            count, line = self._kept.pop(kind)
            self._next[kind] = now + EVERY
            log.warning("%s", f"{line} (and {count - 1} more such lines since the last)" if count > 1 else line)
