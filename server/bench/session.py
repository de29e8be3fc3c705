"""One server under load: its phases in order, the ledger of all its jobs, and nothing left behind."""

import logging
import secrets
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from gearmand_py.server.bench.crew import Aim, Crew
from gearmand_py.server.bench.histogram import Histogram
from gearmand_py.server.bench.load import Load, Phase, function_prefix
from gearmand_py.server.bench.source import RUN_SIZE, SECOND
from gearmand_py.server.bench.tally import Tally
from gearmand_py.server.bench.watch import Bar, Interrupts
from gearmand_py.server.client import Address, Client, ClientError, ServerError

log = logging.getLogger(__name__)

# What is measured of each mode: attributes of Tally.
LATENCIES: Final = {
    "submit": ("ack",),
    "work": (),
    "both": ("ack", "start"),
    "foreground": ("ack", "start", "round_trip"),
}
NOTICE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one mode gave in one round: jobs and nanoseconds from the start to the last of them, and latencies."""

    mode: str
    jobs: int
    nanoseconds: int
    latencies: dict[str, Histogram]
    busy: list[float]  # part of the time that each process was not waiting

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs * SECOND / self.nanoseconds if self.nanoseconds > 0 else 0.0


class Ledger:
    """All jobs of a session. Sets of numbers are ints: bit 8n is number n."""

    def __init__(self) -> None:
        self.submitted = 0
        self.doubled = 0
        self.foreign = 0
        self.failed = 0
        self.unanswered = 0  # submissions that the server neither acknowledged nor refused
        self.refused: dict[str, int] = {}
        self.unexpected: dict[str, int] = {}
        self._acknowledged = 0
        self._ran = 0
        self._without_result = 0

    @property
    def acknowledged(self) -> int:
        """How many jobs the server has taken."""
        return self._acknowledged.bit_count()

    @property
    def ran(self) -> int:
        """How many jobs a worker got."""
        return self._ran.bit_count()

    @property
    def waiting(self) -> int:
        """How many jobs were acknowledged and did not run: they wait, or are lost."""
        return (self._acknowledged & ~self._ran).bit_count()

    @property
    def missing(self) -> int:
        """How many jobs were acknowledged and did not run, or ran and were not answered."""
        return (self._acknowledged & ~self._ran | self._without_result).bit_count()

    def add(self, phase: Phase, tallies: list[Tally], *, cut_short: bool) -> None:
        """What a phase has seen."""
        acknowledged = answered = 0
        for tally in tallies:
            self._count(tally)
            acknowledged |= tally.acked.as_int()
            answered |= tally.answered.as_int()
            ran = tally.ran.as_int()
            self.doubled += (self._ran & ran).bit_count()
            self._ran |= ran
        if not cut_short:
            self.unanswered += sum(tally.submitted - tally.answers for tally in tallies)
        if phase.foreground and cut_short:
            acknowledged = answered  # the others were given up
        elif phase.foreground:
            self._without_result |= acknowledged & ~answered
        self._acknowledged |= acknowledged

    def _count(self, tally: Tally) -> None:
        self.submitted += tally.submitted
        self.doubled += tally.doubled
        self.foreign += tally.foreign
        self.failed += tally.failed
        for mine, its in ((self.refused, tally.refused), (self.unexpected, tally.unexpected)):
            for word, count in its.items():
                mine[word] = mine.get(word, 0) + count


class Session(AbstractContextManager["Session"]):
    """A server in use. `failure` is what ended a phase early; nothing can be done after that.

    Raises ClientError when the server is not there.
    """

    def __init__(self, crew: Crew, server: Address, load: Load, interrupts: Interrupts) -> None:
        self.server = server
        self.ledger = Ledger()
        self.left = 0  # jobs that were not taken out of the queue again
        self.failure: Exception | None = None
        self._crew = crew
        self._load = load
        self._interrupts = interrupts
        self._run = secrets.token_bytes(RUN_SIZE)
        self._next = 0  # number of a job
        self.prefix = function_prefix(self._run)  # of the names of its functions
        self._client = Client.connect(*server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    # ---- phases

    def warm_up(self, seconds: float) -> None:
        """Jobs that are not measured."""
        self._do("both", "warm-up", replace(self._load, jobs=None, seconds=seconds))

    def measure(self, mode: str) -> Measured:
        """One mode. What it takes to begin it is not measured."""
        if mode == "work" and not self.ledger.waiting:
            self._do("submit", "jobs to work on")
        elif mode in ("both", "foreground"):
            self._drain()
        return self._do(mode, mode)

    def _drain(self, signals: int = 1) -> None:
        if self._may_go_on(signals) and (self.ledger.waiting or not self._is_empty()):
            self._do("work", "taking jobs out", signals=signals)

    def _may_go_on(self, signals: int) -> bool:
        return self.failure is None and self._interrupts.count < signals

    def _do(self, mode: str, label: str, load: Load | None = None, signals: int = 1) -> Measured:
        """Let the crew do it, until so many signals have come."""
        load = load or self._load
        submits, works = mode != "work", mode != "submit"
        phase = Phase(self.server, load, self._run, self._next, submits, works, mode == "foreground")
        jobs = None if submits else self.ledger.waiting
        length = load.jobs or 0 if jobs is None else jobs
        with Bar(f"{label} on {self.server}", length, load.seconds if submits else None) as bar:
            aim = Aim(jobs, self._is_empty, lambda: not self._may_go_on(signals), bar.move_to)
            start, tallies = self._crew.run(phase, aim)
        self._next += self._crew.size * (max(tally.submitted for tally in tallies) + 1)
        self.failure = self.failure or next((tally.failure for tally in tallies if tally.failure), None)
        self.ledger.add(phase, tallies, cut_short=not self._may_go_on(signals))
        return measured(mode, start, tallies)

    def _is_empty(self) -> bool:
        """Whether the server has no job of ours any more; also when it does not say."""
        try:
            return not any(total for total, _ in self._status())
        except ClientError as error:
            self.failure = self.failure or error
            return True

    def _status(self) -> list[tuple[int, int]]:
        """Jobs and workers of each of our functions."""
        lines = [line for line in self._client.text("status") if line.startswith(self.prefix)]
        return [(int(total), int(workers)) for _, total, _, workers in (line.rsplit(b"\t", 3) for line in lines)]

    # ---- the end

    def tidy_up(self) -> None:
        """Leave the server as it was: without our jobs and functions. Raises ClientError."""
        self._drain(signals=2)
        if self.failure is None:
            self._wait_for_rest()
            self.left = sum(total for total, _ in self._status())
            for number in range(self._load.functions):
                self._drop(b"%b%d" % (self.prefix, number))
        else:
            self.left = self.ledger.waiting

    def _wait_for_rest(self) -> None:
        """Until the server has noticed that our workers are gone."""
        until = time.monotonic() + NOTICE_SECONDS
        while any(workers for _, workers in self._status()) and time.monotonic() < until:
            time.sleep(0.01)

    def _drop(self, function: bytes) -> None:
        try:
            self._client.text(f"drop function {function.decode()}")
        except ServerError as error:
            log.debug("%s stays: %s", function, error)  # it has jobs left, or was never used

    @property
    def lost(self) -> int:
        """Jobs that were acknowledged and are neither done nor in the queue."""
        return max(self.ledger.missing - self.left, 0)


def measured(mode: str, start: int, tallies: list[Tally]) -> Measured:
    """The figures of a phase."""
    latencies = {name: merged([getattr(tally, name) for tally in tallies]) for name in LATENCIES[mode]}
    if mode == "submit":
        jobs, end = sum(tally.acked.count for tally in tallies), max(tally.last_ack for tally in tallies)
    else:
        jobs, end = sum(tally.ran.count for tally in tallies), max(tally.last_end for tally in tallies)
    return Measured(mode, jobs, max(end - start, 0), latencies, [tally.busy for tally in tallies])


def merged(histograms: list[Histogram]) -> Histogram:
    """All in one."""
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole
