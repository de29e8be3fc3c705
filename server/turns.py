"""Work that would keep others waiting, some of it each turn of the loop: reads with many packets, and long answers.

Who sends a few packets at a time is served at once. All others share what a turn may take: a read that begins while
something is left of it is handled whole; the rest of the packets, and of the answers, waits for the next turns, one
connection after the other. What a turn may take is renewed in the turn after it was used up: a callback for each turn
would have the loop look for events twice as often.
"""

import asyncio
import time
from collections import deque
from typing import Final, Protocol

# A read with so many packets is a small one. What others do in a turn costs some 10 microseconds each: 5 ms in all,
# and twice that at most, where the last read is as large.
FEW: Final = 32
A_TURN: Final = 500
SOME_BYTES: Final = 16 * 1024  # of a read that are looked at in one go: up to 1,365 packets, most often 150
A_PACKET: Final = 128  # bytes, about, that a packet takes in memory while it waits
# Seconds in which nothing is done, after each turn while somebody waits. The database's thread asks for the interpreter
# once it has waited for 5 ms, and that time begins anew whenever the loop lets go of it for an instant: between turns
# that are shorter the thread would never be let in, and nothing committed as long as a flood goes on.
LET_IN: Final = 50e-6
# Seconds before the next look where nobody who waits can take more.
WAIT: Final = 0.02


def let_in() -> None:
    """Let the database's thread have the interpreter, after bulk that was done on the loop."""
    time.sleep(LET_IN)


class Waiter(Protocol):
    """A connection with packets or a part of an answer that wait."""

    @property
    def can_go_on(self) -> bool:
        """There is room for more answers."""

    def go_on(self) -> bool:
        """Do some of it; does it wait for another turn?"""


class Turns:
    """The connections that wait, and what is left of this turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: deque[Waiter] = deque()
        self._left = A_TURN
        self._scheduled: asyncio.Handle | None = None
        self._dozing = False  # nobody who waits could go on

    @property
    def over(self) -> bool:
        """Nothing is left of this turn."""
        return self._left <= 0

    def take(self, count: int) -> int:
        """How many of so many packets may be handled in this turn: none, all, or of very many a part."""
        if self._left <= 0:
            return 0
        taken = min(count, A_TURN)
        self._left -= taken
        if self._left <= 0:
            self._schedule(0)
        return taken

    def add(self, waiter: Waiter) -> None:
        """It is to go on in a later turn."""
        self._waiters.append(waiter)
        self._schedule(0)

    @property
    def busy(self) -> bool:
        """Somebody waits."""
        return bool(self._waiters)

    def wake(self) -> None:
        """Somebody who waits may be able to go on."""
        if self._waiters:
            self._schedule(0)

    def _schedule(self, seconds: float) -> None:
        if self._scheduled is not None:
            if seconds or not self._dozing:
                return
            self._scheduled.cancel()
        self._dozing = seconds > 0
        soon, later = self._loop.call_soon, self._loop.call_later
        self._scheduled = later(seconds, self._next) if seconds else soon(self._next)

    def _next(self) -> None:
        self._scheduled = None
        self._left = A_TURN
        served = False
        try:
            for _ in range(len(self._waiters)):
                if self._left <= 0:
                    break
                waiter = self._waiters.popleft()
                if not waiter.can_go_on:
                    self._waiters.append(waiter)
                    continue
                served = True
                if waiter.go_on():
                    self._waiters.append(waiter)
        finally:
            if self._waiters:
                self._schedule(0 if served else WAIT)
            if served:
                let_in()
