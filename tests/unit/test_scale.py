"""What a packet costs does not grow with functions, workers, sleepers or waiting jobs.

In steps: the lines of Python that run, which are the same each time. And in processor time, because a step may be a
long one: the median of some rounds, with room for what a processor's caches make of much data.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import FrameType
from typing import Any, Final

import pytest

from gearmand_py.server.workforce import FEW
from tests.core import Core

FEWER: Final = 20
CYCLES: Final = 60
ROUNDS: Final = 7

# A made world of so many things; what is to be done in it, again and again.
World = Callable[[int], Callable[[], None]]


class Counter:
    """How many lines have run."""

    def __init__(self) -> None:
        self.lines = 0

    def see(self, _frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        """A trace function."""
        if event == "line":
            self.lines += 1
        return self.see


@contextmanager
def counting() -> Iterator[Counter]:
    """Count lines. Whoever else traces, a debugger or a coverage tool, goes on afterwards."""
    counter, before = Counter(), sys.gettrace()
    sys.settrace(counter.see)
    try:
        yield counter
    finally:
        sys.settrace(before)


def steps(cycle: Callable[[], None]) -> int:
    cycle()
    with counting() as counter:
        for _ in range(CYCLES):
            cycle()
    return counter.lines


def seconds(cycle: Callable[[], None]) -> float:
    """Processor time of a round."""

    def once() -> float:
        start = time.process_time()
        for _ in range(CYCLES):
            cycle()
        return time.process_time() - start

    return median(once() for _ in range(ROUNDS))


def named(count: int) -> list[bytes]:
    return [b"function %d" % number for number in range(count)]


def each_job_alone(core: Core, names: list[bytes]) -> Callable[[], None]:
    """A job wakes a worker, which does it, finds no other and sleeps again; of few functions, spread over all."""
    broker, client, turns = core.broker, core.connect(), iter(range(1_000_000_000))
    spread = names[:: max(1, len(names) // FEWER)]

    def cycle() -> None:
        broker.submit(client, spread[next(turns) % len(spread)], b"", b"data", 1, False)
        (worker,) = broker.workforce.woken
        grabbed = broker.grab(worker)
        assert grabbed
        broker.finish(worker, *grabbed)
        assert broker.grab(worker) is None
        broker.pre_sleep(worker)
        worker.tail.clear()
        client.tail.clear()

    return cycle


def sleeping_on_one_function(count: int) -> Callable[[], None]:
    core = Core()
    for _ in range(count):
        core.sleeper(b"f")
    return each_job_alone(core, [b"f"])


def sleeping_with_many_functions(count: int) -> Callable[[], None]:
    core = Core()
    names = named(FEW + 1)
    for _ in range(count):
        core.sleeper(*names)
    return each_job_alone(core, names)


def sleeping_with_functions_of_their_own(count: int) -> Callable[[], None]:
    """No two of them can do the same."""
    core = Core()
    names = named(count * (FEW + 1))
    for number in range(count):
        core.sleeper(*names[number * (FEW + 1) :][: FEW + 1])
    cycle = each_job_alone(core, names)
    for _ in range(100):  # until the functions know who can do them
        cycle()
    return cycle


def functions_of_a_crew(count: int) -> Callable[[], None]:
    core = Core()
    names = named(count)
    for _ in range(3):
        core.sleeper(*names)
    return each_job_alone(core, names)


def functions_of_others(count: int) -> Callable[[], None]:
    """One worker for one function beside a crew that is busy with all the others."""
    core = Core()
    core.worker(*named(count))
    core.sleeper(b"f")
    return each_job_alone(core, [b"f"])


def waiting(count: int) -> Callable[[], None]:
    """A queue from which one job goes for each that comes."""
    core = Core()
    broker, client, worker = core.broker, core.connect(), core.worker(*named(FEW + 1))
    for _ in range(count):
        broker.submit(client, b"function 7", b"", b"data", 1, False)

    def cycle() -> None:
        broker.submit(client, b"function 7", b"", b"data", 1, False)
        grabbed = broker.grab(worker)
        assert grabbed
        broker.finish(worker, *grabbed)
        client.tail.clear()

    return cycle


def nothing_to_do(count: int) -> Callable[[], None]:
    """A worker that asks and asks, of whose functions none has a job, beside one that leaves its jobs lying."""
    core = Core()
    names = named(count)
    core.worker(*names)
    broker, client, worker = core.broker, core.connect(), core.worker(*names[::2])
    for name in names[1::2]:
        broker.submit(client, name, b"", b"data", 1, False)

    def cycle() -> None:
        assert broker.grab(worker) is None
        worker.tail.clear()

    return cycle


def taking_on_and_giving_up(count: int) -> Callable[[], None]:
    """A worker that sleeps and changes one of its functions."""
    core = Core()
    names = named(count)
    broker, (worker, _) = core.broker, [core.sleeper(*names) for _ in range(2)]

    def cycle() -> None:
        broker.cannot_do(worker, names[0])
        broker.can_do(worker, names[0], 0)

    return cycle


MORE: Final = [
    pytest.param(sleeping_on_one_function, 2_000, id="2,000 asleep on one function"),
    pytest.param(sleeping_with_many_functions, 2_000, id="2,000 asleep with many functions"),
    pytest.param(sleeping_with_functions_of_their_own, 1_000, id="1,000 asleep, each with functions of its own"),
    pytest.param(functions_of_a_crew, 20_000, id="20,000 functions of each worker"),
    pytest.param(functions_of_others, 20_000, id="20,000 functions of others"),
    pytest.param(waiting, 20_000, id="20,000 jobs waiting"),
]
SLOWER: Final = [
    pytest.param(nothing_to_do, 20_000, id="20,000 functions and nothing to do"),
    pytest.param(taking_on_and_giving_up, 20_000, id="20,000 functions and one that changes"),
]


@pytest.mark.parametrize(("world", "count"), MORE)
def test_a_packet_takes_no_more_steps(world: World, count: int) -> None:
    assert steps(world(count)) <= 1.1 * steps(world(FEWER))


@pytest.mark.parametrize(("world", "count"), MORE)
def test_a_packet_takes_no_more_time(world: World, count: int) -> None:
    assert seconds(world(count)) <= 3 * seconds(world(FEWER))


@pytest.mark.parametrize(("world", "count"), SLOWER)
def test_a_thousand_times_the_functions_cost_a_few_times_as_much(world: World, count: int) -> None:
    """Sets of functions are compared a thousand at a time."""
    assert seconds(world(count)) <= 20 * seconds(world(FEWER))


@pytest.mark.parametrize("backwards", [False, True])
def test_each_can_do_and_cant_do_costs_the_same(backwards: bool) -> None:
    """However many there have been: twice the functions cost twice as much, not four times."""

    def cost(count: int) -> float:
        core = Core()
        names = named(count)
        core.worker(*names)
        broker, worker = core.broker, core.connect()
        start = time.process_time()
        for name in names:
            broker.can_do(worker, name, 0)
        for name in reversed(names) if backwards else names:
            broker.cannot_do(worker, name)
        return time.process_time() - start

    fewer, more = (median(cost(count) for _ in range(3)) for count in (2_000, 20_000))
    assert more <= 3 * 10 * fewer


def test_what_many_workers_can_do_takes_little_memory() -> None:
    """A dict of these functions would take some 100 bytes an entry."""
    core = Core()
    names = named(5_000)
    core.worker(*names)
    tracemalloc.start()
    for _ in range(20):
        core.worker(*names)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert used / (20 * 5_000) < 10
