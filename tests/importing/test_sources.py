"""What is each database's own as a source: files and their modes, schemas, character sets."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL

from gearmand_py.storage.gearmand.queue import Row
from gearmand_py.storage.gearmand.sources import source_of
from tests.command.running import GearmandPy
from tests.databases.ports import free_port
from tests.databases.queues import Queue
from tests.databases.selection import SERVERS
from tests.databases.sources import shared_server
from tests.faults.disks import Disk
from tests.importing.imported import DONE, NOT_ALL, jobs, run_import, words
from tests.importing.legacy import Legacy, job, legacy

MYSQL = [kind for kind in SERVERS if kind != "postgresql"]


async def rows(source: Legacy, table: str | None = None) -> list[Row]:
    """All rows, as they are read."""
    async with source_of(source.text, table) as opened:
        return [row async for page in opened.pages() for row in page]


# ---- SQLite


def file_of(source: Legacy) -> Path:
    return Path(str(source.url.database))


def test_a_file_that_is_not_there_is_not_made(
    gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue, tmp_path: Path
) -> None:
    ended = run_import(gearmand_py, file_source, file_queue)
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    assert ended.stderr == f"gearmand-py: {file_of(file_source)} does not exist: see --from\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    file_of(file_source).write_bytes(b"Dear diary, today " * 1000)
    ended = run_import(gearmand_py, file_source, file_queue)
    assert ended.stderr.startswith(f"gearmand-py: {file_of(file_source)} is damaged or no SQLite database")


def test_a_directory(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    ended = gearmand_py.run("import", "--from", f"sqlite:///{tmp_path}", "--dry-run")
    assert ended.stderr == f"gearmand-py: {tmp_path} is no file: see --from\n"


def test_a_file_that_another_program_holds(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    file_source.make(job(b"u"))
    with closing(sqlite3.connect(file_of(file_source), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        ended = run_import(gearmand_py, file_source, file_queue)
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    locked = f"{file_of(file_source)} is locked by another program: stop the gearmand that uses it"
    assert ended.stderr == f"gearmand-py: {locked}\n"


def test_the_file_is_as_it_was(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    file_source.make(job(b"u"))
    file = file_of(file_source)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    assert run_import(gearmand_py, file_source, file_queue).status == DONE
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


async def test_a_file_with_a_log(file_source: Legacy) -> None:
    file_source.execute("PRAGMA journal_mode=WAL")
    file_source.make(job(b"u"))
    with closing(sqlite3.connect(file_of(file_source))) as database:
        database.execute("DELETE FROM gearman_queue")  # not committed, and in the log
        assert await rows(file_source) == [job(b"u")]


async def test_numbers_where_text_should_be(file_source: Legacy) -> None:
    file_source.execute("CREATE TABLE gearman_queue (unique_key, function_name, priority, data, when_to_run)")
    file_source.execute("INSERT INTO gearman_queue VALUES (17, 'f', 1, 42, 0)")
    assert await rows(file_source) == [job(b"17", data=b"42")]


async def test_text_of_another_encoding(file_source: Legacy) -> None:
    with closing(sqlite3.connect(file_of(file_source))) as database:
        database.execute("PRAGMA encoding = 'UTF-16le'")
        database.execute("CREATE TABLE gearman_queue (unique_key TEXT, function_name TEXT, priority, data)")
        database.execute("INSERT INTO gearman_queue VALUES ('ü', 'größe', 1, x'00')")
        database.commit()
    assert await rows(file_source) == [job("ü".encode(), "größe".encode(), data=b"\0")]


async def test_a_name_in_another_case(file_source: Legacy) -> None:
    file_source.make(job(b"u"), table='"Mail Queue"')
    assert await rows(file_source, "mail queue") == [job(b"u")]
    sources = [source_of(file_source.text, name) for name in ("mail queue", "MAIL QUEUE")]
    for source in sources:
        async with source:
            pass
    assert sources[0].id == sources[1].id


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Where directories can be made read-only, even for root."""
    with Disk(tmp_path / "disk") as disk:
        yield disk


def onto(disk: Disk, source: Legacy, *names: str) -> Legacy:
    """Copies of files of the source on a disk that is then read-only; the source there."""
    for name in names:
        (disk.files / name).write_bytes((file_of(source).with_name(name)).read_bytes())
    disk.cover_read_only()
    return source._replace(url=URL.create("sqlite", database=str(disk.mount / names[0])))


def test_a_read_only_directory(gearmand_py: GearmandPy, disk: Disk, file_source: Legacy, file_queue: Queue) -> None:
    file_source.execute("PRAGMA journal_mode=WAL")
    file_source.make(job(b"u"))
    source = onto(disk, file_source, file_of(file_source).name)
    importing = gearmand_py.start(*words(source, file_queue), prefix=disk.prefix)
    assert importing.wait() == DONE, importing.stderr
    assert len(jobs(file_queue)) == 1


def test_a_read_only_directory_with_a_log(
    gearmand_py: GearmandPy, disk: Disk, file_source: Legacy, file_queue: Queue
) -> None:
    """As a program that was killed leaves it. To read without the log would miss jobs."""
    file_source.execute("PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(file_of(file_source))) as database:
        file_source.make(job(b"u"))
        database.execute("INSERT INTO gearman_queue VALUES ('v', 'f', 1, NULL, 0)")
        database.commit()
        name = file_of(file_source).name
        source = onto(disk, file_source, name, f"{name}-wal")
    importing = gearmand_py.start(*words(source, file_queue), prefix=disk.prefix)
    assert importing.wait() == NOT_ALL
    assert "has a log that cannot be read in a read-only directory: copy it together with" in importing.stderr


def test_a_transaction_cut_short(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    """What kill -9 of a gearmand in the middle of a commit leaves: pages of the file, and a journal to undo them."""
    file_source.make(*(job(b"%d" % n, data=b"x" * 1000) for n in range(100)))
    file = file_of(file_source)
    journal = file.with_name(f"{file.name}-journal")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("UPDATE gearman_queue SET data = 'half of it'")
        left = file.read_bytes(), journal.read_bytes()
        database.execute("ROLLBACK")
    file.write_bytes(left[0])
    journal.write_bytes(left[1])
    ended = run_import(gearmand_py, file_source, file_queue)
    if ended.status != DONE:
        assert f"{file} was left in the middle of a transaction" in ended.stderr
        file_source.execute("PRAGMA user_version")
        assert run_import(gearmand_py, file_source, file_queue).status == DONE
    assert {job.data for job in jobs(file_queue)} == {b"x" * 1000}


# ---- PostgreSQL


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Legacy]:
    with legacy("postgresql", tmp_path) as made:
        yield made


needs_postgresql = pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind == "postgresql"])


@needs_postgresql
@pytest.mark.parametrize("name", ["mail.queue", '"Mail".queue', 'mail."Queue"'])
async def test_a_table_in_a_schema(kind: str, postgresql: Legacy, name: str) -> None:
    postgresql.execute(f"CREATE SCHEMA {name.split('.', maxsplit=1)[0]}")
    postgresql.make(job(b"u"), table=name)
    assert await rows(postgresql, name.replace('"', "")) == [job(b"u")]


@needs_postgresql
async def test_a_name_that_gearmand_wrote_unquoted(kind: str, postgresql: Legacy) -> None:
    postgresql.make(job(b"u"), table="Mails")
    assert await rows(postgresql, "Mails") == [job(b"u")]


@needs_postgresql
async def test_rows_in_gaps_of_the_heap_come_in_their_order(kind: str, postgresql: Legacy) -> None:
    sizes = [2500, 2500, 2500, 3000, 10, 2500, 20]
    expected = [job(b"%d" % n, data=bytes([n]) * size) for n, size in enumerate(sizes)]
    postgresql.execute("CREATE TABLE fill (x int)")
    postgresql.make()
    postgresql.execute("ALTER TABLE queue ALTER data SET STORAGE PLAIN")
    for row in expected:
        postgresql.add([row])
    assert await rows(postgresql) == expected


# ---- MySQL, MariaDB


@pytest.fixture(params=MYSQL)
def mysql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Legacy]:
    with legacy(request.param, tmp_path) as made:
        yield made


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3", "latin1", "utf16"])
async def test_names_come_back_as_text(mysql: Legacy, charset: str) -> None:
    """As a gearmand whose session speaks UTF-8 has stored and reads them."""
    mysql.make(options=f"CHARACTER SET {charset}")
    mysql.execute("INSERT INTO gearman_queue VALUES ('ü', 'größe', 1, 'x', 0), ('k', 'plain', 1, 'x', 0)")
    expected = [job("ü".encode(), "größe".encode(), data=b"x"), job(b"k", b"plain", data=b"x")]
    assert await rows(mysql) == expected


async def test_names_that_were_never_converted(mysql: Legacy) -> None:
    """As a gearmand whose session speaks Latin-1 has stored a client's UTF-8."""
    mysql.make(options="CHARACTER SET latin1")
    mysql.add([job("ü".encode(), "größe 🐘".encode())])
    assert await rows(mysql) == [job("ü".encode(), "größe 🐘".encode())]


async def test_times_beyond_the_column(mysql: Legacy) -> None:
    mysql.make(job(b"1", when=-192522496), job(b"2", when=-1), job(b"3", when=2**31 - 1))
    assert [row.when for row in await rows(mysql)] == [4_102_444_800, 2**32 - 1, 2**31 - 1]


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])
async def test_the_order_is_that_of_insertion(mysql: Legacy, engine: str) -> None:
    expected = [job(b"%d" % (n * 7919 % 1000), data=b"%d" % n) for n in range(1000)]
    mysql.make(*expected, options=f"ENGINE={engine} CHARACTER SET latin1")
    assert await rows(mysql) == expected


# ---- all servers


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_not_there(gearmand_py: GearmandPy, kind: str, file_queue: Queue) -> None:
    url = f"{kind}://nobody:secret@127.0.0.1:{free_port()}/jobs"
    ended = gearmand_py.run("import", "--from", url, "--database", str(file_queue.url))
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    assert "connection refused: is the database running there?" in ended.stderr
    assert "secret" not in ended.stderr
    assert not Path(str(file_queue.url.database)).exists()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_database_that_is_not_there(gearmand_py: GearmandPy, kind: str, file_queue: Queue) -> None:
    url = shared_server(kind).url.set(database="no_such_thing").render_as_string(hide_password=False)
    ended = gearmand_py.run("import", "--from", url, "--database", str(file_queue.url))
    assert ended.status == NOT_ALL
    assert "no_such_thing" in ended.stderr
    assert "correct its name in --from" in ended.stderr


@pytest.mark.parametrize("kind", SERVERS)
def test_the_password_in_a_file(gearmand_py: GearmandPy, kind: str, file_queue: Queue, tmp_path: Path) -> None:
    with legacy(kind, tmp_path) as source:
        source.make(job(b"u"))
        (tmp_path / "password").write_text(source.url.password or "")
        url = source.url._replace(password=None).render_as_string()
        given = ("--database", str(file_queue.url), "--from-password-file", str(tmp_path / "password"))
        assert gearmand_py.run("import", "--from", url, *given).status == DONE


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_source_is_known_by_every_name_of_its_host(kind: str) -> None:
    port = {"postgresql": 5432}.get(kind, 3306)
    urls = [f"{kind}://{where}/jobs" for where in ("ann@localhost", "bob:x@127.0.0.1", f"[::1]:{port}")]
    assert len({source_of(url).id for url in urls}) == 1
    others = [f"{kind}://localhost/others", f"{kind}://db/jobs", f"{kind}://localhost:1/jobs"]
    assert len({source_of(url).id for url in (*urls, *others)}) == 4
