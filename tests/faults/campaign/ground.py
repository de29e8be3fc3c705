"""Where rounds run: a server process on a database, a proxy before it and one behind it, and what the server holds."""

import os
import signal
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

from sqlalchemy import URL

from gearmand_py.storage.base import DEAD
from tests.databases.ports import free_port
from tests.databases.server import OwnedServer
from tests.faults.campaign.plan import Options
from tests.faults.campaign.shim import Shim
from tests.faults.outages import Place, place_on, wait_until
from tests.faults.proxy import Proxy, Target
from tests.harness.server import HOST, Server

INSIDE: Final = Path(__file__).with_name("inside")
TASKS_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.01
ROWS: Final = "SELECT id, run_at FROM gearman_job"


class Census(NamedTuple):
    """What a server that has nothing to do holds."""

    descriptors: int
    threads: int
    tasks: tuple[str, ...]
    memory: int  # bytes


class Ground(ABC):
    """One server on a database of its own, for the rounds of a block."""

    def __init__(self, folder: Path, database: Path | URL, shim: Shim, options: Options) -> None:
        self.shim = shim
        self.options = options
        self._tasks = folder / "tasks"
        environment = {**shim.environment, **self._inside()}
        # Not a port that the system gives to outgoing connections: see ports.py.
        arguments = (*options.arguments, "--port", str(free_port()))
        self.server = Server(database, *arguments, environment=environment)
        self.proxy = Proxy(Target(HOST, self.server.port))

    def _inside(self) -> Mapping[str, str]:
        path = os.pathsep.join(filter(None, (str(INSIDE), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "CAMPAIGN_TASKS": str(self._tasks)}

    @property
    def place(self) -> Place | None:
        """A database behind a network, and the way there."""
        return None

    @abstractmethod
    def rows(self) -> list[tuple[int, int]]:
        """Ids in the table, and when they run."""

    def dead(self) -> set[int]:
        """The jobs whose attempts have run out."""
        return {id_ for id_, run_at in self.rows() if run_at == DEAD}

    def empty_table(self) -> None:
        """Cancel the dead, as an administrator does, and wait for the last deletes and deaths to be written."""
        wait_until(lambda: not self._cancel_dead(), lambda: f"rows are left in the table: {self.rows()}")

    def _cancel_dead(self) -> list[tuple[int, int]]:
        with self.server.connect() as connection:
            for id_ in self.dead():
                connection.text(f"cancel job H:campaign:{id_}")
        return self.rows()

    def unfinished(self) -> dict[str, int]:
        """Jobs by function, of those that have some."""
        with self.server.connect() as connection:
            lines = [line.split(b"\t") for line in connection.text("status")]
        return {name.decode(): int(total) for name, total, _, _ in lines if int(total)}

    def describe(self) -> str:
        """What the server says of its jobs and workers."""
        with self.server.connect() as connection:
            said = {word: connection.text(word)[:20] for word in ("status", "prioritystatus", "workers", "show jobs")}
        return f"{said}, rows {self.rows()[:20]}"

    def census(self) -> Census:
        """Look when nothing is going on, and nobody connected.

        Connections are not counted again: the server may not have seen yet that the one which asked is gone.
        """
        wait_until(lambda: len(self._connections()) == 1, lambda: f"connections are left: {self._connections()}")
        process = Path(f"/proc/{self.server.pid}")
        pages = int((process / "statm").read_text().split()[1])
        tasks = self._count_tasks()
        return Census(
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
            tasks,
            pages * os.sysconf("SC_PAGE_SIZE"),
        )

    def _connections(self) -> list[bytes]:
        with self.server.connect() as connection:
            return connection.text("workers")

    def _count_tasks(self) -> tuple[str, ...]:
        self._tasks.unlink(missing_ok=True)
        os.kill(self.server.pid, signal.SIGUSR2)
        until = monotonic() + TASKS_SECONDS
        while not self._tasks.exists():
            assert monotonic() < until, "the server does not count its tasks"
            sleep(LOOK_SECONDS)
        return tuple(sorted(self._tasks.read_text().splitlines()[:-1]))

    def close(self) -> None:
        """At once."""
        self.server.kill()
        self.proxy.close()


class SqliteGround(Ground):
    """On a file."""

    def rows(self) -> list[tuple[int, int]]:
        with closing(sqlite3.connect(f"file:{self.server.database}?mode=ro", uri=True)) as file:
            return file.execute(ROWS).fetchall()


class NetworkedGround(Ground):
    """On a database server of the test's own."""

    def __init__(self, folder: Path, place: Place, shim: Shim, options: Options) -> None:
        self._place = place
        super().__init__(folder, place.url, shim, options)

    @property
    def place(self) -> Place:
        return self._place

    def rows(self) -> list[tuple[int, int]]:
        return [(id_, run_at) for id_, run_at in self._place.execute(ROWS)]


@contextmanager
def ground_on(folder: Path, database: OwnedServer | None, options: Options) -> Iterator[Ground]:
    """A ground with a queue that is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        file = folder / "queue.db"
        shim = stack.enter_context(Shim(folder, file))
        ground: Ground
        if database:
            ground = NetworkedGround(folder, stack.enter_context(place_on(database)), shim, options)
        else:
            ground = SqliteGround(folder, file, shim, options)
        stack.callback(ground.close)
        yield ground
