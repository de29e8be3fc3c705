"""What the benchmarks of single parts share: how often each runs, and how many items one run is."""

from collections.abc import Callable
from typing import Any, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

pytest_plugins = ["tests.databases.plugin"]

ROUNDS = 20


class Measure(Protocol):
    """Measures `part` on what `prepare` makes anew for each round; one round is so many items."""

    def __call__(self, items: int, prepare: Callable[[], tuple[Any, ...]], part: Callable[..., object]) -> None: ...


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    """What is prepared is not measured."""

    def run(items: int, prepare: Callable[[], tuple[Any, ...]], part: Callable[..., object]) -> None:
        benchmark.extra_info["items"] = items
        benchmark.pedantic(part, setup=lambda: (prepare(), {}), rounds=ROUNDS, warmup_rounds=2)

    return run
