"""Denied attempts in the log."""

import logging

from gearmand_py.server.admin import shown
from gearmand_py.server.peers import Peer
from gearmand_py.server.seldom import Seldom

log = logging.getLogger(__name__)


class Denials:
    """Called with each of them."""

    def __init__(self) -> None:
        self._lines = Seldom(log)

    def __call__(self, peer: Peer, what: str) -> None:
        """A peer was denied something: `what` it did, or may not do."""
        self._lines.warn(peer.address, "denied: %s %s; %s", described(peer), what, rules_of(peer))


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
