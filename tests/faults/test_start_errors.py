"""A server that cannot start says in one line what is wrong with what, and what to do; and ends with exit code 1."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import StartServer
from tests.faults.disks import Disk
from tests.harness.process import Process
from tests.harness.server import COMMAND
from tests.harness.tools import need

# What logging puts before a message; a server may tell what it did before it failed.
LOGGED: Final = re.compile(r"\d{4}-\d\d-\d\d .* INFO ")
PAGE: Final = 4096

# Root may write what its mode forbids; without these capabilities it is a user like any other.
PRIVILEGES: Final = "-dac_override,-dac_read_search"


def as_ordinary_user() -> tuple[str, ...]:
    """Runs the command behind it without root's right to everything."""
    if os.geteuid() != 0:
        return ()
    return need("setpriv"), f"--bounding-set={PRIVILEGES}", f"--inh-caps={PRIVILEGES}"


def complaint(database: str | Path, prefix: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """What a server says that fails to start on this database."""
    url = f"sqlite:///{database}" if isinstance(database, Path) else database
    where = ["--database", url] if url else []
    with Process([*prefix, str(COMMAND), "--port", "0", *where], environment=environment) as process:
        assert process.wait() == 1, process.stderr
        assert process.stdout == b""
        said = [line for line in process.stderr.splitlines() if not LOGGED.match(line)]
    assert len(said) == 1, f"more than one line, the last of which are {said[-3:]}"
    assert said[0].startswith("gearmand-py: ")
    return said[0]


@pytest.fixture
def file(tmp_path: Path, start_server: StartServer) -> Path:
    """A queue that a server has left in order."""
    assert start_server().stop() == 0
    return tmp_path / "queue.db"


@contextmanager
def another_program(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else who has the file open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


# ---- paths


def test_the_directory_is_missing(tmp_path: Path) -> None:
    said = complaint(tmp_path / "missing" / "queue.db")
    assert re.search(rf"directory {tmp_path}/missing .*does not exist: create it", said)
    assert not (tmp_path / "missing").exists()


def test_the_path_is_a_directory(tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory: give --database" in complaint(tmp_path)


def test_the_path_leads_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file" in complaint(tmp_path / "file" / "queue.db")


def test_the_path_is_a_device_or_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert re.search(rf"{tmp_path}/pipe .*file", complaint(tmp_path / "pipe"))


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000], ids=["name", "path"])
def test_the_path_is_too_long(tmp_path: Path, name: str) -> None:
    assert re.search(r"too long", complaint(tmp_path / name))


def test_the_path_is_a_circle(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert f"{tmp_path}/circle" in complaint(tmp_path / "circle")


def test_the_home_directory_is_not_known() -> None:
    assert "~nobody-of-this-name" in complaint("sqlite:///~nobody-of-this-name/queue.db")


def test_the_state_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = complaint("", environment={"STATE_DIRECTORY": str(tmp_path / "file" / "state")})
    assert f"{tmp_path}/file/state" in said
    assert "--database" in said


# ---- rights


def test_the_directory_may_not_be_written(file: Path) -> None:
    file.parent.chmod(0o500)
    try:
        said = complaint(file, as_ordinary_user())
    finally:
        file.parent.chmod(0o700)
    assert re.search(rf"{file.parent} is not writable .*: change its owner or mode", said)


def test_the_directory_may_not_be_entered(file: Path) -> None:
    file.parent.chmod(0o000)
    try:
        said = complaint(file, as_ordinary_user())
    finally:
        file.parent.chmod(0o700)
    assert re.search(rf"{file.parent}\b.*: change its owner or mode", said)


@pytest.mark.parametrize("mode", [0o400, 0o000], ids=["read-only", "not readable"])
def test_the_file_may_not_be_written(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert re.search(rf"{file} is not writable .*: change its owner or mode", complaint(file, as_ordinary_user()))


def test_the_lock_file_may_not_be_written(file: Path) -> None:
    file.with_name("queue.db.lock").chmod(0o400)
    said = complaint(file, as_ordinary_user())
    assert re.search(rf"lock file {file}\.lock: Permission denied.*: change its owner or mode", said)


@pytest.mark.parametrize("name", ["queue.db", "new.db"])
def test_the_file_system_is_read_only(disk: Disk, file: Path, name: str) -> None:
    shutil.copy(file, disk.files / "queue.db")
    disk.cover_read_only()
    said = complaint(disk.mount / name, disk.prefix)
    assert str(disk.mount) in said
    assert "read-only" in said


# ---- the disk


@pytest.mark.parametrize("name", ["queue.db", "new.db"])
def test_the_disk_is_full(disk: Disk, file: Path, name: str) -> None:
    shutil.copy(file, disk.files / "queue.db")
    disk.fill()
    said = complaint(disk.mount / name, disk.prefix)
    assert re.search(rf"disk is full: make room .* {disk.mount}/{name}", said)


# ---- what is in the file


def test_the_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"Dear diary, " * 1000)
    assert re.search(rf"{tmp_path}/notes\.txt is .*no SQLite database.*backup", complaint(tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_bytes() == b"Dear diary, " * 1000


@pytest.mark.parametrize("begin", [100, PAGE], ids=["all but its header", "all but its first page"])
def test_the_file_is_damaged(file: Path, begin: int) -> None:
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.seek(begin)
        damaged.write(b"\xff" * (size - begin))
    assert re.search(rf"{file} is damaged.*backup", complaint(file))


def test_the_file_was_cut_off(file: Path) -> None:
    os.truncate(file, PAGE)
    assert re.search(rf"{file} is damaged.*backup", complaint(file))


def test_the_schema_is_newer(file: Path) -> None:
    with another_program(file) as other:
        other.execute("UPDATE gearman_alembic_version SET version_num = '9999'")
    assert re.search(rf"{file} .*newer gearmand-py: start that version", complaint(file))


def test_the_table_is_somebody_elses(tmp_path: Path) -> None:
    with another_program(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE gearman_job (name TEXT)")
    said = complaint(tmp_path / "other.db")
    assert f"{tmp_path}/other.db" in said
    assert "gearman_job" in said


# ---- others


def test_the_file_is_in_use(file: Path, start_server: StartServer) -> None:
    server = start_server()
    said = complaint(file)
    assert f"{file} is in use by process {server.pid}: stop that server" in said
    assert server.is_running


def test_the_file_is_locked(tmp_path: Path) -> None:
    with another_program(tmp_path / "new.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        said = complaint(tmp_path / "new.db")
    assert f"{tmp_path}/new.db is locked by another program" in said


# ---- URLs


@pytest.mark.parametrize("url", ["nonsense", "/var/lib/queue.db", "sqlite://", "sqlite:///:memory:", "sqlite:////%00"])
def test_the_url_names_no_file(url: str) -> None:
    assert "use sqlite:////" in complaint(url)


@pytest.mark.parametrize(
    "url",
    ["oracle://scott:tiger@host/queue", "nonsense+driver://scott:tiger@host/queue", "mssql://scott:tiger@host:port/q"],
)
def test_the_url_names_no_database_we_know(url: str) -> None:
    said = complaint(url)
    assert "use sqlite:////" in said
    assert "tiger" not in said
