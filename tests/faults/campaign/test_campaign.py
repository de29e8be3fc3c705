"""The fault campaign. `FAULT_ROUNDS` is how many rounds on each database (4), `FAULT_SEED` where they begin.

With `FAULT_MINUTES` each database has its share of that time instead.
"""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from gearmand_py.server.client import ClientError
from tests.databases.kinds import REFUSALS
from tests.databases.selection import SELECTED
from tests.databases.server import OwnedServer
from tests.databases.sources import own_server
from tests.faults.campaign import rounds
from tests.faults.campaign.ground import Ground, ground_on
from tests.faults.campaign.ledger import Ledger
from tests.faults.campaign.plan import BLOCK, block_of, options_of, plan_of
from tests.faults.campaign.report import Report, keep

ROUNDS: Final = int(os.environ.get("FAULT_ROUNDS") or 4)
SEED: Final = os.environ.get("FAULT_SEED")
MINUTES: Final = float(os.environ.get("FAULT_MINUTES") or 0)
SEEDS: Final = 10**6
FORBIDDEN: Final = ("Traceback", "never retrieved", "never awaited", "was destroyed but it is pending")


@pytest.fixture(params=SELECTED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(kind: str) -> Iterator[OwnedServer | None]:
    """The server behind the server, if it takes one."""
    with ExitStack() as stack:
        yield None if kind == "sqlite" else stack.enter_context(own_server(kind))


def test_nothing_acknowledged_is_lost(kind: str, database: OwnedServer | None, tmp_path: Path) -> None:
    # A whole number of blocks apart, so that a run of few rounds is mostly one of a single server.
    first = int(SEED) if SEED else random.SystemRandom().randrange(SEEDS // BLOCK) * BLOCK
    report = Report(kind, first)
    began = monotonic()
    try:
        failures = list(run_blocks(kind, database, tmp_path, report))
    finally:
        report.seconds = monotonic() - began
        report.write()
        print(report)  # noqa: T201 - what the run was for
    assert not failures, "\n\n".join(failures)


def run_blocks(kind: str, database: OwnedServer | None, folder: Path, report: Report) -> Iterator[str]:
    """Rounds until there were enough; yields what to say of those that failed. Each of these ends its block."""
    seed, until = report.first, monotonic() + MINUTES * 60 / len(SELECTED)

    def goes_on() -> bool:
        return monotonic() < until if MINUTES else seed < report.first + ROUNDS

    while goes_on():
        block = block_of(seed)
        options = options_of(block)
        with ground_on(folder / str(seed), database, options) as ground:
            state = rounds.Block(ground, Ledger(limited=options.job_retries >= 0))
            wrong = ""
            while goes_on() and block_of(seed) == block and not wrong:
                wrong = run_round(kind, state, seed, report)
                seed += 1
            wrong = wrong or end(kind, ground, seed - 1, report)
            report.jobs.update(state.ledger.counts)
        if wrong:
            yield wrong


def run_round(kind: str, state: rounds.Block, seed: int, report: Report) -> str:
    """One; returns what to say if it failed."""
    plan = plan_of(seed, kind)
    events: list[str] = []
    try:
        anomalies = rounds.run(state, plan, report.faults, events)
    except (AssertionError, ClientError, *REFUSALS, pytest.fail.Exception) as error:
        anomalies = [*state.ledger.anomalies, repr(error)]
    log = state.ground.server.stderr
    anomalies += [f"the server's log has {word!r}" for word in FORBIDDEN if word in log]
    report.rounds += 1
    if not anomalies:
        return ""
    report.failed.append(seed)
    return keep(kind, plan, anomalies, events, log)


def end(kind: str, ground: Ground, seed: int, report: Report) -> str:
    """Stop the server of a block in order; returns what to say if that failed."""
    code = ground.server.stop()
    log = ground.server.stderr
    wrong = [f"the server's log has {word!r}" for word in FORBIDDEN if word in log]
    wrong += [f"the server ended with exit code {code}"] if code else []
    if not wrong:
        return ""
    report.failed.append(seed)
    return keep(kind, plan_of(seed, kind), wrong, ["after the last round of its block"], log)
