"""Warnings that a stranger can cause: at most so many in a while, the others are counted."""

import asyncio
import logging
import time
from typing import Final

LINES: Final = 10
SECONDS: Final = 10.0


class Seldom:
    """Ten lines in ten seconds, and then one that says how many more there would have been. Needs a running loop."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._until = 0.0
        self._left = 0
        self._untold = 0

    def warn(self, text: str, *arguments: object) -> None:
        """Say it, or count it."""
        now = time.monotonic()
        if now >= self._until:
            self._until, self._left = now + SECONDS, LINES
        if self._left:
            self._left -= 1
            self._log.warning(text, *arguments)
            return
        if not self._untold:
            asyncio.get_running_loop().call_later(self._until - now, self._tell)
        self._untold += 1

    def _tell(self) -> None:
        self._log.warning("... and %d more such lines within %.0f seconds", self._untold, SECONDS)
        self._untold = 0
