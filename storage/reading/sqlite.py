"""Reading a SQLite file on a connection and a thread of its own.

Each row that the driver fetches takes the interpreter lock, for which the event loop waits and makes wait. A page of
entries, joined in SQLite, takes it once (docs/benchmarks.md). Payloads are fetched by the row.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from gearmand_py.storage.base import DEAD, RUN_AT_ONCE, Entry, JobRecord, StorageError
from gearmand_py.storage.reading.pages import KEY_BY_PAYLOAD, Page, conditions, with_payloads
from gearmand_py.storage.sql import COLUMNS

BUSY_SECONDS: Final = 1.0

# SQLite knows the length of a payload without reading it, when it is asked for at the table itself.
ENTRY: Final = "id, function_name, unique_key, priority, attempts, run_at, length(data) AS size, data"
PAGE: Final = """
    count(*), group_concat(id, ',') || ',',
    group_concat(CASE WHEN unique_key IS NULL THEN 'N' ELSE hex(unique_key) END, ',') || ',',
    group_concat(printf('%d;%d;%lld;%lld;%s', priority, attempts, run_at, size, hex(function_name)), ',') || ','
"""

T = TypeVar("T")
Payloads = dict[int, bytes]


class SqliteReader:
    """Has the file open read-only, and makes nothing. Between calls it holds no lock and no place in the log."""

    def __init__(self, path: Path, table: str, translate: Callable[[Exception], StorageError]) -> None:
        self._path = path
        self._table = table
        self._translate = translate
        self._thread = ThreadPoolExecutor(1, "gearmand-py-reader")
        self._database: sqlite3.Connection | None = None  # touched by the thread only, but for interrupt()
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
        found = await self._entries([f"id > {after} AND id <= {upto} ORDER BY id LIMIT {limit}"])
        found.sort()  # no row to move: SQLite joins them as they come
        return found

    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """By primary key."""
        return await self._entries(list(conditions(ids)))

    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """By primary key."""
        queries = [f"SELECT {','.join(COLUMNS)} FROM {self._table} WHERE {which}" for which in conditions(ids)]
        found = await self._in_thread(lambda database: [database.execute(query).fetchall() for query in queries])
        return [JobRecord._make(row) for rows in found for row in rows]

    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """A scan that sorts nothing."""
        query = f"SELECT DISTINCT function_name, priority FROM {self._table}"
        where = f"id > {after} AND id <= {upto} AND run_at = {RUN_AT_ONCE}"
        return set(await self._in_thread(lambda database: database.execute(f"{query} WHERE {where}").fetchall()))

    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """A scan that looks each row's key up."""
        if not keys:
            return ()
        wanted = ",".join([f"(x'{function.hex()}',x'{unique.hex()}')" for function, unique in keys])
        alive = f"id > {after} AND id <= {upto} AND run_at <> {DEAD}"
        return await self._entries([f"{alive} AND (function_name, unique_key) IN (VALUES {wanted})"])

    # ---- how

    async def _one(self, query: str) -> Any:
        return await self._in_thread(lambda database: database.execute(query).fetchone()[0])

    async def _entries(self, conditions: Sequence[str]) -> list[Entry]:
        """One trip to the thread; the pages are taken apart here, with the interpreter lock that we have anyway."""
        pages = await self._in_thread(lambda database: [self._page(database, which) for which in conditions])
        return [
            entry
            for page, payloads in pages
            for entry in (page.entries if payloads is None else with_payloads(page.entries, payloads))
        ]

    def _page(self, database: sqlite3.Connection, which: str) -> tuple[Page, Payloads | None]:
        source = f"FROM (SELECT {ENTRY} FROM {self._table} WHERE {which})"
        page = Page._make(database.execute(f"SELECT {PAGE} {source}").fetchone())
        if not page.has_payload_keys:
            return page, None
        keyed = database.execute(f"SELECT id, data {source} WHERE unique_key = x'{KEY_BY_PAYLOAD}'")
        return page, dict(keyed.fetchall())

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except asyncio.CancelledError:
            self._interrupt()
            raise

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the thread. A connection on which something failed is not used again."""
        if self._files != self._files_now():
            self._disconnect()
        try:
            return work(self._database or self._connect())
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


def number_of(path: Path) -> int:
    """Which file a path leads to; 0 when to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0
