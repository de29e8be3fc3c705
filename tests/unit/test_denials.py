"""Denied attempts in the log."""

import asyncio
import logging

import pytest

from gearmand_py.server import denials
from gearmand_py.server.access import Access, Rule
from gearmand_py.server.denials import OF_ALL, OF_ONE, Denials
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


async def test_what_is_left_out_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "SUM_UP", 0.0)
    summed_up = asyncio.Event()
    loop, sum_up = asyncio.get_running_loop(), Denials._sum_up

    def watched(self: Denials) -> None:
        sum_up(self)
        loop.call_soon(summed_up.set)

    monkeypatch.setattr(Denials, "_sum_up", watched)
    denied = Denials()
    for _ in range(OF_ONE[0] + 1000):
        denied(peer_from("10.0.0.1"), "may not work on pay")
    denied(peer_from("10.0.0.2"), "may not work on pay")
    await asyncio.wait_for(summed_up.wait(), 20)
    assert len(caplog.messages) == OF_ONE[0] + 2
    assert caplog.messages[-1] == "denied: and 1000 more in the last 0 s"


async def test_many_addresses_write_no_more_than_few(caplog: pytest.LogCaptureFixture) -> None:
    denied = Denials()
    with caplog.at_level(logging.WARNING):
        for number in range(5000):
            denied(peer_from(f"10.0.{number // 250}.{number % 250}"), "may not connect")
    assert len(caplog.messages) <= OF_ALL[0] + 5000 // 100  # one more each 2 s, on the slowest of machines
