"""The queue in a SQLite file: WAL mode, one transaction and one sync a batch."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gearmand_py.storage.base import Changes, JobRecord, RowRefused, StorageError, StorageRefused, StorageUnavailable
from gearmand_py.storage.lockfile import LockFile, remedy
from gearmand_py.storage.reading.sqlite import SqliteReader
from gearmand_py.storage.reserve import Reserve
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import COLUMNS, SqlStorage, updates_in
from gearmand_py.storage.upkeep import BUSY_SECONDS, CAN_BE_CUT, IDLE_SECONDS, LONGEST_LOG, Upkeep

# A statement of this many rows takes and gives back the interpreter lock once; more rows a statement gain nothing
# (docs/benchmarks.md), and 9 columns each keep it under SQLite's limit of 32,766 parameters.
ROWS_PER_STATEMENT: Final = 128
IDS_PER_STATEMENT: Final = 512
# A payload from this size on is written in pieces of it: bound in one, it is copied with the interpreter locked, for 40
# to 100 ms at 64 MiB, and its statement keeps the copy.
PIECE: Final = 1024 * 1024
BUSY_MILLISECONDS: Final = 1000

ROW: Final = f"({','.join('?' * len(COLUMNS))})"
LARGE_ROW: Final = f"({','.join('?' * (len(COLUMNS) - 1))},zeroblob(?))"  # the payload is the last column

# sqlite3 asks a value of these types whether it adapts itself, by attributes that it has not, unless it has an adapter
# here: a third of the time that a row takes, with the interpreter locked (docs/benchmarks.md). Both give back what they
# get.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), lambda none: none)

T = TypeVar("T")

# After these the transaction is rolled back and the connection as good as before.
STILL_GOOD: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_TOOBIG})

DAMAGED: Final = (
    "{path} is damaged or no SQLite database ({cause}): move it away and restore a backup, "
    "or save what `sqlite3 {path} .recover` can read"
)
REFUSALS: Final = {
    sqlite3.SQLITE_READONLY: "{path} is read-only: check its mode and the file system",
    sqlite3.SQLITE_IOERR: "the disk fails on {path} ({name}): check the system's log",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: check its directory and mode",
}


class SqliteStorage(SqlStorage):
    """`synchronous`: FULL syncs every batch; NORMAL survives a killed process, but not always a power cut."""

    embedded = True

    def __init__(self, url: URL, tables: Tables, *, synchronous: str = "FULL") -> None:
        self.path = file_of(url)
        self.synchronous = synchronous
        self._lock = LockFile(self.path)
        self._wal = self.path.with_name(self.path.name + "-wal")
        self._reserve = Reserve(self.path.with_name(self.path.name + ".reserve"))
        self._upkeep = Upkeep(self.path, self._wal)
        self._driver: Any = None  # aiosqlite's side of the held connection
        self._inode = 0  # of the file that is open
        self._wal_inode = 0  # of its log, 0 until there is one
        super().__init__(url.set(drivername="sqlite+aiosqlite", database=str(self.path)), tables)
        self._insert = f"INSERT OR IGNORE INTO {self.table} ({','.join(COLUMNS)}) VALUES "
        self._delete = f"DELETE FROM {self.table} WHERE id IN "

    @property
    def description(self) -> str:
        """Path and how safe it is."""
        return f"{self.path} (SQLite, synchronous={self.synchronous})"

    # ---- opening

    def make_engine(self) -> AsyncEngine:
        """Transactions are begun and ended in our own words, so the driver is told to leave them alone."""
        ours = {"isolation_level": None}
        engine = create_async_engine(self.url, poolclass=NullPool, connect_args=ours, hide_parameters=True)
        event.listen(engine.sync_engine, "connect", self._set_pragmas)
        return engine

    def _set_pragmas(self, connection: Any, _record: Any) -> None:
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            *([CAN_BE_CUT] if is_empty(self.path) else []),
            "journal_mode=WAL",
            f"journal_size_limit={LONGEST_LOG}",
            f"synchronous={self.synchronous}",
            "fullfsync=ON",  # macOS: a sync that reaches the platter
        ):
            connection.execute(f"PRAGMA {pragma}")

    async def open(self) -> None:
        """Take the file for this server alone and connect. Raises StorageError."""
        self._check_path()
        self._lock.acquire()
        self._make_private()
        await super().open()

    async def look(self) -> AsyncConnection:
        """The same without the lock; a file that is not there is not made."""
        self._check_path()
        if not self.path.exists():
            raise StorageError(f"{self.path} does not exist yet: gearmand-py migrate makes it, and so does a start")
        return await super().look()

    def _check_path(self) -> None:
        with told_of(self.path):
            check_path(self.path)

    def _make_private(self) -> None:
        """Make a file that is not there: SQLite would let everybody read it. Its log and index take its mode."""
        with told_of(self.path), suppress(FileExistsError):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

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
        if self._connection is not None and self._log_removed and inode(self.path) == self._inode:
            with suppress(StorageError):
                await in_thread(self._driver, self._write_back)
        await super().close()
        if self._lock.held:
            self._reserve.release()
        self._lock.release()

    # ---- writing

    async def write(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction in one trip to the driver's thread: each trip costs a turn of a busy loop."""
        self._check_file()
        if self._upkeep.due and not self._log_removed:
            await in_thread(self._driver, partial(self._upkeep.run, BUSY_SECONDS if any(changes) else IDLE_SECONDS))
        if not any(changes):
            return
        if self._log_removed:
            await in_thread(self._driver, self._write_back)
            await self.disconnect()  # a new connection makes a new log
            await self.connection()
        if changes.inserts and not self._reserve.take():
            raise self._full()
        try:
            await in_thread(self._driver, partial(self._transact, changes))
        except StorageError as error:
            await self._after(error)
            raise
        self._wal_inode = self._wal_inode or inode(self._wal)

    async def _after(self, error: StorageError) -> None:
        """A full disk gives its reserve to the deletes, and rows wait until it can be taken again."""
        code = primary_code(error.__cause__)
        if code == sqlite3.SQLITE_FULL:
            self._reserve.release()
        if code not in STILL_GOOD and not self._log_removed:
            await self.disconnect()

    def _check_file(self) -> None:
        """A file that was removed or replaced would go on to take commits that no restart ever finds."""
        if inode(self.path) != self._inode:
            raise StorageRefused(f"{self.path} was removed or replaced while in use: put it back, or restart")

    @property
    def _log_removed(self) -> bool:
        """Then what it holds is ours alone, and gone when the connection is."""
        return self._wal_inode != 0 and inode(self._wal) != self._wal_inode

    def _write_back(self, database: sqlite3.Connection) -> None:
        """Bring what a removed log holds into the database. The connection stays open if that fails."""
        try:
            busy, _pages, _written = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self.translate(error) from error
        if busy:
            raise StorageUnavailable(
                f"{self._wal} was removed while in use, and another program keeps {self.path} busy"
            )

    def _transact(self, changes: Changes, database: sqlite3.Connection) -> None:
        committing = False
        try:
            database.execute("BEGIN IMMEDIATE")
            for ids in chunks(changes.deletes, IDS_PER_STATEMENT):
                database.execute(f"{self._delete}({','.join('?' * len(ids))})", ids)
            for statement in updates_in(self.table, changes.updates):
                database.execute(statement)
            for rows in chunks([row for row in changes.inserts if len(row.data) < PIECE], ROWS_PER_STATEMENT):
                database.execute(self._insert + ",".join([ROW] * len(rows)), list(chain.from_iterable(rows)))
            for row in changes.inserts:
                if len(row.data) >= PIECE:
                    self._insert_large(row, database)
            for statement in changes.also:
                database.execute(statement)
            committing = True
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            failure = self.translate(error)
            failure.unknown_outcome = committing  # a log whose sync failed may be whole all the same
            raise failure from error

    def _insert_large(self, row: JobRecord, database: sqlite3.Connection) -> None:
        """Room for the payload, then its pieces."""
        *columns, data = row
        if database.execute(self._insert + LARGE_ROW, (*columns, len(data))).rowcount:
            with database.blobopen(self.tables.job_name, "data", row.id) as blob:
                for at in range(0, len(data), PIECE):
                    blob.write(memoryview(data)[at : at + PIECE])

    # ---- looking

    def reader(self) -> SqliteReader:
        """Has the file open read-only."""
        return SqliteReader(self.path, self.table, self.translate)

    async def advice(self) -> list[str]:
        """Whether each commit is synced."""
        if self.synchronous == "FULL":
            return []
        risk = "the jobs acknowledged last may be lost in a power cut"
        return [f"{self.path}: synchronous is {self.synchronous}: {risk}: set it to full"]

    # ---- errors

    def _full(self) -> StorageRefused:
        return StorageRefused(f"the disk is full: make room on the file system of {self.path}, 8 MiB at least")

    def translate(self, error: Exception) -> StorageError:
        """SQLite's result codes, in an operator's words."""
        cause = getattr(error, "orig", None) or error
        while not isinstance(cause, sqlite3.Error) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, OverflowError):
            return RowRefused(f"{self.path}: a number is too large: {cause}")
        match primary_code(cause):
            case sqlite3.SQLITE_FULL:
                return self._full()
            case sqlite3.SQLITE_IOERR if os.statvfs(self.path.parent).f_bavail == 0:
                return self._full()  # the log's index could not grow
            case sqlite3.SQLITE_TOOBIG:
                return RowRefused(f"{self.path}: a job is larger than SQLite stores, 1 GB")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageUnavailable(f"{self.path} is locked by another program")
            case code:
                text = REFUSALS.get(code, "{path}: {cause}")
                return StorageRefused(text.format(path=self.path, cause=cause, name=error_name(cause)))


def file_of(url: URL) -> Path:
    """The file that a URL names. Raises StorageError."""
    wanted = "use sqlite:////absolute/path or sqlite:///relative/path"
    url = url.set(drivername="sqlite")  # as people write it
    if url.host:
        raise StorageError(f"{url} has a host, {url.host}, where a file needs one slash more: {wanted}")
    if not url.database or not Path(url.database).name or url.database == ":memory:" or url.query:
        raise StorageError(f"{url} does not name a file: {wanted}")
    try:
        return Path(url.database).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no home, a circle of links, a NUL
        raise StorageError(f"{url} does not name a file: {error}; {wanted}") from error


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """What the system has against a path, in an operator's words."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}: {remedy(error)}") from error


def check_path(path: Path) -> None:
    """Can a database be kept here? Raises StorageError, or OSError for what says enough by itself."""
    folder = path.parent
    if not folder.is_dir():
        raise StorageError(f"the directory {folder} for the database does not exist: create it, or give --database")
    if path.is_dir():
        raise StorageError(f"{path} is a directory: give --database the path of a file in it")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is not a regular file: give --database another path")
    for needed in (folder, path) if path.exists() else (folder,):
        if not os.access(needed, os.W_OK):
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                raise StorageError(
                    f"{needed} is on a read-only file system: remount it, or give --database another place"
                )
            raise StorageError(f"{needed} is not writable for this user: change its owner or mode")


def inode(path: Path) -> int:
    """Which file a path leads to; 0 when to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def is_empty(path: Path) -> bool:
    """No database has been made in this file yet."""
    return path.stat().st_size == 0


def primary_code(error: BaseException | None) -> int:
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
