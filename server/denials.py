"""Denied attempts in the log: the first ones of each address in full, the others counted.

How much is written is not for those to decide who try.
"""

import asyncio
import logging
from typing import Final

from gearmand_py.server.access import Allowance
from gearmand_py.server.admin import shown
from gearmand_py.server.peers import Peer

log = logging.getLogger(__name__)

# Lines about one address, and about all: so many at once, then one every so many seconds.
OF_ONE: Final = (5, 60.0)
OF_ALL: Final = (30, 2.0)
MOST_ADDRESSES: Final = 1_000
SUM_UP: Final = 60.0  # seconds after which the lines that were left out are told in one


class Denials:
    """Called with each of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._of_one = Allowance(*OF_ONE, MOST_ADDRESSES)
        self._of_all = Allowance(*OF_ALL, 1)
        self._left_out = 0

    def __call__(self, peer: Peer, what: str) -> None:
        """A peer was denied something: `what` it did, or may not do."""
        now = self._loop.time()
        if self._of_one.take(peer.address, now) and self._of_all.take("", now):
            log.warning("denied: %s %s; %s", described(peer), what, rules_of(peer))
            return
        if not self._left_out:
            self._loop.call_later(SUM_UP, self._sum_up)
        self._left_out += 1

    def _sum_up(self) -> None:
        log.warning("denied: and %d more in the last %d s", self._left_out, SUM_UP)
        self._left_out = 0


def described(peer: Peer) -> str:
    """Address, and the name in the certificate."""
    address = "a Unix socket" if peer.address == "-" else peer.address
    if peer.certificate is None:
        return address
    return f"{address} (certificate {shown(peer.certificate.encode('utf-8', 'replace'))})"


def rules_of(peer: Peer) -> str:
    """Which rules say what it may do."""
    rules = ", ".join(map(str, peer.rights.rules))
    return f"rules for it: {rules}" if rules else "no rule for it"
