"""The database's disk is full: rows are refused with the remedy, deletes go on, and it passes by itself.

The table lies where there is little room, apart from the rest of the database: in PostgreSQL and MariaDB on a small
file system, in MySQL, which keeps to directories named at its start, in the tablespace whose size has a limit.
"""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pymysql
import pytest

from gearmand_py.server.client import ServerError
from tests.databases.local import LocalServer
from tests.faults.conftest import Tell
from tests.faults.disks import SIZE, Disk
from tests.faults.outages import RECOVERY, SLACK, Place
from tests.faults.story import DOWN, UP, Story

REMEDY: Final = "make room on the database's disk"
IN_CONTAINER: Final = Path("/dev/shm")  # a small file system of each container's own
LARGE: Final = 4000  # MariaDB 11.8 dies if it runs out of room for a value that has pages of its own
MOST: Final = 3000  # as many of these as may fit into what is left over


@pytest.fixture
def directory(place: Place) -> Iterator[Path]:
    """A small file system that the database can write to."""
    with file_system(place) as directory:
        yield directory


def test_a_full_disk(place: Place, tell_of: Tell, directory: Path) -> None:
    story = tell_of(place, timeout=5)  # MySQL's refusals take as long
    move_table(place, directory)
    story.store(*[b"%d" % number for number in range(20)])
    with full(place, directory):
        assert REMEDY in store_until_refused(story)
        story.work(5)
        assert REMEDY in store_until_refused(story)  # where the completed ones were
        story.run_foreground_job()
        place.expect_rows(story.waiting)  # completions need no room
    began = monotonic()
    story.store(b"after it", secrets.token_bytes(LARGE))
    assert monotonic() - began < RECOVERY + SLACK
    place.expect_rows(story.waiting)
    story.kill_and_compare()
    story.expect_log(DOWN, UP)
    story.server.kill()
    move_back(place, directory)


def store_until_refused(story: Story) -> str:
    """Use up what is left in the table's own pages; returns the reason of the refusal."""
    for _ in range(MOST):
        try:
            story.store(secrets.token_bytes(LARGE))
        except ServerError as error:
            return error.text
    raise AssertionError(f"{MOST} more jobs were stored")


@contextmanager
def file_system(place: Place) -> Iterator[Path]:
    """Root's tests run a database as another user, who sees real mounts only."""
    if not isinstance(place.server, LocalServer):
        yield IN_CONTAINER
        return
    directory = place.server.folder / f"disk of {place.database}"
    if os.geteuid():
        with Disk(directory) as disk:
            yield disk.files
    else:
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=1777", "tmpfs", directory], check=True)
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


def move_table(place: Place, directory: Path) -> None:
    """The empty table goes where there is little room."""
    match place.kind:
        case "postgresql":
            run(place, f"mkdir '{directory}/small'")
            place.server.execute(f"CREATE TABLESPACE small LOCATION '{directory}/small'")
            place.execute("ALTER TABLE gearman_job SET TABLESPACE small")
        case "mysql":
            place.execute("ALTER TABLE gearman_job TABLESPACE innodb_system")
        case "mariadb":
            ((_, create),) = place.execute("SHOW CREATE TABLE gearman_job")
            place.execute("DROP TABLE gearman_job")
            place.execute(f"{create} DATA DIRECTORY '{directory}'")


def move_back(place: Place, directory: Path) -> None:
    """Files outside of the database's own directory are gone with their tables."""
    place.execute("DROP VIEW gearman_jobs")
    place.execute("DROP TABLE gearman_job")
    if place.is_postgresql:
        place.server.execute("DROP TABLESPACE small")
        run(place, f"rmdir '{directory}/small'")


@contextmanager
def full(place: Place, directory: Path) -> Iterator[None]:
    """No room at all, for as long as there is ballast."""
    if place.is_postgresql:
        run(place, f"cat /dev/zero >'{directory}/ballast' || true")
        yield
        run(place, f"rm '{directory}/ballast'")
        return
    where = "TABLESPACE innodb_system" if place.kind == "mysql" else f"DATA DIRECTORY '{directory}'"
    place.execute(f"CREATE TABLE ballast (data VARBINARY({LARGE})) {where}")
    for count in (1000, 100, 10, 1):
        while put_ballast(place, count):
            pass
    yield
    place.execute("DROP TABLE ballast")


def put_ballast(place: Place, count: int) -> bool:
    """Whether there was room for it."""
    row = f"(REPEAT('x', {LARGE}))"
    try:
        place.execute(f"INSERT INTO ballast VALUES {', '.join([row] * count)}")
    except pymysql.err.OperationalError as error:
        if error.args[0] != pymysql.constants.ER.RECORD_FILE_FULL:
            raise
        return False
    return True


def run(place: Place, command: str) -> None:
    """Have PostgreSQL run a shell command."""
    quoted = command.replace("'", "''")
    place.execute(f"COPY (SELECT WHERE false) TO PROGRAM '{quoted}'")
