"""Long answers, one slice of one of them each turn of the loop: nobody else waits longer than a slice takes."""

import asyncio
from collections import deque
from typing import Final, Protocol

# Before the next look where nobody who is listed to can take more.
WAIT: Final = 0.02


class Listener(Protocol):
    """A connection with a long answer."""

    @property
    def can_take(self) -> bool:
        """There is room for more of it."""

    def go_on(self) -> bool:
        """Send the next slice; is there more?"""


class Listings:
    """The connections with long answers, in turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: deque[Listener] = deque()
        self._scheduled = False

    def add(self, listener: Listener) -> None:
        """It has got the first slice."""
        self._listeners.append(listener)
        self._schedule(0)

    def _schedule(self, seconds: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            if seconds:
                self._loop.call_later(seconds, self._next)
            else:
                self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        wait = WAIT
        try:
            for _ in range(len(self._listeners)):
                listener = self._listeners.popleft()
                if not listener.can_take:
                    self._listeners.append(listener)
                    continue
                wait = 0
                if listener.go_on():
                    self._listeners.append(listener)
                break
        finally:
            if self._listeners:
                self._schedule(wait)
