"""A database server as tests see it: databases are made in it, and one that is the test's own is killed and frozen."""

import secrets
import time
from abc import ABC, abstractmethod
from functools import cached_property
from types import TracebackType
from typing import Final, NoReturn, Self

from sqlalchemy import URL

from tests.databases.kinds import KINDS, REFUSALS, Rows, product
from tests.databases.selection import Unavailable

# Far above what a start takes on a loaded machine: an image's first start initialises the data.
START_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.05  # nothing tells when a server begins to listen
SHOWN: Final = 4000


class DatabaseServer:
    """A running server.

    `source` tells people where it comes from; `url` is its administrator's, its driver name is just the kind.
    """

    def __init__(self, kind: str, source: str, url: URL) -> None:
        self.kind = kind
        self.source = source
        self.url = url

    @cached_property
    def version(self) -> str:
        """Product and number, such as "PostgreSQL 18.1"."""
        return " ".join(product(self.kind, str(self.execute(KINDS[self.kind].version)[0][0])))

    def execute(self, statement: str, database: str | None = None) -> Rows:
        """Run one statement as the administrator, committed at once; returns its rows."""
        url = self.url.set(database=database) if database else self.url
        return KINDS[self.kind].execute(url, statement)

    def create_database(self) -> URL:
        """A new empty database, as the administrator."""
        name = f"gearmand_py_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url.set(database=name)

    def drop_database(self, url: URL) -> None:
        """Remove a database, and end the connections to it."""
        assert url.database
        KINDS[self.kind].drop(self.url, url.database)


class OwnedServer(DatabaseServer, ABC):
    """A server that nobody else uses: it may be killed, and started again on the same data and port."""

    def start(self) -> None:
        """Start it and wait until it answers; raises Unavailable if it does not."""
        self._launch()
        until = time.monotonic() + START_SECONDS
        while refusal := self._refusal():
            if not self.is_running:
                self._fail("ended instead of answering", refusal)
            if time.monotonic() > until:
                self._fail(f"did not answer within {START_SECONDS} s", refusal)
            time.sleep(LOOK_SECONDS)

    def _refusal(self) -> Exception | None:
        try:
            self.execute("SELECT 1")
        except REFUSALS as error:
            return error
        return None

    def _fail(self, reason: str, error: Exception) -> NoReturn:
        raise Unavailable(f"{self.source} {reason}: {error!r}\n{self.log[-SHOWN:]}") from error

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether its processes are there, frozen or not."""

    @property
    @abstractmethod
    def log(self) -> str:
        """What it said since it was started."""

    @abstractmethod
    def _launch(self) -> None: ...

    @abstractmethod
    def kill(self) -> None:
        """kill -9 to all its processes; returns when they are gone."""

    @abstractmethod
    def stop(self) -> None:
        """An orderly end, without waiting for clients; returns when it is gone."""

    @abstractmethod
    def freeze(self) -> None:
        """Its processes stand still; connections stay, and nothing answers."""

    @abstractmethod
    def thaw(self) -> None:
        """They go on."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove its data."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
