"""A program under test: what it prints is collected as it comes, and every wait is for an event, with a deadline."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Condition, Thread
from types import TracebackType
from typing import IO, Final, NoReturn, Self

import pytest

# Far above what anything here takes on a loaded machine: a deadline is there to fail with a message, not to measure.
DEADLINE: Final = 60.0
SHOWN: Final = 4000


class Output:
    """What a program prints on one of its streams."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._collected = bytearray()
        self._consumed = 0
        self._ended = False
        self._changed = Condition()
        self._reader = Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                self._add(chunk)
        self._add(b"")

    def _add(self, chunk: bytes) -> None:
        with self._changed:
            self._collected += chunk
            self._ended = not chunk
            self._changed.notify_all()

    @property
    def content(self) -> bytes:
        """All that was printed so far."""
        with self._changed:
            return bytes(self._collected)

    def expect(self, pattern: bytes, seconds: float) -> re.Match[bytes] | None:
        """Wait for the next match after the previous one; None when the stream ends or the time is up without it."""
        compiled = re.compile(pattern)
        until = time.monotonic() + seconds
        with self._changed:
            while not (found := compiled.search(self._collected, self._consumed)):
                if self._ended or not self._changed.wait(until - time.monotonic()):
                    return None
            self._consumed = found.end()
            return found

    def wait_end(self, seconds: float) -> bool:
        """Wait until the stream has ended; whether it has."""
        self._reader.join(seconds)
        return not self._reader.is_alive()


class Process:
    """A running program, leader of its own process group.

    `stdin` is all that it gets to read; None leaves it open for `say`.
    """

    def __init__(
        self, command: Sequence[str], *, stdin: bytes | None = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self._process = _start(self.command, stdin, environment)
        assert self._process.stdout
        assert self._process.stderr
        self.output = Output(self._process.stdout)
        self.errors = Output(self._process.stderr)

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._process.poll() is None

    @property
    def stdout(self) -> bytes:
        """What the program printed so far."""
        return self.output.content

    @property
    def stderr(self) -> str:
        """What the program said on its standard error so far."""
        return self.errors.content.decode(errors="backslashreplace")

    def say(self, line: str) -> None:
        """Give the program a line to read."""
        assert self._process.stdin, "started with a finished standard input"
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def end_input(self) -> None:
        """The program reads the end of its standard input."""
        assert self._process.stdin, "started with a finished standard input"
        self._process.stdin.close()

    def expect(self, pattern: bytes, seconds: float = DEADLINE) -> re.Match[bytes]:
        """Wait until the program prints this, after what was expected before."""
        return self.output.expect(pattern, seconds) or self.fail(f"did not print {pattern!r} within {seconds} s")

    def expect_error(self, pattern: bytes, seconds: float = DEADLINE) -> re.Match[bytes]:
        """Wait until the program says this on its standard error."""
        return self.errors.expect(pattern, seconds) or self.fail(f"did not say {pattern!r} within {seconds} s")

    def wait(self, seconds: float = DEADLINE) -> int:
        """Wait for the end of the program and of its output; returns the exit code, negative for a signal."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.fail(f"did not end within {seconds} s")
        if not (self.output.wait_end(seconds) and self.errors.wait_end(seconds)):
            self.fail("left its output open to a process that goes on")
        return code

    def result(self, seconds: float = DEADLINE) -> bytes:
        """Wait for the program to succeed; returns what it printed."""
        if code := self.wait(seconds):
            self.fail(f"ended with exit code {code}")
        return self.stdout

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to all it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """End the program and all it started, at once."""
        self.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE)
        self.output.wait_end(DEADLINE)
        self.errors.wait_end(DEADLINE)
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def fail(self, reason: str) -> NoReturn:
        """Fail the test, and show what the program printed."""
        pytest.fail(
            f"{' '.join(self.command)}\n{reason}\n"
            f"--- stdout\n{self.stdout[-SHOWN:]!r}\n--- stderr\n{self.stderr[-SHOWN:]}"
        )


def _start(command: list[str], stdin: bytes | None, environment: Mapping[str, str] | None) -> "subprocess.Popen[bytes]":
    """Start a program with pipes for its output; input that is known is a file, so that nobody waits to write it."""
    with tempfile.TemporaryFile() as known:
        known.write(stdin or b"")
        known.seek(0)
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is None else known,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment() | dict(environment or {}),
            start_new_session=True,
        )


def clean_environment() -> dict[str, str]:
    """The environment without what servers and clients of Gearman, or a make of ours, would read from it."""
    theirs = ("ARGS", "GEARMAN", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
