"""What people see and do while a benchmark runs: a bar on a terminal, and Ctrl-C."""

import signal
import sys
import time
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Final, Self

import click

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts(AbstractContextManager["Interrupts"]):
    """Counts the signals to stop: the first ends the measuring, the second the tidying up."""

    def __init__(self) -> None:
        self.count = 0
        self.last = signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.last = signal.Signals(number)


class Bar(AbstractContextManager["Bar"]):
    """A progress bar; silent where standard error is no terminal. With `seconds` it moves with the time."""

    def __init__(self, label: str, length: int, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._length = max(int(seconds * 1000) if seconds else length, 1)
        self._bar: Any = None
        self._at = 0
        if sys.stderr.isatty():
            self._bar = click.progressbar(length=self._length, label=label, file=sys.stderr)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._bar:
            self._bar.__exit__(kind, value, at)

    def move_to(self, jobs: int) -> None:
        """How far it is."""
        at = min(int((time.monotonic() - self._began) * 1000) if self._seconds else jobs, self._length)
        if self._bar and at > self._at:
            self._bar.update(at - self._at)
            self._at = at
