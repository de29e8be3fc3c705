"""The jobs that one process submits: when each is due, and its packet."""

import os
import random
import sys
from collections.abc import Iterator
from itertools import repeat
from struct import Struct
from typing import Final, NamedTuple

from gearmand_py.server.bench.load import Load, Phase, Share
from gearmand_py.server.packets import (
    HEADER,
    REQUEST,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
)

# What a payload begins with: the run, the job's number, when it was due in nanoseconds of the monotonic clock.
STAMP: Final = Struct(">8sQq")
RUN_SIZE: Final = 8
BACKGROUND: Final = (SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_BG, SUBMIT_JOB_LOW_BG)
FOREGROUND: Final = (SUBMIT_JOB_HIGH, SUBMIT_JOB, SUBMIT_JOB_LOW)
# Lengths of the patterns of priorities and sizes: primes, so that they do not go in step with each other or with the
# functions.
PRIORITY_PATTERN: Final = 1021
SIZE_PATTERN: Final = 509
KEYS_AT_ONCE: Final = 1024
KEY_SIZE: Final = 32
SECOND: Final = 1_000_000_000


class Job(NamedTuple):
    """A job to submit."""

    number: int
    due: int  # nanoseconds
    packet: bytes


class Source:
    """Gives out the jobs of a process, from `start` on, in nanoseconds."""

    def __init__(self, phase: Phase, share: Share, start: int) -> None:
        load = phase.load
        self._phase = phase
        self._start = start
        self._next = share.index  # of all processes' jobs together
        self._step = share.submitting(load)
        self._jobs = load.jobs if load.jobs is not None else sys.maxsize
        self._until = None if load.seconds is None else start + int(load.seconds * SECOND)
        self._interval = SECOND / load.rate if load.rate else 0.0
        self._names = [phase.function(number) + b"\0" for number in range(load.functions)]
        self._kinds = kinds(load, foreground=phase.foreground)
        self._fillers = fillers(load)
        self._keys = random_keys() if load.unique else repeat(b"")

    def ended(self, now: int) -> bool:
        """Whether no more will come."""
        if self._until is not None:
            return now >= self._until and not self._waiting(self._until)
        return self._next >= self._jobs

    def wait(self, now: int) -> int | None:
        """Nanoseconds until the next job is due; None if that is never, or not a question of time."""
        if not self._interval or self.ended(now):
            return None
        return max(self._due(self._next) - now, 0)

    def take(self, room: int, now: int) -> list[Job]:
        """Those that are due by now, at most `room`."""
        first = self._next
        count = min(room, self._waiting(now))
        self._next += count * self._step
        if not self._interval:
            return [self._job(number, now) for number in range(first, self._next, self._step)]
        return [self._job(number, self._due(number)) for number in range(first, self._next, self._step)]

    def _waiting(self, now: int) -> int:
        """How many are due by now and were not given out."""
        end = self._jobs
        if self._until is not None and now >= self._until:
            now = self._until - 1
            end = end if self._interval else 0
        if self._interval:
            end = min(end, int((now - self._start) / self._interval) + 1)
        return max(end - self._next + self._step - 1, 0) // self._step

    def _due(self, number: int) -> int:
        return self._start + int(number * self._interval)

    def _job(self, number: int, due: int) -> Job:
        names, kinds, fillers = self._names, self._kinds, self._fillers
        unique = next(self._keys)
        stamp = STAMP.pack(self._phase.run, self._phase.first + number, due)
        body = b"".join((names[number % len(names)], unique, b"\0", stamp, fillers[number % len(fillers)]))
        head = HEADER.pack(REQUEST, kinds[number % len(kinds)], len(body))
        return Job(self._phase.first + number, due, head + body)


def kinds(load: Load, *, foreground: bool) -> list[int]:
    """Packet types, by the shares of the priorities."""
    choice = FOREGROUND if foreground else BACKGROUND
    return random.choices(choice, load.priorities, k=PRIORITY_PATTERN)  # noqa: S311


def fillers(load: Load) -> list[memoryview]:
    """What stands behind the stamp: bytes that nobody can compress, in lengths within the load's range."""
    least, most = load.payload
    noise = memoryview(os.urandom(most - STAMP.size))
    if least == most:
        return [noise]
    return [noise[: random.randint(least, most) - STAMP.size] for _ in range(SIZE_PATTERN)]  # noqa: S311


def random_keys() -> Iterator[bytes]:
    """Unique keys as clients make them up: random, in hexadecimal."""
    while True:
        digits = os.urandom(KEYS_AT_ONCE * KEY_SIZE // 2).hex().encode()
        for at in range(0, len(digits), KEY_SIZE):
            yield digits[at : at + KEY_SIZE]
