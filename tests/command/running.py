"""`gearmand-py` in processes of its own, and what tests of it have in common."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from gearmand_py.migrations import sql
from gearmand_py.server import packets
from tests.harness.process import DEADLINE, Process
from tests.harness.server import COMMAND, HOST, PatientClient

# As documented in docs/operations.md.
STOPPED: Final = 0
CANNOT_START: Final = 1
WRONG_USAGE: Final = 2


class Ended(NamedTuple):
    """What came of a command."""

    status: int
    stdout: bytes
    stderr: str


class GearmandPy:
    """Runs `gearmand-py` with `words` before those of each call. All that was started ends with `close`."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._processes: list[Process] = []

    def at(self, port: int) -> "GearmandPy":
        """The same for a server on this port."""
        bound = GearmandPy("--port", str(port))
        bound._processes = self._processes
        return bound

    def start(
        self,
        *words: str,
        stdin: bytes | None = b"",
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Process:
        """Start it; `prefix` is a command that runs it."""
        command = [*prefix, str(COMMAND), *self._words, *words]
        self._processes.append(Process(command, stdin=stdin, environment=environment))
        return self._processes[-1]

    def run(self, *words: str, stdin: bytes | None = b"", environment: Mapping[str, str] | None = None) -> Ended:
        """Run it to its end."""
        process = self.start(*words, stdin=stdin, environment=environment)
        status = process.wait()
        return Ended(status, process.stdout, process.stderr)

    def output(self, *words: str, stdin: bytes | None = b"") -> str:
        """Run it to its success; returns what it printed, without the last line end."""
        return self.start(*words, stdin=stdin).result().decode().removesuffix("\n")

    def close(self) -> None:
        """End what still runs; fails if anything that ran has printed a traceback."""
        for process in self._processes:
            process.close()
        for process in self._processes:
            assert "Traceback" not in process.stderr, process.stderr


class Worker:
    """The test's own worker for one function, which decides when it reports what."""

    def __init__(self, port: int, function: bytes) -> None:
        self.client = PatientClient.connect(HOST, port)
        self.client.send(packets.CAN_DO, function)

    def take(self) -> tuple[bytes, bytes]:
        """Wait for a job; returns its handle and its data."""
        while True:
            self.client.send(packets.GRAB_JOB_UNIQ)
            packet = self.client.receive(DEADLINE)
            if packet[0] == packets.JOB_ASSIGN_UNIQ:
                handle, _, _, data = self.client.split(packet, 4)
                return handle, data
            assert packet[0] == packets.NO_JOB
            self.sleep()

    def sleep(self) -> None:
        """Sleep until the server wakes this worker."""
        self.client.send(packets.PRE_SLEEP)
        assert self.client.receive(DEADLINE)[0] == packets.NOOP

    def report(self, kind: int, *arguments: bytes) -> None:
        """Send a report, and wait until the server has read it."""
        self.client.send(kind, *arguments)
        self.client.ask(packets.ECHO_REQ, b"read?", answer=packets.ECHO_RES)

    def close(self) -> None:
        """Leave; a job in hand goes back to its queue."""
        self.client.close()


@cache
def schema() -> str:
    """The script that makes the tables."""
    return sql("sqlite://")


def make_tables(database: Path) -> None:
    """Bring a file to the newest schema without a process for it."""
    execute(database, schema())


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """What a person with a SQLite shell sees beside the server."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.execute(query))


def execute(database: Path, script: str) -> None:
    """What a person with a SQLite shell does."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)
