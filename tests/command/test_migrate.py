"""`gearmand-py migrate`: what it does, what it prints, and how it ends."""

from pathlib import Path
from typing import Final

import pytest

from gearmand_py.migrations import HEAD
from tests.command.running import CANNOT_START, WRONG_USAGE, GearmandPy, execute, make_tables, rows
from tests.harness.server import Server

VERSION: Final = "SELECT version_num FROM gearman_alembic_version"
CURRENT: Final = 0
DUE: Final = 1
REFUSED: Final = 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "migrated.db"


@pytest.fixture
def url(file: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{file}"


def test_a_file_is_made_and_then_left_alone(gearmand_py: GearmandPy, file: Path, url: str) -> None:
    described = f"{file} (SQLite, synchronous=FULL)"
    assert gearmand_py.output("migrate", "--database", url) == f"{described} is now at revision {HEAD}"
    assert rows(file, VERSION) == [(HEAD,)]
    assert gearmand_py.output("migrate", "--database", url) == f"{described} is at revision {HEAD} already"
    assert gearmand_py.output("migrate", "--database", url, "--check") == f"{described} is at revision {HEAD}"


def test_the_database_may_be_given_before_the_command_or_in_the_environment(
    gearmand_py: GearmandPy, file: Path, url: str
) -> None:
    gearmand_py.output("--database", url, "migrate")
    assert rows(file, VERSION) == [(HEAD,)]
    assert gearmand_py.run("migrate", "--check", environment={"GEARMAND_DATABASE": url}).status == CURRENT


def test_check_of_a_missing_file_makes_none(gearmand_py: GearmandPy, file: Path, url: str) -> None:
    ended = gearmand_py.run("migrate", "--check", "--database", url)
    assert (ended.status, ended.stdout) == (DUE, b"")
    assert ended.stderr == (
        f"gearmand-py: {file} does not exist yet: gearmand-py migrate makes it, and so does a start\n"
    )
    assert not file.exists()


@pytest.mark.parametrize(("words", "status"), [(["--check"], DUE), (["--sql"], CURRENT)], ids=["check", "sql"])
def test_looking_makes_no_state_directory(
    gearmand_py: GearmandPy, tmp_path: Path, words: list[str], status: int
) -> None:
    ended = gearmand_py.run("migrate", *words, environment={"STATE_DIRECTORY": str(tmp_path / "state")})
    assert ended.status == status
    assert not (tmp_path / "state").exists()


def test_a_state_directory_that_cannot_be_made_is_told(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = gearmand_py.run("migrate", environment={"STATE_DIRECTORY": str(tmp_path / "file" / "state")})
    assert (ended.status, ended.stdout) == (REFUSED, b"")
    assert ended.stderr.startswith("gearmand-py: cannot make the state directory: ")


def test_check_of_an_empty_file_says_what_to_do(gearmand_py: GearmandPy, file: Path, url: str) -> None:
    execute(file, "CREATE TABLE somebody_elses (x)")
    ended = gearmand_py.run("migrate", "--check", "--database", url)
    assert (ended.status, ended.stderr) == (DUE, "")
    assert b"needs a migration: run gearmand-py migrate" in ended.stdout
    assert rows(file, "SELECT name FROM sqlite_schema") == [("somebody_elses",)]


def test_check_beside_a_running_server(gearmand_py: GearmandPy, server: Server) -> None:
    url = f"sqlite:///{server.database}"
    assert gearmand_py.run("migrate", "--check", "--database", url).status == CURRENT
    ended = gearmand_py.run("migrate", "--database", url)
    assert (ended.status, ended.stdout) == (REFUSED, b"")
    assert f"is in use by process {server.pid}: stop that server" in ended.stderr


def test_sql_is_a_script_that_makes_the_schema(gearmand_py: GearmandPy, file: Path, url: str) -> None:
    script = gearmand_py.output("migrate", "--sql", "--database", url)
    assert not file.exists()
    execute(file, script)
    assert gearmand_py.run("migrate", "--check", "--database", url).status == CURRENT
    assert rows(file, "SELECT * FROM gearman_jobs") == []


@pytest.mark.parametrize("words", [[], ["--check"]], ids=["migrate", "check"])
def test_a_newer_database_is_refused_and_left_alone(
    gearmand_py: GearmandPy, file: Path, url: str, words: list[str]
) -> None:
    newer(file)
    ended = gearmand_py.run("migrate", *words, "--database", url)
    assert (ended.status, ended.stdout) == (REFUSED, b"")
    assert ended.stderr.startswith("gearmand-py: ")
    assert "newer" in ended.stderr
    assert str(file) in ended.stderr
    assert rows(file, VERSION) == [("9999",)]


def test_a_server_refuses_a_newer_database(gearmand_py: GearmandPy, file: Path, url: str) -> None:
    newer(file)
    ended = gearmand_py.run("--port", "0", "--database", url)
    assert (ended.status, ended.stdout) == (CANNOT_START, b"")
    assert ended.stderr == (
        f"gearmand-py: {file} (SQLite, synchronous=FULL) was made by a newer gearmand-py: "
        "start that version, or give this one another --database\n"
    )
    assert rows(file, VERSION) == [("9999",)]


def newer(file: Path) -> None:
    """A database that a later version has migrated."""
    make_tables(file)
    execute(file, "UPDATE gearman_alembic_version SET version_num = '9999'")


@pytest.mark.parametrize("words", [[], ["--check"]], ids=["migrate", "check"])
def test_a_file_that_is_no_database_is_left_alone(
    gearmand_py: GearmandPy, file: Path, url: str, words: list[str]
) -> None:
    garbage = b"Dear diary, today " * 1000
    file.write_bytes(garbage)
    ended = gearmand_py.run("migrate", *words, "--database", url)
    assert (ended.status, ended.stdout) == (REFUSED, b"")
    assert ended.stderr.startswith(f"gearmand-py: {file} is damaged or no SQLite database ")
    assert len(ended.stderr.splitlines()) == 1
    assert file.read_bytes() == garbage


@pytest.mark.parametrize("words", [[], ["--check"], ["--sql"]], ids=["migrate", "check", "sql"])
def test_a_url_that_cannot_be_is_told(gearmand_py: GearmandPy, words: list[str]) -> None:
    ended = gearmand_py.run("migrate", *words, "--database", "queue.db")
    assert (ended.status, ended.stdout) == (REFUSED, b"")
    assert ended.stderr.startswith("gearmand-py: 'queue.db' is not a database URL: use sqlite:////path/to/queue.db, ")


def test_check_and_sql_exclude_each_other(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("migrate", "--check", "--sql")
    assert (ended.status, ended.stdout) == (WRONG_USAGE, b"")
    assert "--check and --sql exclude each other" in ended.stderr
