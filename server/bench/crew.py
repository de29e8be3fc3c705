"""All processes of a benchmark, through one phase at a time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Self

from gearmand_py.server.bench.generator import READY, STOP, Progress, serve
from gearmand_py.server.bench.load import Phase, Share
from gearmand_py.server.bench.source import SECOND
from gearmand_py.server.bench.tally import Tally
from gearmand_py.server.client import ClientError

LEAD: Final = SECOND // 20  # until the common start
LOOK_EVERY: Final = 0.1
QUIET: Final = SECOND  # without anything sent or received, after which the server is asked whether there are jobs left
STALLED: Final = 60 * SECOND  # of the same, after which nobody waits any longer; a database may be away for a while


class ProcessDied(ClientError):
    """A process of the benchmark is gone."""

    def __init__(self) -> None:
        super().__init__("a process of the benchmark was killed; is there enough memory?")


@dataclass(frozen=True, slots=True)
class Aim:
    """When a phase is over: so many jobs ran and the server says that it `is_empty`, or it `is_cut_short`."""

    jobs: int | None  # None: as many as are acknowledged
    is_empty: Callable[[], bool]
    is_cut_short: Callable[[], bool]
    move_to: Callable[[int], None]  # told how many jobs are done


class Crew:
    """The processes."""

    def __init__(self, count: int) -> None:
        context = get_context("spawn")
        self._pipes: list[Connection[Any, Any]] = []
        self._processes = []
        for index in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, Share(index, count)), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._pipes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()  # which ends its process
        for process in self._processes:
            process.join()

    def run(self, phase: Phase, aim: Aim) -> tuple[int, list[Tally]]:
        """When it started, and what each process has seen. Raises ProcessDied."""
        try:
            for pipe in self._pipes:
                pipe.send(phase)
            tallies = self._get_ready()
            start = time.monotonic_ns() + LEAD
            if not tallies:
                for pipe in self._pipes:
                    pipe.send(start)
                self._follow(phase, aim, tallies)
            return start, self._stop(tallies)
        except (EOFError, OSError) as error:
            raise ProcessDied from error

    def _get_ready(self) -> dict[int, Tally]:
        """Wait until all are; returns the tallies of those that failed."""
        said = enumerate([pipe.recv() for pipe in self._pipes])
        return {index: message for index, message in said if message != READY}

    def _follow(self, phase: Phase, aim: Aim, tallies: dict[int, Tally]) -> None:
        """Wait for the end of a phase, which is also that one of them failed."""
        course = Course(phase, aim)
        seen = [Progress()] * self.size
        while not tallies and not course.is_over(seen):
            for pipe in wait(self._pipes, LOOK_EVERY):
                index = self._pipes.index(pipe)  # type: ignore[arg-type]
                message = self._pipes[index].recv()
                if isinstance(message, Tally):
                    tallies[index] = message
                else:
                    seen[index] = message

    def _stop(self, tallies: dict[int, Tally]) -> list[Tally]:
        for index, pipe in enumerate(self._pipes):
            if index not in tallies:
                pipe.send(STOP)
            while index not in tallies:
                message = pipe.recv()
                if isinstance(message, Tally):
                    tallies[index] = message
        return list(tallies.values())


class Course:
    """Whether a phase is over, by what its processes tell."""

    def __init__(self, phase: Phase, aim: Aim) -> None:
        self._phase = phase
        self._aim = aim

    def is_over(self, seen: list[Progress]) -> bool:
        """To be asked again and again."""
        submitted, answered, settled, acknowledged, ran = (sum(each[field] for each in seen) for field in range(5))
        self._aim.move_to(ran if self._phase.works else settled)
        if self._aim.is_cut_short():
            return True
        quiet = min(each.quiet for each in seen)
        ended = all(each.ended for each in seen)
        stalled = quiet > STALLED and (ended or submitted > settled)
        done = ended and submitted == settled
        if not self._phase.works:
            return done or stalled
        done = done and ran >= (acknowledged if self._aim.jobs is None else self._aim.jobs)
        # Some may be lost. What is not answered yet is the server's to answer; without a rate, clients that submit no
        # more wait for results.
        stuck = quiet > QUIET and submitted == answered and (ended or not self._phase.load.rate)
        return ((done or stuck) and self._aim.is_empty()) or stalled
