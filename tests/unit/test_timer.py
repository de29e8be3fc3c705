"""The timer of the deadlines, on the loops that the server runs on: uvloop's differs from asyncio's in small things."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gearmand_py.server.runner import loop_factory
from tests.unit.journal_bench import running_bench

FOREVER = 1000.0


@pytest.mark.parametrize("factory", [None, loop_factory()], ids=["asyncio", "uvloop"])
def test_a_deadline_that_has_passed_already(factory: Callable[[], asyncio.AbstractEventLoop] | None) -> None:
    """Several events of one turn of the loop may look at it before the timer gets its turn."""

    async def main() -> None:
        async with running_bench() as bench:
            front, deadlines = bench.front, bench.broker.timeouts
            deadlines.add(1, time.monotonic() + FOREVER)
            front._arm_timer()
            deadlines.add(1, time.monotonic() - 1)
            for _ in range(3):
                front._arm_timer()
            deadlines.discard(1)
            await asyncio.sleep(0.01)
            assert front._timer is None  # it went off

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
