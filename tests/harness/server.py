"""The server as its users run it: the installed command, in a process of its own."""

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import URL

from gearmand_py.server.client import Client
from tests.databases.ports import free_port
from tests.harness.process import DEADLINE, Process

HOST: Final = "127.0.0.1"
COMMAND: Final = Path(sys.executable).with_name("gearmand-py")
LISTENING: Final = rb"listening on 127\.0\.0\.1:(\d+)"


class PatientClient(Client):
    """Waits for an answer as long as tests wait for anything."""

    def ask(self, kind: int, *arguments: bytes, answer: int, timeout: float | None = DEADLINE) -> bytes:
        return super().ask(kind, *arguments, answer=answer, timeout=timeout)

    def text(self, command: str, timeout: float | None = DEADLINE) -> list[bytes]:
        return super().text(command, timeout)


class Server:
    """A server on a database of its own. It may be killed and started again, on the same database and port.

    `database` is the path of a SQLite file, or a URL, whose tables the server then makes. `prefix` is a command that
    runs the server's, such as strace or prlimit.
    """

    def __init__(
        self,
        database: Path | URL,
        *arguments: str,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = database if isinstance(database, URL) else URL.create("sqlite", database=str(database.absolute()))
        self.arguments = arguments if isinstance(database, Path) else ("--migrate", *arguments)
        self.prefix = prefix
        self.environment = environment or {}
        self.port = free_port()  # not the system's choice, which others have while it is down: see ports.py
        self._said_before = ""
        self._process = self._start()

    def _start(self) -> Process:
        database = self.url.render_as_string(hide_password=False)
        where = ["--listen", HOST, "--port", str(self.port), "--database", database]
        process = Process([*self.prefix, str(COMMAND), *where, *self.arguments], environment=self.environment)
        try:
            self.port = int(process.expect_error(LISTENING)[1])
        except BaseException:
            process.close()
            raise
        return process

    @property
    def database(self) -> Path:
        """The SQLite file."""
        assert self.url.drivername == "sqlite", self.url
        assert self.url.database, self.url
        return Path(self.url.database)

    @property
    def pid(self) -> int:
        """The server's process id; that of the prefix, if there is one."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.is_running

    @property
    def stderr(self) -> str:
        """All that the server has said, over all its restarts."""
        return self._said_before + self._process.stderr

    def connect(self) -> Client:
        """A connection to it."""
        return PatientClient.connect(HOST, self.port)

    def jobs_found(self) -> int:
        """How many jobs were there when it was started last; where reading them takes a while it tells that later."""
        said = self._process.expect_error(rb", (more than )?(\d+) jobs? found")
        if said[1]:
            said = self._process.expect_error(rb"(all) (\d+) stored jobs are taken up")
        return int(said[2])

    def expect(self, pattern: bytes) -> None:
        """Wait until the server says this on its standard error."""
        self._process.expect_error(pattern)

    def kill(self) -> None:
        """kill -9"""
        self._process.close()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the server to end; returns the exit code."""
        return self._process.wait()

    def restart(self) -> None:
        """Start it again, killed first if it still runs."""
        self.kill()
        self._said_before = self.stderr
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
