"""The interpreter, shared with the database's thread: how long that waits before it is let in.

Its time begins anew whenever the loop gives the interpreter back between two events. So where these are shorter than
the usual 5 ms it would be kept out for as long as the loop is busy, at each of some hundred steps of a large commit.
"""

import sys
from typing import Final

LET_IN: Final = 0.0005  # seconds


class Sharing:
    """Let it in sooner while there is a reason."""

    def __init__(self) -> None:
        self._usual = sys.getswitchinterval()
        self._reasons: set[str] = set()

    def hurry(self, reason: str) -> None:
        """There is this one."""
        self._reasons.add(reason)
        sys.setswitchinterval(LET_IN)

    def relax(self, reason: str) -> None:
        """There is not."""
        self._reasons.discard(reason)
        if not self._reasons:
            sys.setswitchinterval(self._usual)
