"""The other end of shim.c: compiles it, and says what the disk and the clock of a server do."""

import ctypes
import mmap
import subprocess
from enum import IntEnum, IntFlag
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.tools import need

SOURCE: Final = Path(__file__).with_name("shim.c")
SECOND: Final = 1_000_000_000


class Calls(IntFlag):
    """Which system calls are meant."""

    WRITES = 1
    SYNCS = 2


class Action(IntEnum):
    """What happens to them."""

    FAIL = 0
    DO_AND_FAIL = 1
    HALF = 2  # the first one is short, the others fail
    HANG = 3
    KILL = 4


class Control(ctypes.Structure):
    """As in shim.c."""

    _fields_ = (
        ("shift", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("calls", "skip", "count", "action", "error", "milliseconds", "struck")),
    )

    shift: int
    calls: int
    skip: int
    count: int
    action: int
    error: int
    milliseconds: int
    struck: int


class Shim:
    """What stands between servers on the SQLite file `database` and their disk and clock.

    For another database `database` is a path that no server has open.
    """

    def __init__(self, folder: Path, database: Path) -> None:
        library, control = folder / "shim.so", folder / "shim.control"
        if not library.exists():
            compile_(library)
        control.write_bytes(bytes(ctypes.sizeof(Control)))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._control = Control.from_buffer(self._map)
        self.environment = {"LD_PRELOAD": str(library), "SHIM_CONTROL": str(control), "SHIM_FILE": str(database)}

    def arm(
        self,
        calls: Calls,
        action: Action,
        *,
        skip: int = 0,
        count: int = 1,
        error: int = 0,
        milliseconds: int = 0,
    ) -> None:
        """After `skip` more of these calls, this happens to the next `count` of them."""
        control = self._control
        control.count = 0
        control.calls, control.action, control.skip = calls, action, skip
        control.error, control.milliseconds, control.struck = error, milliseconds, 0
        control.count = count

    def disarm(self) -> int:
        """All goes well again; returns how many calls it has happened to, none of them later than this."""
        self._control.count = 0
        struck, self._control.struck = self._control.struck, 0
        return struck

    @property
    def struck(self) -> int:
        """How many calls it has happened to since `arm`."""
        return self._control.struck

    def shift_clock(self, seconds: float) -> None:
        """The wall clock is ahead by this, from one moment to the next."""
        self._control.shift = int(seconds * SECOND)

    def close(self) -> None:
        """The servers keep their mapping."""
        del self._control
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def compile_(library: Path) -> None:
    """Make the library."""
    command = [need("gcc"), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
