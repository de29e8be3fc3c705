"""Warnings that strangers can cause: a few about each, a few in all, and the others are counted.

How much is written is not for those to decide who try.
"""

import asyncio
import logging
from typing import Final

from gearmand_py.server.allowance import Allowance

# Lines about one, and about all: so many at once, then one every so many seconds.
OF_ONE: Final = (5, 60.0)
OF_ALL: Final = (30, 2.0)
MOST_REMEMBERED: Final = 1_000
SUM_UP: Final = 10.0  # seconds after which the lines that were left out are told in one


class Seldom:
    """Needs a running loop."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._of_one = Allowance(*OF_ONE, MOST_REMEMBERED)
        self._of_all = Allowance(*OF_ALL, 1)
        self._left_out = 0

    def warn(self, about: str, text: str, *arguments: object) -> None:
        """Say it, or count it. `about` whom or what it is: an address, with an option or without."""
        loop = asyncio.get_running_loop()
        if self._of_one.take(about, loop.time()) and self._of_all.take("", loop.time()):
            self._log.warning(text, *arguments)
            return
        if not self._left_out:
            loop.call_later(SUM_UP, self._sum_up)
        self._left_out += 1

    def _sum_up(self) -> None:
        self._log.warning("... and %d more such lines in the last %d s", self._left_out, SUM_UP)
        self._left_out = 0
