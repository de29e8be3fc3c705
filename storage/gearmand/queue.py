"""The queue of a C gearmand, for reading: its table in SQLite, PostgreSQL or MySQL, in the order of its jobs.

gearmand keeps jobs in a table of `unique_key, function_name, priority, data, when_to_run`. What it writes there differs
from one database to another (docs/importing.md), and older versions know no `when_to_run`. Nothing is judged here: rows
come as they are, the names as the bytes that a client sent.

Nothing is written either. A SQLite file is opened read-only and never made.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self

from sqlalchemy.engine import URL

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.schema import JOB_TABLE

# A page ends at either. Its last row may go beyond: a payload is not cut.
ROWS_A_PAGE: Final = 5000
BYTES_A_PAGE: Final = 16 * 1024 * 1024

REQUIRED: Final = ("unique_key", "function_name", "priority", "data")
WHEN: Final = "when_to_run"
SHOWN_TABLES: Final = 20


class Row(NamedTuple):
    """A job as gearmand wrote it. Of a table that somebody else made, a number may be anything."""

    unique: bytes | None
    function: bytes | None
    priority: Any
    data: bytes | None
    when: Any


Page = list[Row]


class Source(ABC):
    """A table with gearmand's jobs. `open` comes first; `pages` can be gone through once."""

    default_table = "gearman_queue"

    def __init__(self, url: URL, table: str | None) -> None:
        self.url = url
        self.table = table or self.default_table
        self.has_when = True

    # ---- for a database

    @property
    @abstractmethod
    def where(self) -> str:
        """The database for people."""

    @property
    @abstractmethod
    def address(self) -> tuple[object, ...]:
        """What tells this database from others, however its URL is written."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect, read-only."""

    @abstractmethod
    async def columns(self) -> Sequence[str]:
        """The names of the table's columns, none if there is no such table. Makes `self.table` its full name."""

    @abstractmethod
    async def tables(self) -> Sequence[str]:
        """The names of the tables that are there."""

    @abstractmethod
    async def count_rows(self) -> int:
        """What `count` is."""

    @abstractmethod
    def read_pages(self) -> AsyncIterator[Page]:
        """What `pages` is."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the database. Safe to call twice, and when `open` failed."""

    @abstractmethod
    def translate(self, error: Exception) -> StorageError:
        """What a driver's error means to the operator."""

    # ---- the same for all

    @property
    def description(self) -> str:
        """Database and table for people; never a password."""
        return f"{self.where}, table {self.table}"

    @property
    def id(self) -> int:
        """A number of 63 bits for this database and table."""
        name = repr((*self.address, self.table)).encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest()) >> 1

    async def open(self) -> None:
        """Connect, and see that there is a queue of gearmand's. Raises StorageError."""
        await self.connect()
        columns = await self.columns()
        if not columns:
            raise StorageError(f"{self.where} has no table {self.table}: {await self._what_is_there()}")
        if {"node", "run_at"} <= set(columns):
            raise StorageError(
                f"{self.description} is one of gearmand-py, not of the C gearmand: "
                "there is nothing to import, start gearmand-py with this --database"
            )
        if lacking := ", ".join(name for name in REQUIRED if name not in columns):
            raise StorageError(f"{self.description} is no queue of gearmand: it has no column {lacking}; see --table")
        self.has_when = WHEN in columns

    async def _what_is_there(self) -> str:
        names = sorted(await self.tables())
        if not names:
            return "it has no tables at all; is it the right database?"
        shown = ", ".join(names[:SHOWN_TABLES]) + (", ..." if len(names) > SHOWN_TABLES else "")
        ours = "; those of gearmand-py need no import" if any(JOB_TABLE in name for name in names) else ""
        return f"its tables are {shown}{ours}; see --table"

    async def count(self) -> int:
        """How many rows the table has. Raises StorageError."""
        with self._told():
            return await self.count_rows()

    async def pages(self) -> AsyncIterator[Page]:
        """All rows, in the order in which they were submitted. Raises StorageError."""
        with self._told():
            async for page in self.read_pages():
                yield page

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever goes wrong, in an operator's words."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            raise self.translate(error) from error

    async def __aenter__(self) -> Self:
        try:
            with self._told():
                await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def about_source(error: StorageError) -> StorageError:
    """The storages' errors name the options of the destination."""
    return type(error)(str(error).replace("--database", "--from"))


def size(row: Row) -> int:
    """Bytes in memory, roughly."""
    return len(row.data or b"") + 200


def is_full(rows: int, size: int) -> bool:
    """Whether a page has enough."""
    return rows >= ROWS_A_PAGE or size >= BYTES_A_PAGE


def quoted(name: str) -> str:
    """A name in SQLite's SQL, or PostgreSQL's."""
    return '"' + name.replace('"', '""') + '"'
