"""kill -9 under load, again and again on one queue: no acknowledged job is lost, each is executed, in order.

`CRASH_ROUNDS` is how often (5), `CRASH_SEED` repeats a run that failed. With `GEARLOAD`, the path of the C load
generator of that name, its submitters are a second load.
"""

import os
import random
import signal
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from tests.conftest import StartServer
from tests.databases.queues import Queue, new_queue
from tests.databases.selection import SELECTED
from tests.harness.process import Process
from tests.harness.server import COMMAND, HOST, Server
from tests.harness.tools import need
from tests.load import Execution, Load, Record, drain, priority_of

ROUNDS: Final = int(os.environ.get("CRASH_ROUNDS", "5"))
SEED: Final = os.environ.get("CRASH_SEED")
GEARLOAD: Final = os.environ.get("GEARLOAD")

NOW: Final = b"now"  # worked on under load
LATER: Final = b"later"  # waits for the end
# In a round, until the server is killed. On a busy machine 64 jobs are acknowledged for each that a worker gets done.
MOST_ACKNOWLEDGED: Final = 5000
MOST_EXECUTED: Final = 400
LONGEST_EXTRA: Final = 0.05  # seconds; longer than a batch takes, so that any moment of it may be the last


class PythonRound:
    """8 submitters with 64 jobs in flight each, of two functions and all priorities; 8 workers for one of these."""

    same_priority = False

    def __init__(self, server: Server, record: Record, _folder: Path, chance: random.Random) -> None:
        self._record = record
        self._acknowledged = len(record.acknowledged) + chance.randint(1, MOST_ACKNOWLEDGED)
        self._executed = len(record.executed) + chance.randint(1, MOST_EXECUTED)
        self._load = Load(server.port, record, submitted=(NOW, LATER), worked=(NOW,))

    def wait(self) -> None:
        """Until a random number of jobs was acknowledged, and of others executed."""
        self._load.wait_until(lambda: len(self._record.acknowledged) >= self._acknowledged)
        self._load.wait_until(lambda: len(self._record.executed) >= self._executed)

    def goes_on_for(self, seconds: float) -> bool:
        """Whether the server still is there after that time."""
        return self._load.goes_on_for(seconds)

    def end(self) -> None:
        """The server is gone: complete the record."""
        self._load.stop()


class GearloadRound:
    """The same with the submitters of gearload, whose jobs are all of one function and priority."""

    JOBS: Final = 50_000  # more than the server takes until it is killed
    same_priority = True

    def __init__(self, server: Server, record: Record, folder: Path, chance: random.Random) -> None:
        assert GEARLOAD
        self._record = record
        self._executed = len(record.executed) + chance.randint(1, MOST_EXECUTED)
        self._log = folder / f"acknowledged.{record.submitted}"
        self._load = Load(server.port, record, submitted=(), worked=(NOW,), submitters=0)
        connections = ["-H", HOST, "-p", str(server.port), "-c", "8", "-w", "64"]
        jobs = ["-f", NOW.decode(), "-n", str(self.JOBS), "-S", str(record.submitted), "-u", "uuid"]
        self._submitters = Process([GEARLOAD, "submit", *connections, *jobs, "-A", str(self._log)])
        record.submitted += self.JOBS

    def wait(self) -> None:
        """Until a random number of jobs was executed; gearload does not tell how many were acknowledged until then."""
        self._load.wait_until(lambda: len(self._record.executed) >= self._executed)

    def goes_on_for(self, seconds: float) -> bool:
        """Whether the server still is there after that time."""
        return self._load.goes_on_for(seconds)

    def end(self) -> None:
        """The server is gone: complete the record."""
        self._load.stop()
        with self._submitters:
            assert self._submitters.wait() in (0, 1)  # all jobs acknowledged, or the server gone before
        acknowledged = array("Q")
        acknowledged.frombytes(self._log.read_bytes())
        self._record.acknowledged.update(acknowledged)


Round = PythonRound | GearloadRound
ROUND_TYPES: Final = (PythonRound, GearloadRound) if GEARLOAD else (PythonRound,)


@pytest.fixture(params=SELECTED)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty queue on each of the databases."""
    with new_queue(request.param, tmp_path) as queue:
        yield queue


@pytest.mark.parametrize("round_type", ROUND_TYPES)
def test_no_acknowledged_job_is_lost(
    start_server: StartServer, queue: Queue, tmp_path: Path, round_type: type[Round]
) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"CRASH_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    record = Record()
    server = start_server(database=queue.url)
    for _ in range(ROUNDS):
        run_and_kill(server, round_type(server, record, tmp_path, chance), chance)
        record.restart()
        server.restart()

    server.jobs_found()  # it knows them all
    waiting = {function: drain(server.port, record, function) for function in (LATER, NOW)}
    assert record.lost == set()
    assert record.anomalies == []
    assert not record.refused
    assert set(record.executed) <= set(range(record.submitted))
    for executions in waiting.values():
        assert out_of_order(executions, same_priority=round_type.same_priority) == []
    assert server.stop() == 0
    assert queue.length == 0
    # The rounds were what they should be: there was something to lose, waiting and running.
    assert len(record.acknowledged) > 10 * ROUNDS
    assert sum(map(len, waiting.values())) > ROUNDS
    assert len(record.executed) > sum(map(len, waiting.values()))


@pytest.mark.parametrize(
    ("call", "number"),
    [*(("pwrite64", number) for number in (1, 2, 4, 6, 8)), *(("fdatasync", number) for number in (1, 2, 4))],
)
def test_a_server_killed_while_it_makes_its_database(
    tmp_path: Path, start_server: StartServer, call: str, number: int
) -> None:
    strace = [need("strace"), "-f", "-qq", "-o", "/dev/null", f"--trace={call}"]
    command = [str(COMMAND), "--port", "0", "--database", f"sqlite:///{tmp_path / 'queue.db'}"]
    with Process([*strace, f"--inject={call}:signal=KILL:when={number}", *command]) as killed:
        assert killed.wait() == -signal.SIGKILL
        assert "listening" not in killed.stderr
    server = start_server()
    with server.connect() as client:
        client.ask(packets.SUBMIT_JOB_BG, LATER, b"", b"", answer=packets.JOB_CREATED)


def run_and_kill(server: Server, load: Round, chance: random.Random) -> None:
    """Let it run to a random number of jobs and some random time on, then kill the server."""
    try:
        load.wait()
        assert load.goes_on_for(chance.uniform(0, LONGEST_EXTRA)), f"the server went by itself\n{server.stderr}"
    finally:
        server.kill()
        load.end()


def out_of_order(executions: list[Execution], *, same_priority: bool) -> list[Execution]:
    """Jobs that were handed out before one they should have come after: of higher priority, or submitted earlier."""
    order = [(0 if same_priority else priority_of(job.sequence), job.id) for job in executions]
    return [job for job, this, following in zip(executions, order, order[1:], strict=False) if this >= following]
