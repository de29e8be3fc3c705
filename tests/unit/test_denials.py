"""Denied attempts in the log."""

import pytest

from gearmand_py.server.access import Access, Rule
from gearmand_py.server.denials import Denials
from gearmand_py.server.peers import Peer


def peer_from(address: str, certificate: str | None = None) -> Peer:
    peer = Peer(address)
    peer.certificate = certificate
    peer.rights = Access([Rule(), Rule(certificates=("a*",))]).rights(address, certificate, frozenset()) or peer.rights
    return peer


async def test_what_a_line_says(caplog: pytest.LogCaptureFixture) -> None:
    denied = Denials()
    denied(peer_from("10.0.0.1", "ann\n"), "may not work on pay")
    denied(peer_from("-"), "showed a wrong secret")
    assert caplog.messages == [
        "denied: 10.0.0.1 (certificate ann\\x0a) may not work on pay; rules for it: 1, 2",
        "denied: a Unix socket showed a wrong secret; rules for it: 1",
    ]
