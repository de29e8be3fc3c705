"""Each flood in short: others are served meanwhile, memory stays within its budget, and nothing is left of it."""

import pytest

from tests.conftest import StartServer
from tests.floods.__main__ import fill
from tests.floods.trial import FLOODS, LIMITS, READING, SLOWER, Flood, undergo


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood(start_server: StartServer, flood: Flood) -> None:
    server = start_server(*LIMITS)
    if flood.backlog:
        fill(server, flood.backlog // 50)
    outcome = undergo(server, flood, flood.short, seconds=0.5, calm=0.3)
    assert outcome.during.foreground, "nobody was served during the flood"
    assert outcome.during.background
    assert outcome.peak <= outcome.budget
    assert outcome.state_after.files <= outcome.state_before.files + READING
    assert outcome.state_after.peers <= outcome.state_before.peers
    assert outcome.state_after.threads <= outcome.state_before.threads + READING
    assert outcome.rate_after > outcome.rate_before / SLOWER
    assert server.is_running
