"""One server a queue file: a lock beside it, held by the process and let go by the kernel however the process ends."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from gearmand_py.storage.base import StorageError, StorageInUse

REMEDIES: Final = {
    errno.EACCES: "change its owner or mode",
    errno.ENOSPC: "make room on its file system",
    errno.EROFS: "remount its file system, or give --database another place",
}


class LockFile:
    """An flock on `<file>.lock`, which names the process that holds it.

    Not on the database itself: closing any second descriptor of that file would drop SQLite's own locks.
    """

    def __init__(self, guarded: Path) -> None:
        self._guarded = guarded
        self._path = guarded.with_name(guarded.name + ".lock")
        self._fd = -1

    @property
    def held(self) -> bool:
        """By us."""
        return self._fd >= 0

    def acquire(self) -> None:
        """Raises StorageInUse when another process holds it."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot write the lock file {self._path}: {error.strerror}: {remedy(error)}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StorageInUse(
                f"{self._guarded} is in use by process {holder}: stop that server, or give this one another --database"
            ) from error
        self._fd = fd
        self._write_pid()

    def _write_pid(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            pass  # a full disk: the lock holds all the same, only the message of a second server says less

    def release(self) -> None:
        """Let go. The file stays: removing it would let two servers hold two different ones."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def remedy(error: OSError) -> str:
    """What an operator can do about it."""
    return REMEDIES.get(error.errno or 0, "give --database another place")
