"""Disk space kept back, so that finished jobs can leave the table when the disk is full.

A delete needs room too: for the pages of the log, and for those of earlier inserts when the log is written back.
Without it a disk that was full for a week would have a week's work done again after a restart.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# SQLite writes its log back at 4 MiB; as much again is for the pages that the main file has yet to grow by.
RESERVED_BYTES: Final = 8 * 1024 * 1024
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reserve:
    """A file of RESERVED_BYTES that is removed when the disk is full and made anew when there is room again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = False

    def take(self) -> bool:
        """Hold the space; False when there is not that much. Where no file can be made at all, it goes without."""
        if not self._held:
            try:
                self._allocate()
            except OSError as error:
                self.release()
                return error.errno not in FULL
            self._held = True
        return True

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, RESERVED_BYTES)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the space back."""
        self._held = False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
