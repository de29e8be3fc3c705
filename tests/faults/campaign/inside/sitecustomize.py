"""Loaded by Python in the server under test, and only there: SIGUSR2 makes it write how many tasks are not done.

The product knows nothing of it.
"""

import asyncio
import gc
import os
import signal
from pathlib import Path


def count_tasks(_number: int, _frame: object) -> None:
    """Write the names of all tasks that are not done, a line each, and then a dot."""
    tasks = [one for one in gc.get_objects() if isinstance(one, asyncio.Task) and not one.done()]
    lines = [f"{task.get_name()} {task.get_coro()!r}" for task in tasks]
    written = Path(os.environ["CAMPAIGN_TASKS"])
    fresh = written.with_suffix(".fresh")
    fresh.write_text("\n".join([*lines, "."]))
    fresh.rename(written)


if "CAMPAIGN_TASKS" in os.environ:
    signal.signal(signal.SIGUSR2, count_tasks)
