"""What is particular to a queue in a SQLite file: who may open it, what its disk may do, and what people do to it."""

# ruff: noqa: ASYNC240 - a test that looks at a file may block its own loop

import os
import re
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import make_url

from gearmand_py.migrations import upgrade
from gearmand_py.storage.base import Changes, StorageError, StorageInUse, StorageRefused, StorageUnavailable
from gearmand_py.storage.reserve import RESERVED_BYTES
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.sqlite import BUSY_MILLISECONDS, SqliteStorage
from gearmand_py.storage.urls import storage_for
from tests.harness.process import Process
from tests.storage.records import delete, everything, ids, insert, job, jobs

# Opens the queue of its first argument, says so, and holds it until it is killed.
HOLDER: Final = """
import asyncio, sys
from gearmand_py.storage.urls import storage_for

async def hold():
    async with storage_for(sys.argv[1]):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the queue is, or will be."""
    return tmp_path / "queue.db"


@pytest.fixture
async def storage(file: Path) -> AsyncIterator[SqliteStorage]:
    """An open storage with the rows 1, 2 and 3."""
    async with SqliteStorage(make_url(f"sqlite:///{file}"), Tables()) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(*jobs(1, 3)))
        yield storage


def stored_in(file: Path) -> SqlStorage:
    return storage_for(f"sqlite:///{file}")


async def ids_in(file: Path) -> list[int]:
    """What a server finds when it starts on this file."""
    async with stored_in(file) as storage:
        return await ids(storage)


async def pragma(storage: SqlStorage, words: str) -> Any:
    """Ask or tell SQLite something on the very connection that the batches go through."""
    connection = await storage.connection()
    result = await connection.exec_driver_sql(f"PRAGMA {words}")
    answer = result.scalar() if result.returns_rows else None
    await connection.rollback()
    return answer


@contextmanager
def another_program(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else who has the file open, such as the sqlite3 shell."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


async def refusal(storage: SqlStorage, changes: Changes) -> str:
    """The text with which a batch is refused for good."""
    with pytest.raises(StorageRefused) as caught:
        await storage.commit(changes)
    return str(caught.value)


# ---- one server a file


async def test_a_second_storage_is_refused(storage: SqliteStorage, file: Path) -> None:
    second = stored_in(file)
    with pytest.raises(StorageInUse) as caught:
        await second.open()
    assert str(file) in str(caught.value)
    assert re.search(rf"\bprocess {os.getpid()}\b", str(caught.value))
    await second.close()
    # Having been refused, it has not loosened the grip of the first.
    with pytest.raises(StorageInUse):
        await stored_in(file).open()
    await storage.commit(insert(job(4)))
    assert await ids(storage) == [1, 2, 3, 4]


async def test_a_closed_storage_lets_go_of_the_file(file: Path) -> None:
    for _ in range(3):
        async with stored_in(file):
            pass


async def test_the_same_file_by_another_name_is_refused(storage: SqliteStorage, file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(file)
    (tmp_path / "folder").mkdir()
    for name in (tmp_path / "link.db", tmp_path / "folder" / ".." / "queue.db"):
        with pytest.raises(StorageInUse):
            await stored_in(name).open()


async def test_a_killed_process_lets_go_of_the_file(file: Path) -> None:
    url = f"sqlite:///{file}"
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
    with Process([sys.executable, "-c", HOLDER, url]) as holder:
        holder.expect(b"open")
        with pytest.raises(StorageInUse, match=rf"{re.escape(str(file))} is in use by process {holder.pid}\b"):
            await storage_for(url).open()
        holder.close()  # kill -9
        assert await ids_in(file) == []


async def test_a_storage_that_failed_to_open_lets_go_of_the_file(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageRefused):
        async with stored_in(file):
            pytest.fail("opened")
    file.unlink()
    async with stored_in(file):
        pass


# ---- who may read it


@pytest.fixture
def generous_umask() -> Iterator[None]:
    """New files may be read and written by all, unless their maker says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous_umask")
async def test_payloads_are_for_nobody_elses_eyes(file: Path) -> None:
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(job(1)))
        modes = {path.name.removeprefix(file.name): path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert modes == dict.fromkeys(("", "-wal", "-shm", ".lock", ".reserve"), 0o600)


@pytest.mark.usefixtures("generous_umask")
async def test_a_mode_that_somebody_gave_stays(file: Path) -> None:
    file.touch()
    file.chmod(0o640)
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(job(1)))
        assert {path.stat().st_mode & 0o777 for path in (file, Path(f"{file}-wal"))} == {0o640}


# ---- what cannot be opened


async def test_the_directory_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    with pytest.raises(StorageError, match=f"directory {re.escape(str(folder))} .* does not exist"):
        await stored_in(folder / "queue.db").open()
    assert not folder.exists()


async def test_the_path_is_a_directory(file: Path) -> None:
    file.mkdir()
    with pytest.raises(StorageError, match=f"{re.escape(str(file))} is a directory"):
        await stored_in(file).open()


async def test_the_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=re.escape(str(tmp_path / "file"))):
        await stored_in(tmp_path / "file" / "queue.db").open()


@pytest.mark.parametrize("size", [1024, 4096, 100_000])
async def test_the_file_is_no_database(file: Path, size: int) -> None:
    garbage = (b"Dear diary, " * 10_000)[:size]
    file.write_bytes(garbage)
    with pytest.raises(StorageRefused, match=f"{re.escape(str(file))} is damaged or no SQLite database"):
        await stored_in(file).open()
    assert file.read_bytes() == garbage


async def test_an_empty_file_is_an_empty_database(file: Path) -> None:
    file.touch()
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
        assert await ids(storage) == []


async def test_a_file_that_others_have_open_can_be_opened(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (3,)
        await storage.commit(insert(job(4)))
        await storage.close()
        assert await ids_in(file) == [1, 2, 3, 4]


# ---- the disk


async def test_a_full_disk_is_told_and_left_behind(storage: SqliteStorage, file: Path) -> None:
    await pragma(storage, f"max_page_count={await pragma(storage, 'page_count')}")
    large = [job(id_, data=b"x" * 1000) for id_ in range(10, 2000)]
    text = await refusal(storage, Changes([1], (), large))
    assert "disk is full" in text
    assert str(file) in text
    assert await everything(storage) == jobs(1, 3)

    await storage.commit(delete(1))  # deletes go through: they need no room
    await pragma(storage, "max_page_count=100000")
    await storage.commit(insert(*large))
    assert await ids(storage) == [2, 3, *range(10, 2000)]


async def test_a_full_disk_gives_its_reserve_to_the_deletes(storage: SqliteStorage, file: Path) -> None:
    reserve = file.with_name("queue.db.reserve")
    assert reserve.stat().st_blocks * 512 >= RESERVED_BYTES
    await pragma(storage, f"max_page_count={await pragma(storage, 'page_count')}")
    await refusal(storage, insert(*[job(id_, data=b"x" * 1000) for id_ in range(10, 2000)]))
    assert not reserve.exists()
    await storage.commit(delete(1))
    assert not reserve.exists()
    await storage.commit(insert(job(4)))  # for which there is room; so there is for the reserve
    assert reserve.stat().st_blocks * 512 >= RESERVED_BYTES
    await storage.close()
    assert not reserve.exists()


async def test_a_read_only_database(storage: SqliteStorage, file: Path) -> None:
    await pragma(storage, "query_only=ON")
    text = await refusal(storage, insert(job(4)))
    assert f"{file} is read-only" in text
    await storage.commit(insert(job(4)))  # a new connection looks again
    assert await ids(storage) == [1, 2, 3, 4]


async def test_a_damaged_file(file: Path) -> None:
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(*[job(id_, data=b"x" * 500) for id_ in range(1, 1001)]))
    sound = file.read_bytes()
    with file.open("r+b") as damaged:
        damaged.seek(4096 * 40)
        damaged.write(b"\xff" * 4096 * 40)
    async with stored_in(file) as storage:
        with pytest.raises(StorageRefused, match=f"{re.escape(str(file))} is damaged"):
            await everything(storage)
        assert "is damaged" in await refusal(storage, delete(*range(1, 1001)))

    file.write_bytes(sound)
    assert len(await ids_in(file)) == 1000


async def test_a_row_that_the_database_refuses(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute(
            "CREATE TRIGGER no BEFORE INSERT ON gearman_job WHEN new.id = 300"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    text = await refusal(storage, Changes([1], (), jobs(10, 500)))
    assert "not this one" in text
    assert str(file) in text
    assert await ids(storage) == [1, 2, 3]
    await storage.commit(Changes([1], (), jobs(10, 299)))
    assert await ids(storage) == [2, 3, *range(10, 300)]


# ---- other programs


@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
async def test_a_lock_is_waited_out(storage: SqliteStorage, file: Path, how: str) -> None:
    with another_program(file) as other:
        other.execute(f"BEGIN {how}")
        with pytest.raises(StorageUnavailable, match=f"{re.escape(str(file))} is locked by another program"):
            await storage.commit(insert(job(4)))
        other.execute("ROLLBACK")
        await storage.commit(insert(job(5)))
    assert await ids(storage) == [1, 2, 3, 5]


async def test_a_file_that_is_locked_cannot_be_taken_now(file: Path) -> None:
    async with stored_in(file) as storage:
        await upgrade(storage.engine)
    with another_program(file) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable, match="locked by another program"):
            async with stored_in(file) as storage:
                await ids(storage)
    assert await ids_in(file) == []


async def test_reading_programs_hold_nothing_up(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM gearman_job").fetchone()
        await storage.commit(Changes([1], (), jobs(4, 3000)))
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (3,)
        other.execute("COMMIT")
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (2999,)


# ---- files that go while they are open


async def test_a_removed_file_is_not_made_anew(storage: SqliteStorage, file: Path, tmp_path: Path) -> None:
    file.unlink()
    for _ in range(3):  # the first may end the connection, the next ones must not make another file
        assert f"{file} was removed or replaced" in await refusal(storage, insert(job(4)))
    assert not file.exists()


async def test_a_file_that_was_put_back_goes_on(storage: SqliteStorage, file: Path) -> None:
    file.rename(file.with_name("away.db"))
    await refusal(storage, insert(job(4)))
    file.with_name("away.db").rename(file)
    await storage.commit(insert(job(5)))
    await storage.close()
    assert await ids_in(file) == [1, 2, 3, 5]


async def test_a_replaced_file_is_left_alone(storage: SqliteStorage, file: Path) -> None:
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    file.unlink()
    copy.rename(file)
    before = file.read_bytes()
    for _ in range(3):
        assert f"{file} was removed or replaced" in await refusal(storage, insert(job(4)))
    assert file.read_bytes() == before


async def test_a_removed_file_is_not_made_anew_by_a_new_connection(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON gearman_job BEGIN SELECT RAISE(ABORT, 'not now'); END")
    assert "not now" in await refusal(storage, insert(job(4)))  # after which the connection is given up
    file.rename(file.with_name("away.db"))
    assert f"{file} was removed or replaced" in await refusal(storage, insert(job(4)))
    assert not file.exists()


async def test_a_removed_log_loses_nothing(storage: SqliteStorage, file: Path) -> None:
    log = file.with_name("queue.db-wal")
    log.unlink()
    await storage.commit(insert(*jobs(4, 6)))
    assert log.exists()
    log.unlink()
    await storage.commit(delete(1))
    # As after kill -9: what is not in the files by now is lost.
    shutil.copy(file, file.with_name("killed.db"))
    shutil.copy(log, file.with_name("killed.db-wal"))
    assert await ids_in(file.with_name("killed.db")) == [2, 3, 4, 5, 6]


async def test_a_removed_log_loses_nothing_while_another_program_looks_on(storage: SqliteStorage, file: Path) -> None:
    log = file.with_name("queue.db-wal")
    with another_program(file) as other:
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (3,)
        log.unlink()
        await storage.commit(insert(*jobs(4, 6)))
    await storage.close()
    assert await ids_in(file) == [1, 2, 3, 4, 5, 6]


async def test_a_removed_log_loses_nothing_when_closing_while_another_program_looks_on(
    storage: SqliteStorage, file: Path
) -> None:
    with another_program(file) as other:
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (3,)
        file.with_name("queue.db-wal").unlink()
        await storage.close()
        assert await ids_in(file) == [1, 2, 3]


async def test_a_removed_log_loses_nothing_while_another_program_reads(storage: SqliteStorage, file: Path) -> None:
    with another_program(file) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM gearman_job").fetchone() == (3,)
        await storage.commit(insert(job(4)))  # behind what the other one reads
        file.with_name("queue.db-wal").unlink()
        with pytest.raises(StorageUnavailable, match="was removed while in use"):
            await storage.commit(insert(job(5)))
        other.execute("COMMIT")
    await storage.commit(insert(job(6)))
    await storage.close()
    assert await ids_in(file) == [1, 2, 3, 4, 6]


# ---- settings


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
async def test_the_pragmas_are_in_force(file: Path, synchronous: str, number: int) -> None:
    async with SqliteStorage(make_url(f"sqlite:///{file}"), Tables(), synchronous=synchronous) as storage:
        await upgrade(storage.engine)
        for _ in range(2):
            assert await pragma(storage, "synchronous") == number
            assert await pragma(storage, "journal_mode") == "wal"
            assert await pragma(storage, "busy_timeout") == BUSY_MILLISECONDS
            assert await pragma(storage, "fullfsync") == 1
            await storage.disconnect()  # the next connection has them too
        assert synchronous in storage.description


async def test_full_is_the_default(storage: SqliteStorage) -> None:
    assert await pragma(storage, "synchronous") == 2
    assert "synchronous=FULL" in storage.description


# ---- URLs


async def test_a_url_with_an_absolute_path(file: Path) -> None:
    assert str(file).startswith("/")
    async with storage_for(f"sqlite:///{file}"):
        assert file.exists()


async def test_a_url_with_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    storage = storage_for("sqlite:///folder/queue.db")
    monkeypatch.chdir("/")  # it is meant as of when it was given
    async with storage:
        assert (tmp_path / "folder" / "queue.db").exists()
        assert str(tmp_path / "folder" / "queue.db") in storage.description


async def test_a_url_with_a_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with storage_for("sqlite:///~/queue.db"):
        assert (tmp_path / "queue.db").exists()


@pytest.mark.parametrize("name", ["with blank.db", "ünïcode ✓.db", "hash#.db", "no-suffix"])
async def test_a_url_with_an_unusual_name(tmp_path: Path, name: str) -> None:
    async with storage_for(f"sqlite:///{tmp_path / name}") as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(job(1)))
    assert (tmp_path / name).exists()
    assert await ids_in(tmp_path / name) == [1]


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite", "sqlite+pysqlite"])
async def test_a_url_with_a_driver(file: Path, driver: str) -> None:
    async with storage_for(f"{driver}:///{file}") as storage:
        await upgrade(storage.engine)
        await storage.commit(insert(job(1)))
        assert await ids(storage) == [1]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///queue.db?mode=ro"])
def test_a_url_that_names_no_file(url: str) -> None:
    with pytest.raises(StorageError, match="does not name a file: use sqlite:////absolute/path"):
        storage_for(url)


@pytest.mark.parametrize("url", ["", "queue.db", "/var/lib/queue.db", "sqlite", "sqlite:/queue.db"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(StorageError, match="is not a database URL: use sqlite:///"):
        storage_for(url)


def test_a_database_that_is_not_known() -> None:
    with pytest.raises(StorageError, match=r"oracle.*is not a database this version can use") as caught:
        storage_for("oracle://scott:tiger@host/queue")
    assert "tiger" not in str(caught.value)
