"""kill -9 of the database under load, again and again: nothing acknowledged is lost, and the pace comes back.

`OUTAGE_ROUNDS` is how often (2), `OUTAGE_SEED` repeats a run that failed. With `GEARLOAD`, the path of the C load
generator of that name, its submitters are a second load.
"""

import os
import random
from array import array
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.faults.conftest import Tell
from tests.faults.outages import RECOVERY, SLACK, Place
from tests.faults.story import DOWN, PATIENCE, UP, Story
from tests.faults.under_load import LATER, NOW, compare
from tests.harness.process import Process
from tests.harness.server import HOST
from tests.load import Load, Record

ROUNDS: Final = int(os.environ.get("OUTAGE_ROUNDS", "2"))
SEED: Final = os.environ.get("OUTAGE_SEED")
GEARLOAD: Final = os.environ.get("GEARLOAD")
JOBS: Final = 50_000  # of gearload
JOBS_SECONDS: Final = 300.0
MOST_ACKNOWLEDGED: Final = 3000  # in a round, until the database is killed
PACE_SECONDS: Final = 0.3  # the pace is taken over this time
LEAST_PACE: Final = 0.25  # of what it was before; other tests may run


def test_a_database_killed_under_load(place: Place, tell_of: Tell) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"OUTAGE_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    story = tell_of(place, timeout=60)
    record = Record()
    load = Load(story.server.port, record, submitted=(NOW, LATER), worked=(NOW,))
    try:
        for _ in range(ROUNDS):
            before = pace(load)
            wait_for_more(load, chance.randint(1, MOST_ACKNOWLEDGED))
            lose_database(place, story)
            expect_pace(load, before * LEAST_PACE)
    finally:
        story.server.kill()
        load.stop()
    assert record.refused == {}
    compare(place, story, record)
    story.expect_log(*[DOWN, UP] * ROUNDS)


@pytest.mark.parametrize("gearload", [GEARLOAD] if GEARLOAD else [])
def test_the_same_with_gearload(place: Place, tell_of: Tell, tmp_path: Path, gearload: str) -> None:
    story = tell_of(place, timeout=60)
    record = Record()
    record.submitted = JOBS
    load = Load(story.server.port, record, submitted=(), worked=(NOW,), submitters=0)
    connections = ["-H", HOST, "-p", str(story.server.port), "-c", "8", "-w", "64"]
    jobs = ["-f", NOW.decode(), "-n", str(JOBS), "-u", "uuid", "-A", str(tmp_path / "acknowledged")]
    try:
        with Process([gearload, "submit", *connections, *jobs]) as submitters:
            for number in range(ROUNDS):
                load.wait_until(lambda number=number: len(record.executed) > number * 1000)  # type: ignore[misc]
                lose_database(place, story)
            assert submitters.wait(JOBS_SECONDS) == 0
    finally:
        story.server.kill()
        load.stop()
    acknowledged = array("Q")
    acknowledged.frombytes((tmp_path / "acknowledged").read_bytes())
    assert len(acknowledged) == JOBS
    record.acknowledged.update(acknowledged)
    compare(place, story, record)
    story.expect_log(*[DOWN, UP] * ROUNDS)


def lose_database(place: Place, story: Story) -> None:
    """kill -9, a foreground job meanwhile, start, and what is stored again."""
    place.server.kill()
    story.server.expect(DOWN.encode())
    story.run_foreground_job()
    place.server.start()
    began = monotonic()
    story.server.expect(UP.encode())
    assert monotonic() - began < RECOVERY + SLACK


def wait_for_more(load: Load, count: int) -> None:
    """Until so many more jobs are acknowledged."""
    enough = len(load.record.acknowledged) + count
    load.wait_until(lambda: len(load.record.acknowledged) >= enough)


def expect_pace(load: Load, least: float) -> None:
    """It comes back, if not at once: what else runs here takes its turns too."""
    until = monotonic() + PATIENCE
    while (found := pace(load)) <= least:
        assert monotonic() < until, f"{found} jobs a second, not {least}"


def pace(load: Load) -> float:
    """Jobs acknowledged in a second."""
    before = len(load.record.acknowledged)
    assert load.goes_on_for(PACE_SECONDS)
    return (len(load.record.acknowledged) - before) / PACE_SECONDS
