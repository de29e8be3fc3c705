"""A running server whose disk, file or neighbours fail it: it serves on, says so, recovers, and loses nothing.

Each fault goes through the same story, told in `Story`. The servers, the files and the faults are real.
"""

import re
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

import pytest

from gearmand_py.server import packets
from gearmand_py.server.journal import FIRST_ROWS, HIGH_ROWS
from tests.conftest import StartServer
from tests.faults.disks import Disk
from tests.faults.story import DOWN, FUNCTION, PATIENCE, UP, Story
from tests.harness.process import Process
from tests.harness.server import Server
from tests.harness.tools import need
from tests.load import Load, Record, jobs_of
from tests.load import drain as drain_function

WAITING: Final = 300
SOUND: Final = 3 * 4096  # bytes at the start of a damaged file that are left as they are


class FileStory(Story):
    """The same of a server on a SQLite file."""

    def __init__(self, server: Server, stack: ExitStack, disk: Disk | None) -> None:
        super().__init__(server, stack)
        self.file = server.database
        self.disk = disk  # where the file is, if that is a small one


# ---- the faults: each holds while its context does, and gives a pattern for the reason that clients are told


@contextmanager
def full(story: FileStory) -> Iterator[str]:
    """The disk is full."""
    disk = disk_of(story)
    disk.fill()
    yield rf"the disk is full: make room on the file system of {story.file}"
    disk.make_room()


@contextmanager
def read_only(story: FileStory) -> Iterator[str]:
    """The file system has become read-only, as Linux makes it after an error: writes fail, then opening for them."""
    disk = disk_of(story)
    disk.cover_read_only()
    with no_writes(story.server.pid):
        story.refusal()
    yield rf"{story.file} is read-only"
    disk.uncover()


@contextmanager
def failing(story: FileStory) -> Iterator[str]:
    """The disk fails: no byte can be written to any file."""
    with no_writes(story.server.pid):
        yield rf"the disk fails on {story.file} \(SQLITE_IOERR\w*\)"


@contextmanager
def unsynced(story: FileStory) -> Iterator[str]:
    """The disk takes writes, and fails to keep them."""
    syncs = "fsync,fdatasync"
    options = ["-f", "-e", f"trace={syncs}", "-e", f"inject={syncs}:error=EIO", "-e", "signal=none"]
    with Process([need("strace"), *options, "-p", str(story.server.pid)]) as injector:
        injector.expect_error(b"attached")
        yield rf"the disk fails on {story.file} \(SQLITE_IOERR\w*\)"
        injector.send_signal(signal.SIGINT)
        injector.wait()


@contextmanager
def locked(story: FileStory) -> Iterator[str]:
    """Another program holds a lock for longer than the storage timeout."""
    with another_program(story.file) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield rf"{story.file} is locked by another program"
        other.execute("ROLLBACK")


@contextmanager
def moved(story: FileStory) -> Iterator[str]:
    """The file is moved away, and back."""
    away = story.file.with_name("away.db")
    story.file.rename(away)
    yield rf"{story.file} was removed or replaced"
    assert not story.file.exists()
    away.rename(story.file)


@contextmanager
def damaged(story: FileStory) -> Iterator[str]:
    """All but the first pages of the file become garbage, and later are what they were."""
    with another_program(story.file) as other:
        busy, in_log, written_back = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (busy, in_log, written_back) == (0, 0, 0)
    with story.file.open("r+b", buffering=0) as file:
        file.seek(SOUND)
        content = file.read()
        file.seek(SOUND)
        file.write(b"\xff" * len(content))
        yield rf"{story.file} is damaged"
        file.seek(SOUND)
        file.write(content)


@contextmanager
def no_writes(pid: int) -> Iterator[None]:
    """The limit on the size of files is below every byte that a process might write; pipes have none."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    with suppress(ProcessLookupError):  # it was killed meanwhile
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def another_program(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else who has the file open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def disk_of(story: FileStory) -> Disk:
    assert story.disk
    return story.disk


Fault = Callable[[FileStory], AbstractContextManager[str]]

FAULTS: Final[dict[str, Fault]] = {
    "disk full": full,
    "read-only": read_only,
    "disk fails": failing,
    "disk fails to sync": unsynced,
    "locked": locked,
    "file moved away": moved,
    "file damaged": damaged,
}
ON_A_DISK: Final = (full, read_only)
# A job that was refused may be in the file all the same, for as long as nothing can be taken out of it.
UNCERTAIN: Final = (unsynced,)
# The pages that `damaged` puts back must still be those that belong there.
UNDER_LOAD: Final = {name: fault for name, fault in FAULTS.items() if fault is not damaged}


class Tell(Protocol):
    """Starts a story for a fault: a server, on a small disk if need be, with some jobs of some size waiting."""

    def __call__(self, fault: Fault, *, timeout: int = 1) -> FileStory: ...


@pytest.fixture
def tell(tmp_path: Path, start_server: StartServer) -> Iterator[Tell]:
    """See Tell."""
    with ExitStack() as stack:

        def tell(fault: Fault, *, timeout: int = 1) -> FileStory:
            disk = stack.enter_context(Disk(tmp_path / "disk")) if fault in ON_A_DISK else None
            name = "disk/queue.db" if disk else "queue.db"
            prefix = disk.prefix if disk else ()
            server = start_server("--storage-timeout", str(timeout), name=name, prefix=prefix)
            story = FileStory(server, stack, disk)
            story.store(*[b"%04d " % number + b"x" * 1000 for number in range(WAITING)])
            return story

        yield tell


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_that_passes(tell: Tell, fault: Fault) -> None:
    story = tell(fault)
    with fault(story) as reason:
        story.work(3)
        for _ in range(3):
            assert re.match(reason, story.refusal())
            story.run_foreground_job()
            story.work(2)
    story.store(b"first after it")  # without anybody's doing
    story.store(*[b"after it %d" % number for number in range(100)])
    story.kill_and_compare()
    story.expect_log(DOWN, UP)


@pytest.mark.parametrize("fault", UNDER_LOAD.values(), ids=UNDER_LOAD)
def test_a_fault_under_load(tell: Tell, fault: Fault) -> None:
    story = tell(fault)
    record = Record()
    load = Load(story.server.port, record, submitted=(b"now", b"later"), worked=(b"now",))
    try:
        load.wait_until(lambda: len(record.acknowledged) > 500)
        with fault(story):
            load.wait_until(lambda: len(record.refused) > 500)
            story.run_foreground_job()
        acknowledged = len(record.acknowledged)
        load.wait_until(lambda: len(record.acknowledged) > acknowledged + 500)
    finally:
        story.server.kill()
        load.stop()
    record.restart()
    assert story.restart_and_drain() == story.waiting
    for function in (b"now", b"later"):
        drain_function(story.server.port, record, function)
    assert record.lost == set()
    assert record.anomalies == []
    assert record.refused.keys() & record.executed.keys() == set()
    story.expect_log(DOWN, UP)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_server_killed_in_the_middle_of_a_fault(tell: Tell, fault: Fault) -> None:
    story = tell(fault)
    completed = story.waiting[:5]
    with fault(story) as reason:
        story.work(5)
        assert re.match(reason, story.refusal())
        story.server.kill()
    found = story.restart_and_drain()
    if fault in UNCERTAIN and found[-1] == b"refused":
        found.pop()
    # A completion that could not be stored is a job that runs once more; nothing else may come back.
    assert found[-len(story.waiting) :] == story.waiting
    assert found[: -len(story.waiting)] in (completed[at:] for at in range(len(completed) + 1))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_server_stopped_in_the_middle_of_a_fault(tell: Tell, fault: Fault) -> None:
    story = tell(fault)
    with fault(story) as reason:
        story.work(5)
        assert re.match(reason, story.refusal())
        assert story.server.stop() == 0


def test_a_lock_shorter_than_the_timeout_is_waited_out(tell: Tell) -> None:
    story = tell(locked, timeout=30)
    with locked(story) as reason:
        story.client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"during")
        story.server.expect(f"{DOWN}: {reason}".encode())
        story.run_foreground_job()
    assert story.client.receive(PATIENCE)[0] == packets.JOB_CREATED
    story.waiting.append(b"during")
    story.kill_and_compare()
    story.expect_log(DOWN, UP)


def test_a_flood_is_held_back(tell: Tell) -> None:
    """While nothing can be stored, the server takes what it has room for and leaves the rest to the clients."""
    story = tell(locked, timeout=30)
    record = Record()
    with locked(story):
        load = Load(story.server.port, record, submitted=(b"flood",), worked=(), workers=0, idlers=0, window=10_000)
        try:
            until = monotonic() + PATIENCE
            while (held := jobs_of(story.client, b"flood")) < FIRST_ROWS:
                assert monotonic() < until, f"{held} jobs"
            for _ in range(100):  # it has had its chances to read on
                held = jobs_of(story.client, b"flood")
        except BaseException:
            load.stop()
            raise
    try:
        assert FIRST_ROWS <= held < HIGH_ROWS
        assert record.acknowledged == set()
        assert record.submitted == 80_000
        load.wait_until(lambda: len(record.acknowledged) > 80_000)
    finally:
        story.server.kill()
        load.stop()
    assert record.refused == {}


def test_nothing_is_lost_when_the_log_is_removed(tell: Tell) -> None:
    story = tell(moved)
    story.file.with_name("queue.db-wal").unlink()
    story.store(b"after it")
    story.kill_and_compare()
    assert story.log() == []


@pytest.mark.parametrize("fault", [full, failing])
def test_nothing_is_lost_when_the_log_is_removed_from_a_failing_disk(tell: Tell, fault: Fault) -> None:
    """Its only copy is in the hands of the server, which must not let go of it."""
    story = tell(fault)
    files = story.disk.files if story.disk else story.file.parent
    with fault(story):
        (files / "queue.db-wal").unlink()
        for _ in range(3):
            story.refusal()
    story.store(b"after it")
    story.kill_and_compare()


def test_completions_are_stored_on_a_full_disk(tell: Tell) -> None:
    """They need hardly any room: a disk that is full for a week must not have a week's work done again."""
    story = tell(full)
    with full(story):
        story.refusal()
        story.work(WAITING)
        story.refusal()
        story.server.kill()
    assert story.restart_and_drain() == []
