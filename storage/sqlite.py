"""The queue in a SQLite file: WAL mode, one transaction and one sync a batch."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gearmand_py.storage.base import Changes, StorageError, StorageRefused, StorageUnavailable
from gearmand_py.storage.lockfile import LockFile
from gearmand_py.storage.schema import gearman_job
from gearmand_py.storage.sql import SqlStorage

# A statement of this many rows takes and gives back the interpreter lock once; more rows a statement gain nothing
# (docs/benchmarks.md), and 9 columns each keep it under SQLite's limit of 32,766 parameters.
ROWS_PER_STATEMENT: Final = 128
IDS_PER_STATEMENT: Final = 512
BUSY_MILLISECONDS: Final = 1000

T = TypeVar("T")

COLUMNS: Final = [column.name for column in gearman_job.columns]
ROW: Final = f"({','.join('?' * len(COLUMNS))})"
INSERT: Final = f"INSERT OR IGNORE INTO {gearman_job.name} ({','.join(COLUMNS)}) VALUES "
DELETE: Final = f"DELETE FROM {gearman_job.name} WHERE id IN "
UPDATE: Final = f"UPDATE {gearman_job.name} SET attempts = ?2, run_at = ?3 WHERE id = ?1"

# After these the transaction is rolled back and the connection as good as before.
STILL_GOOD: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class SqliteStorage(SqlStorage):
    """`synchronous`: FULL syncs every batch; NORMAL survives a killed process, but not always a power cut."""

    def __init__(self, url: URL, *, synchronous: str = "FULL") -> None:
        if not url.database or url.database == ":memory:" or url.query:
            raise StorageError(f"{url} does not name a file: use sqlite:////absolute/path or sqlite:///relative/path")
        self.path = Path(url.database).expanduser().resolve()
        self.synchronous = synchronous
        self._lock = LockFile(self.path)
        self._wal = self.path.with_name(self.path.name + "-wal")
        self._driver: Any = None  # aiosqlite's side of the held connection
        self._inode = 0  # of the file that is open
        self._wal_inode = 0  # of its log, 0 until there is one
        super().__init__(url.set(drivername="sqlite+aiosqlite", database=str(self.path)))

    @property
    def description(self) -> str:
        """Path and how safe it is."""
        return f"{self.path} (SQLite, synchronous={self.synchronous})"

    # ---- opening

    def make_engine(self) -> AsyncEngine:
        """Transactions are begun and ended in our own words, so the driver is told to leave them alone."""
        engine = create_async_engine(self.url, poolclass=NullPool, connect_args={"isolation_level": None})
        event.listen(engine.sync_engine, "connect", self._set_pragmas)
        return engine

    def _set_pragmas(self, connection: Any, _record: Any) -> None:
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            "journal_mode=WAL",
            f"synchronous={self.synchronous}",
            "fullfsync=ON",  # macOS: a sync that reaches the platter
        ):
            connection.execute(f"PRAGMA {pragma}")

    async def open(self) -> None:
        """Take the file for this server alone and connect. Raises StorageError."""
        self._check_path()
        self._lock.acquire()
        await super().open()

    async def look(self) -> AsyncConnection:
        """The same without the lock; a file that is not there is not made."""
        self._check_path()
        if not self.path.exists():
            raise StorageError(f"{self.path} does not exist yet: gearmand-py migrate makes it, and so does a start")
        return await super().look()

    def _check_path(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise StorageError(f"the directory {folder} for the database does not exist: create it, or give --database")
        if self.path.is_dir():
            raise StorageError(f"{self.path} is a directory: give --database the path of a file in it")
        for needed in (folder, self.path) if self.path.exists() else (folder,):
            if not os.access(needed, os.W_OK):
                raise StorageError(f"{needed} is not writable for this user: change its owner or mode")

    async def connection(self) -> AsyncConnection:
        """The held connection; a new one notes which file it has open."""
        if self._connection is None:
            if self._inode:
                self._check_file()  # else connecting would make an empty file of that name
            connection = await super().connection()
            self._driver = (await connection.get_raw_connection()).driver_connection
            self._inode = self.path.stat().st_ino
            self._wal_inode = 0
            return connection
        return self._connection

    async def close(self) -> None:
        """Close the file, then let others have it."""
        await super().close()
        self._lock.release()

    # ---- writing

    async def write(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction in one trip to the driver's thread: each trip costs a turn of a busy loop."""
        self._check_file()
        if self._wal_inode and inode(self._wal) != self._wal_inode:
            await in_thread(self._driver, self._write_back)
            await self.disconnect()  # a new connection makes a new log
            await self.connection()
        await in_thread(self._driver, partial(self._transact, changes))
        self._wal_inode = self._wal_inode or inode(self._wal)

    def _check_file(self) -> None:
        """A file that was removed or replaced would go on to take commits that no restart ever finds."""
        if inode(self.path) != self._inode:
            raise StorageRefused(f"{self.path} was removed or replaced while in use: put it back, or restart")

    def _write_back(self, database: sqlite3.Connection) -> None:
        """Bring what a removed log holds into the database."""
        busy, _pages, _written = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageUnavailable(
                f"{self._wal} was removed while in use, and another program keeps {self.path} busy"
            )

    def _transact(self, changes: Changes, database: sqlite3.Connection) -> None:
        try:
            database.execute("BEGIN IMMEDIATE")
            for ids in chunks(changes.deletes, IDS_PER_STATEMENT):
                database.execute(f"{DELETE}({','.join('?' * len(ids))})", ids)
            if changes.updates:
                database.executemany(UPDATE, changes.updates)
            for rows in chunks(changes.inserts, ROWS_PER_STATEMENT):
                database.execute(INSERT + ",".join([ROW] * len(rows)), list(chain.from_iterable(rows)))
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            if primary_code(error) in STILL_GOOD:
                raise self.translate(error) from error
            raise

    # ---- errors

    def translate(self, error: Exception) -> StorageError:
        """SQLite's result codes, in an operator's words."""
        cause = getattr(error, "orig", None) or error
        while not isinstance(cause, sqlite3.Error) and cause.__cause__ is not None:
            cause = cause.__cause__
        match primary_code(cause):
            case sqlite3.SQLITE_FULL:
                return StorageRefused(f"the disk is full: make room on the file system of {self.path}")
            case sqlite3.SQLITE_READONLY:
                return StorageRefused(f"{self.path} is read-only: check its mode and the file system")
            case sqlite3.SQLITE_IOERR:
                return StorageRefused(f"the disk fails on {self.path} ({error_name(cause)}): check the system's log")
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return StorageRefused(
                    f"{self.path} is damaged or no SQLite database ({cause}): move it away and restore a backup, "
                    f"or save what `sqlite3 {self.path} .recover` can read"
                )
            case sqlite3.SQLITE_CANTOPEN:
                return StorageRefused(f"{self.path} cannot be opened: check its directory and mode")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageUnavailable(f"{self.path} is locked by another program")
        return StorageRefused(f"{self.path}: {cause}")


def inode(path: Path) -> int:
    """Which file a path leads to; 0 when to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def primary_code(error: BaseException) -> int:
    """SQLite's result code without its details, 0 when there is none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def error_name(error: BaseException) -> str:
    """SQLite's name of the code, such as SQLITE_IOERR_FSYNC."""
    return getattr(error, "sqlite_errorname", None) or "unknown"


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` by at most `size` each."""
    return (items[at : at + size] for at in range(0, len(items), size))


async def in_thread(driver: Any, work: Callable[[sqlite3.Connection], None]) -> None:
    """Run `work` on the driver's own thread in one trip.

    aiosqlite offers a trip for each statement only; its way of calling into its thread is private, but the same since
    its first release, and SQLAlchemy leans on it too. The tests of this adapter fail if it ever changes.
    """
    await driver._execute(work, driver._conn)  # noqa: SLF001
