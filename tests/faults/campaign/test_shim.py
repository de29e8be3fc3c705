"""The shim does what it is told: else the campaign would go well for want of faults."""

import errno
import sqlite3
import sys
from pathlib import Path
from time import time
from typing import Final

import pytest

from tests.faults.campaign.shim import Action, Calls, Shim
from tests.harness.process import Process

WRITER: Final = """
import sqlite3, sys, time
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode=WAL"), file.execute("PRAGMA synchronous=FULL"), file.execute("CREATE TABLE t(i)")
for line in sys.stdin:
    try:
        file.execute(f"INSERT INTO t VALUES ({line})")
        print("stored", time.time(), flush=True)
    except sqlite3.Error as error:
        print("refused", error.sqlite_errorname, flush=True)
"""


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    return Shim(tmp_path, tmp_path / "file.db")


def writer(shim: Shim, tmp_path: Path) -> Process:
    process = Process(
        [sys.executable, "-c", WRITER, str(tmp_path / "file.db")], stdin=None, environment=shim.environment
    )
    process.say("0")  # the files are there, and their first syncs are over
    process.expect(b"stored")
    return process


@pytest.mark.parametrize(
    ("calls", "action", "error", "said", "rows"),
    [
        (Calls.WRITES, Action.FAIL, errno.ENOSPC, b"SQLITE_FULL", 1),
        (Calls.WRITES, Action.FAIL, errno.EIO, b"SQLITE_IOERR_WRITE", 1),
        (Calls.WRITES, Action.HALF, errno.ENOSPC, b"SQLITE_FULL", 1),
        (Calls.SYNCS, Action.FAIL, errno.EIO, b"SQLITE_IOERR_FSYNC", None),
        (Calls.SYNCS, Action.DO_AND_FAIL, errno.EIO, b"SQLITE_IOERR_FSYNC", None),
    ],
)
def test_a_call_that_fails(
    tmp_path: Path, shim: Shim, calls: Calls, action: Action, error: int, said: bytes, rows: int | None
) -> None:
    with writer(shim, tmp_path) as process:
        shim.arm(calls, action, count=2, error=error)
        process.say("1")
        process.expect(b"refused " + said)
        assert shim.struck
        shim.disarm()
        if rows is not None:
            assert count(tmp_path) == rows
        process.say("2")
        process.expect(b"stored")


def test_the_calls_before_it_go_well(tmp_path: Path, shim: Shim) -> None:
    with writer(shim, tmp_path) as process:
        shim.arm(Calls.SYNCS, Action.FAIL, skip=1, count=1, error=errno.EIO)
        for number, answer in enumerate((b"stored", b"refused", b"stored")):
            process.say(str(number))
            process.expect(answer)
        assert shim.struck == 1


def test_a_process_killed_at_a_write(tmp_path: Path, shim: Shim) -> None:
    with writer(shim, tmp_path) as process:
        shim.arm(Calls.WRITES, Action.KILL)
        process.say("1")
        assert process.wait() == -9
    assert count(tmp_path) == 1


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_the_clock(tmp_path: Path, shim: Shim, seconds: int) -> None:
    with writer(shim, tmp_path) as process:
        shim.shift_clock(seconds)
        process.say("1")
        said = float(process.expect(rb"stored ([\d.]+)")[1])
        assert abs(said - time() - seconds) < 600


def count(tmp_path: Path) -> int:
    with sqlite3.connect(tmp_path / "file.db") as file:
        rows: int = file.execute("SELECT count(*) FROM t").fetchone()[0]
    file.close()
    return rows
