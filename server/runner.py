"""How a command of ours runs on an event loop, and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

import click

# Exit statuses of a server, of migrate and of import.
FAILED: Final = 1
BY_SIGNAL: Final = 128  # the shell's own, plus the number of the signal

T = TypeVar("T")


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


def stop_when_told() -> None:
    """Obey SIGTERM from now on. To the first process of a container the kernel gives no default for it."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(BY_SIGNAL + number))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # whose default is death, a moment before a server obeys it


def on_signal(number: int, act: Callable[[], None]) -> None:
    """Have the running loop call `act`, once for each signal; without a loop any more the signal ends the process.

    uvloop's `add_signal_handler` calls twice for one that comes while another is handled.
    """
    loop = asyncio.get_running_loop()

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        if loop.is_closed():
            os._exit(BY_SIGNAL + number)
        loop.call_soon_threadsafe(act)

    signal.signal(number, pass_on)


def run(main_coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, or on asyncio's own loop where uvloop cannot be imported."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main_coroutine)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, if there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def fail(message: str) -> NoReturn:
    """One line on stderr, and out."""
    click.echo(f"gearmand-py: {message}", err=True)
    sys.stderr.flush()
    sys.exit(FAILED)
