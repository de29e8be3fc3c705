"""What keeps a SQLite file and its log from growing for good.

Pages that a drained backlog leaves free are taken by the next rows. What is far more than these will need goes back to
the file system: `incremental_vacuum` moves the last pages of the file to free ones and cuts the file there, some pages
a transaction, so that no commit waits for long and a kill at any moment finds either all or nothing of it done. Where
next to nothing is left, VACUUM does all at once. A file without `auto_vacuum = INCREMENTAL`, made by hand or by others,
is left as it is.

The log is written back by the commit that brings it to 4 MiB, and begun again. It grows as long as another program has
a transaction open, without a bound; `journal_size_limit` cuts it once that program is gone.
"""

import logging
import sqlite3
from pathlib import Path
from time import monotonic
from typing import Final

log = logging.getLogger(__name__)

# To be said to an empty file, before the journal's mode makes its first page. Later it would only take a lock.
CAN_BE_CUT: Final = "auto_vacuum=INCREMENTAL"
LONGEST_LOG: Final = 64 * 1024 * 1024

# Kept for the next rows, however small the file is; of a larger one a quarter is.
KEPT_BYTES: Final = 16 * 1024 * 1024
# How long a step may keep a batch waiting, and how long when nobody commits anything.
BUSY_SECONDS: Final = 0.005
IDLE_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 1.0
PAUSE_AFTER_FAILURE: Final = 60.0
# A file with so few pages in use is made anew when nobody commits, in no more time than a step takes.
FEW_PAGES: Final = 64
FEWEST_PAGES: Final = 16
MOST_PAGES: Final = 4096
# The largest batch writes a third of this.
LARGE_LOG_BYTES: Final = 256 * 1024 * 1024

SPACE: Final = """
    SELECT auto_vacuum = 2, page_size, page_count, freelist_count
    FROM pragma_auto_vacuum, pragma_page_size, pragma_page_count, pragma_freelist_count
"""
USED: Final = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"


class Upkeep:
    """Of one file, a little at a time. `run` is called in the database's thread."""

    def __init__(self, path: Path, wal: Path) -> None:
        self._path = path
        self._wal = wal
        self._next = 0.0
        self._pace = FEWEST_PAGES / BUSY_SECONDS  # pages a second; careful at first
        self._uncut = False  # pages were given back, and the file is as long as before
        self._failed = False
        self._large = False

    @property
    def due(self) -> bool:
        """Again, some time after the last one."""
        return monotonic() >= self._next

    def run(self, seconds: float, database: sqlite3.Connection) -> None:
        """Give free pages back for about so long. A failure is told, and fails no batch."""
        try:
            self._give_back(seconds, database)
            self._next = monotonic() + PAUSE_SECONDS
            self._failed = False
        except sqlite3.Error as error:
            self._give_up(error, database)
        self._watch_log()

    def _give_up(self, error: sqlite3.Error, database: sqlite3.Connection) -> None:
        if database.in_transaction:
            database.execute("ROLLBACK")
        if not self._failed:
            log.warning("the free space of %s is not given back for now: %s", self._path, error)
        self._next = monotonic() + PAUSE_AFTER_FAILURE
        self._failed = True

    def _give_back(self, seconds: float, database: sqlite3.Connection) -> None:
        until = monotonic() + seconds
        idle = seconds == IDLE_SECONDS
        if idle and spare_pages(database) and used_pages(database) <= FEW_PAGES:
            database.execute("VACUUM")
            self._uncut = True
        while (left := until - monotonic()) > 0 and (spare := spare_pages(database)):
            affordable = min(max(FEWEST_PAGES, int(left * self._pace)), MOST_PAGES)
            self._step(min(spare, affordable), database)
            self._uncut = True
        if self._uncut and idle:  # under load the commits do it
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # which cuts the file
            self._uncut = False

    def _step(self, pages: int, database: sqlite3.Connection) -> None:
        """A page takes from 3 microseconds to some hundred, as the free ones lie, and a transaction its sync."""
        began = monotonic()
        # Not `execute`: it would stop at the first page.
        database.executescript(f"BEGIN IMMEDIATE; PRAGMA incremental_vacuum({pages}); COMMIT")
        self._pace = min(pages / max(monotonic() - began, 1e-6), 2 * self._pace)

    def _watch_log(self) -> None:
        try:
            size = self._wal.stat().st_size
        except OSError:
            return
        large = size >= LARGE_LOG_BYTES
        if large and not self._large:
            log.warning(
                "%s has grown to %d MB, and grows on: another program has a transaction open on %s: end it",
                self._wal,
                size // 1_000_000,
                self._path,
            )
        elif self._large and not large:
            log.warning("%s is back at %d MB", self._wal, size // 1_000_000)
        self._large = large


def spare_pages(database: sqlite3.Connection) -> int:
    """Free pages that are to be given back."""
    can_be_cut, page_size, pages, free = database.execute(SPACE).fetchone()
    kept = max(KEPT_BYTES // page_size, pages // 4)
    return max(0, free - kept) if can_be_cut else 0


def used_pages(database: sqlite3.Connection) -> int:
    """Pages that hold something."""
    used: int = database.execute(USED).fetchone()[0]
    return used
