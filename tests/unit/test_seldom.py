"""Warnings that strangers can cause."""

import asyncio
import logging
from typing import Final

import pytest

from gearmand_py.server import seldom
from gearmand_py.server.seldom import OF_ALL, OF_ONE, Seldom

LOG: Final = logging.getLogger("strangers")


async def test_what_is_left_out_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seldom, "SUM_UP", 0.0)
    warnings = Seldom(LOG)
    for number in range(OF_ONE[0] + 1000):
        warnings.warn("10.0.0.1", "mistake %d", number)
    warnings.warn("10.0.0.2", "another")
    async with asyncio.timeout(20):
        while len(caplog.messages) < OF_ONE[0] + 2:
            await asyncio.sleep(0)
    assert caplog.messages == [
        *(f"mistake {number}" for number in range(OF_ONE[0])),
        "another",
        "... and 1000 more such lines in the last 0 s",
    ]


async def test_many_addresses_write_no_more_than_few(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Seldom(LOG)
    for number in range(5000):
        warnings.warn(f"10.0.{number // 250}.{number % 250}", "mistake")
    assert len(caplog.messages) <= OF_ALL[0] + 5000 // 100  # one more each 2 s, on the slowest of machines
