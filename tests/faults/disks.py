"""A small disk that can be filled, and made read-only, without root: it exists in a mount namespace of its own.

A process holds the namespace; servers are started inside it, with `Disk.prefix`, and may be killed and started again
on the same disk. The test reaches the files through that process's /proc entry. An ordinary user gets the right to
mount from a user namespace; root needs none.
"""

import errno
import os
import subprocess
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.process import Process
from tests.harness.tools import need

AS_USER: Final = () if os.geteuid() == 0 else ("--user",)
HOLD: Final = 'mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && exec cat'
# Room for SQLite's log at the length where it is written back, and for the jobs of a minute.
SIZE: Final = 32 * 1024 * 1024
BALLAST: Final = "ballast"
BLOCK: Final = 4096


class Disk:
    """A file system of SIZE bytes at the directory `mount`, seen only from inside."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        mount.mkdir()
        map_root = ("--map-root-user",) if AS_USER else ()
        namespace = [need("unshare"), *AS_USER, *map_root, "--mount", "--propagation", "private"]
        self._holder = Process([*namespace, "sh", "-c", HOLD, "hold", str(mount), str(SIZE)], stdin=None)
        try:
            self._holder.expect(b"mounted")
        except BaseException:
            self._holder.close()
            raise

    @property
    def prefix(self) -> tuple[str, ...]:
        """Runs the command behind it inside."""
        credentials = ("--preserve-credentials",) if AS_USER else ()
        return need("nsenter"), "--target", str(self._holder.pid), *AS_USER, *credentials, "--mount", "--"

    @property
    def files(self) -> Path:
        """The directory as the test can reach it."""
        return Path(f"/proc/{self._holder.pid}/root{self.mount}")

    def fill(self) -> None:
        """Leave no room at all."""
        with (self.files / BALLAST).open("ab", buffering=0) as ballast:
            while write_block(ballast):
                pass

    def make_room(self) -> None:
        """The ballast goes overboard."""
        (self.files / BALLAST).unlink()

    def cover_read_only(self) -> None:
        """Whoever opens a file from now on finds it read-only; open files stay as they are."""
        self._mount("--bind", str(self.mount), str(self.mount))
        self._mount("-o", "remount,bind,ro", str(self.mount))

    def uncover(self) -> None:
        """Undo it."""
        self._run("umount", str(self.mount))

    def _mount(self, *arguments: str) -> None:
        self._run("mount", *arguments)

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """The disk is gone with its last process."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def write_block(file: FileIO) -> bool:
    """Write some more; whether there was room for it."""
    try:
        file.write(bytes(BLOCK))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
