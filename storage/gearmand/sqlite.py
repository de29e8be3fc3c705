"""gearmand's queue in a SQLite file, which is opened read-only and never made."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy.engine import URL

from gearmand_py.storage.base import StorageError, StorageUnavailable
from gearmand_py.storage.gearmand.queue import WHEN, Page, Row, Source, about_source, is_full, quoted, size
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sqlite import SqliteStorage, file_of, primary_code

BUSY_SECONDS: Final = 5.0

T = TypeVar("T")


class SqliteSource(Source):
    """A file, read by pages, each a transaction of its own: a gearmand that still runs is not kept waiting, and in a
    file that is the destination too the log can be written back.
    """

    def __init__(self, url: URL, table: str | None) -> None:
        super().__init__(url, table)
        self._path = file_of(url)
        self._errors = SqliteStorage(url, Tables())  # for its words alone
        self._database: sqlite3.Connection | None = None

    @property
    def where(self) -> str:
        """The file."""
        return str(self._path)

    @property
    def address(self) -> tuple[object, ...]:
        """The file."""
        return ("sqlite", str(self._path))

    async def connect(self) -> None:
        """Open the file."""
        if not self._path.is_file():
            raise StorageError(f"{self._path} {'is no file' if self._path.exists() else 'does not exist'}: see --from")
        self._database = await asyncio.to_thread(open_read_only, self._path)

    async def columns(self) -> Sequence[str]:
        """SQLite takes names in any case, and by the one in its schema we know the table again."""
        found = await self._all("SELECT name FROM sqlite_master WHERE lower(name) = lower(?)", self.table)
        if not found:
            return ()
        self.table = found[0][0].decode(errors="replace")
        return [name.decode() for (name,) in await self._all("SELECT name FROM pragma_table_info(?)", self.table)]

    async def tables(self) -> Sequence[str]:
        """All but SQLite's own."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        return [name.decode(errors="replace") for (name,) in await self._all(names)]

    async def count_rows(self) -> int:
        """By reading an index."""
        return int((await self._all(f"SELECT count(*) FROM {quoted(self.table)}"))[0][0])

    async def read_pages(self) -> AsyncIterator[Page]:
        """By rowid: INSERT OR REPLACE gives a row that is written again a new one, at the end."""
        page, last = await self._in_thread(partial(self._page, -(2**63)))
        while page:
            yield page
            page, last = await self._in_thread(partial(self._page, last))

    def _page(self, after: int) -> tuple[Page, int]:
        """The rows behind a rowid, and the last one's."""
        when = WHEN if self.has_when else "0"
        columns = f"rowid, unique_key, function_name, priority, data, {when}"
        query = f"SELECT {columns} FROM {quoted(self.table)} WHERE rowid > ? ORDER BY rowid"
        page: Page = []
        taken = 0
        assert self._database
        with closing(self._database.execute(query, (after,))) as cursor:
            for rowid, unique, function, priority, data, at in cursor:
                after = rowid
                page.append(Row(as_bytes(unique), as_bytes(function), priority, as_bytes(data), at))
                taken += size(page[-1])
                if is_full(len(page), taken):
                    break
        return page, after

    async def _all(self, query: str, *bound: object) -> list[Any]:
        def run() -> list[Any]:
            assert self._database
            return self._database.execute(query, bound).fetchall()

        return await self._in_thread(run)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error as error:
            raise self.translate(error) from error

    async def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            await asyncio.to_thread(database.close)

    def translate(self, error: Exception) -> StorageError:
        """SQLite's result codes, in an operator's words."""
        match primary_code(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageUnavailable(f"{self._path} is locked by another program: stop the gearmand that uses it")
            case sqlite3.SQLITE_READONLY:  # a journal to roll back, or a log to take up
                return StorageError(
                    f"{self._path} was left in the middle of a transaction, and an import writes nothing to it: "
                    f"sqlite3 {self._path} 'PRAGMA user_version' brings it in order"
                )
        return about_source(self._errors.translate(error))


def open_read_only(path: Path) -> sqlite3.Connection:
    """Opens without writing, whatever the directory. Raises sqlite3.Error."""
    try:
        return connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_CANTOPEN:
            raise
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"{path} has a log that cannot be read in a read-only directory: "
                f"copy it together with {log.name} to another one, and import from there"
            ) from error
        return connected(path, "immutable=1")  # a log's index cannot be made there, and without a log none is needed


def connected(path: Path, how: str) -> sqlite3.Connection:
    """Text comes as the bytes it is; it need not be UTF-8."""
    database = sqlite3.connect(
        f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
    )
    try:
        database.text_factory = bytes
        database.execute("SELECT count(*) FROM sqlite_master")
    except BaseException:
        database.close()
        raise
    return database


def as_bytes(value: object) -> bytes | None:
    """SQLite lets any value into any column: a key of digits may lie there as a number."""
    return value if value is None or isinstance(value, bytes) else str(value).encode()
