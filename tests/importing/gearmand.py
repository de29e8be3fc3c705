"""The C gearmand itself, with its queue in a database."""

import signal
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, NamedTuple, Self

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.databases.ports import free_port
from tests.harness.process import Process
from tests.harness.server import HOST
from tests.harness.tools import need
from tests.importing.legacy import Legacy

IN_FLIGHT: Final = 200
DEADLINE: Final = 120.0


class Submission(NamedTuple):
    """A job as it is submitted."""

    kind: int
    function: bytes
    unique: bytes
    data: bytes
    when: bytes | None = None  # of SUBMIT_JOB_EPOCH

    @property
    def arguments(self) -> tuple[bytes, ...]:
        """In the packet's order."""
        times = () if self.when is None else (self.when,)
        return (self.function, self.unique, *times, self.data)


def queue_options(place: Legacy) -> list[str]:
    """Its words for a database."""
    url = place.url
    match place.family:
        case "sqlite":
            return ["--queue-type=libsqlite3", f"--libsqlite3-db={url.database}"]
        case "postgresql":
            parts = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
            parts |= {"password": url.password} if url.password else {}
            info = " ".join(f"{name}='{value}'" for name, value in parts.items())
            return ["--queue-type=Postgres", f"--libpq-conninfo={info}"]
    login = [f"--mysql-user={url.username}", f"--mysql-password={url.password or ''}"]
    return [
        "--queue-type=MySQL",
        f"--mysql-host={url.host}",
        f"--mysql-port={url.port}",
        *login,
        f"--mysql-db={url.database}",
    ]


class Gearmand(AbstractContextManager["Gearmand"]):
    """Runs for the length of a with statement, and ends in order."""

    def __init__(self, place: Legacy) -> None:
        self.port = free_port()
        where = ["--listen", HOST, "--port", str(self.port)]
        log = ["--log-file", "stderr", "--verbose", "INFO"]
        self._process = Process([need("gearmand"), *where, *log, *queue_options(place)])

    def __enter__(self) -> Self:
        try:
            self._process.expect_error(b"Listening on ")
        except BaseException:
            self._process.close()
            raise
        return self

    def submit(self, submissions: Iterable[Submission]) -> None:
        """All are acknowledged when this returns."""
        with Client.connect(HOST, self.port) as client:
            waiting = 0
            for submission in submissions:
                client.send(submission.kind, *submission.arguments)
                waiting += 1
                if waiting == IN_FLIGHT:
                    acknowledge(client)
                    waiting -= 1
            for _ in range(waiting):
                acknowledge(client)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait()
        finally:
            self._process.close()


def acknowledge(client: Client) -> None:
    """Read an answer, which must be JOB_CREATED."""
    packet = client.receive(DEADLINE)
    assert packet[0] == packets.JOB_CREATED, packet
