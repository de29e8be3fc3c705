"""Reading a SQLite file on a connection and a thread of its own.

SQLite gives the interpreter lock up at each row it fetches. In the thread the lock then changes hands twice for each,
and a busy loop pays more for that than for the row. So small rows are only brought into memory in the thread, by a
statement of one row, and then fetched on the loop, where nobody takes the lock away. To join a page in SQLite cost more
than either (docs/benchmarks.md).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gearmand_py.storage.base import BY_PAYLOAD, DEAD, RUN_AT_ONCE, Entry, JobRecord, StorageError, records
from gearmand_py.storage.reading.pages import conditions
from gearmand_py.storage.sql import COLUMNS

BUSY_SECONDS: Final = 1.0
# Payloads of a page that are fetched on the loop, in a millisecond or two.
FETCHED_AT_ONCE: Final = 1024 * 1024

# SQLite knows the length of a payload without reading it.
ENTRY: Final = f"""
    id, function_name, unique_key, priority, attempts, run_at, length(data),
    CASE WHEN unique_key = x'{BY_PAYLOAD.hex()}' THEN data END
"""

T = TypeVar("T")


class SqliteReader:
    """Has the file open read-only, and makes nothing. Between calls it holds no lock and no place in the log."""

    def __init__(self, path: Path, table: str, translate: Callable[[Exception], StorageError]) -> None:
        self._path = path
        self._table = table
        self._translate = translate
        self._thread = ThreadPoolExecutor(1, "gearmand-py-reader")
        self._database: sqlite3.Connection | None = None  # the thread's, or the loop's while that rests
        self._files: Sequence[int] = ()  # those that are open

    # ---- what is asked

    async def highest(self) -> int:
        """The end of the primary key."""
        return int(await self._one(f"SELECT coalesce(max(id), 0) FROM {self._table}"))

    async def count(self) -> int:
        """By reading the file."""
        return int(await self._one(f"SELECT count(*) FROM {self._table}"))

    async def others(self) -> dict[int, int]:
        """The file is ours alone."""
        return {}

    async def entries(self, after: int, upto: int, limit: int) -> Sequence[Entry]:
        """In order."""
        return await self._entries([f"id > {after} AND id <= {upto} ORDER BY id LIMIT {limit}"])

    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """By primary key."""
        return await self._entries(conditions(ids))

    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """By primary key."""
        which = tuple(conditions(ids))
        found = await self._in_thread(partial(self._bring_in, which))
        return records(self._on_loop(partial(self._fetch, which)) if found is None else found)

    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """A scan that sorts nothing."""
        query = f"SELECT DISTINCT function_name, priority FROM {self._table}"
        where = f"id > {after} AND id <= {upto} AND run_at = {RUN_AT_ONCE}"
        return set(await self._in_thread(lambda database: fetched(database, f"{query} WHERE {where}")))

    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """A scan that looks each row's key up."""
        if not keys:
            return ()
        wanted = ",".join([f"(x'{function.hex()}',x'{unique.hex()}')" for function, unique in keys])
        alive = f"id > {after} AND id <= {upto} AND run_at <> {DEAD}"
        return await self._entries([f"{alive} AND (function_name, unique_key) IN (VALUES {wanted})"])

    # ---- how

    def _bring_in(self, which: Iterable[str], database: sqlite3.Connection) -> list[Any] | None:
        """Begin to read, and have the rows in memory; if they are large, read them."""
        database.execute("BEGIN")
        sizes = f"SELECT total(length(data)) FROM {self._table} WHERE "
        size = sum(database.execute(sizes + condition).fetchone()[0] for condition in which)
        return None if size <= FETCHED_AT_ONCE else self._fetch(which, database)

    def _fetch(self, which: Iterable[str], database: sqlite3.Connection) -> list[Any]:
        """The rows as they were when the reading began, and its end."""
        columns = f"SELECT {','.join(COLUMNS)} FROM {self._table} WHERE "
        rows = [row for condition in which for row in fetched(database, columns + condition)]
        database.execute("COMMIT")
        return rows

    async def _one(self, query: str) -> Any:
        return await self._in_thread(lambda database: database.execute(query).fetchone()[0])

    async def _entries(self, which: Iterable[str]) -> Sequence[Entry]:
        return [Entry._make(row) for row in await self._all(ENTRY, which)]

    async def _all(self, columns: str, which: Iterable[str]) -> list[Any]:
        """The rows of several conditions, in one trip to the thread."""
        queries = [f"SELECT {columns} FROM {self._table} WHERE {condition}" for condition in which]
        return await self._in_thread(lambda database: [row for query in queries for row in fetched(database, query)])

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except asyncio.CancelledError:
            self._interrupt()
            raise

    def _on_loop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What waits for nothing, after a trip to the thread."""
        assert self._database is not None
        try:
            return work(self._database)
        except sqlite3.Error as error:
            self._disconnect()
            raise self._translate(error) from error

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the thread. A connection on which something failed is not used again."""
        if self._files != self._files_now():
            self._disconnect()
        try:
            database = self._database or self._connect()
            if database.in_transaction:  # its call was cancelled before its end
                database.execute("ROLLBACK")
            return work(database)
        except sqlite3.Error:
            self._disconnect()
            raise

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.as_uri()}?mode=ro"
        self._database = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
        self._files = self._files_now()
        return self._database

    def _files_now(self) -> Sequence[int]:
        """Which files the database is: a log that was removed, and made anew by the storage, is not the one we read."""
        return [number_of(self._path), number_of(self._path.with_name(f"{self._path.name}-wal"))]

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _interrupt(self) -> None:
        """A statement that nobody waits for any more ends; without one this does nothing."""
        if (database := self._database) is not None:
            with suppress(sqlite3.ProgrammingError):  # the thread has closed it just now
                database.interrupt()

    async def close(self) -> None:
        """Close the file."""
        self._interrupt()
        with suppress(RuntimeError):  # closed before
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)


def fetched(database: sqlite3.Connection, query: str) -> list[Any]:
    """All rows; nothing stays open."""
    return database.execute(query).fetchall()


def number_of(path: Path) -> int:
    """Which file a path leads to; 0 when to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0
