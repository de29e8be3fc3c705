"""The installed command on PostgreSQL, MySQL and MariaDB: migrate, serve, and what survives kill -9."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from sqlalchemy import URL

from gearmand_py.migrations import HEAD
from gearmand_py.server.cli import main
from tests.command.running import CANNOT_START, GearmandPy
from tests.conftest import StartServer
from tests.databases.kinds import KINDS
from tests.databases.selection import SERVERS
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.storage.databases import database_in, text_of
from tests.storage.pgbouncer import pgbouncer

CURRENT: Final = 0
DUE: Final = 1
REFUSED: Final = 1
ODD: Final = " p@ss:w/o%r?d#größe&+ "


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return shared_server(request.param)


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[URL]:
    """An empty database."""
    with database_in(server.kind) as url:
        yield url


@pytest.fixture(params=[*SERVERS, *(["pgbouncer"] if "postgresql" in SERVERS else [])])
def reachable(request: pytest.FixtureRequest) -> Iterator[URL]:
    """An empty database, of PostgreSQL also through a proxy."""
    if request.param != "pgbouncer":
        with database_in(request.param) as url:
            yield url
        return
    with database_in("postgresql") as url, pgbouncer(url) as proxied:
        yield proxied


def shown(url: URL) -> str:
    """A database as messages name it."""
    return url._replace(password=None).render_as_string()


# ---- migrate


def test_migrate_makes_the_tables_once(gearmand_py: GearmandPy, server: DatabaseServer, database: URL) -> None:
    given = ("--database", text_of(database))
    described = f"{shown(database)} ({server.version})"

    ended = gearmand_py.run("migrate", "--check", *given)
    assert (ended.status, ended.stderr) == (DUE, "")
    assert ended.stdout.decode().startswith(f"{described} needs a migration: run gearmand-py migrate")

    assert gearmand_py.output("migrate", *given) == f"{described} is now at revision {HEAD}"
    assert gearmand_py.output("migrate", *given) == f"{described} is at revision {HEAD} already"
    assert gearmand_py.output("migrate", "--check", *given) == f"{described} is at revision {HEAD}"
    assert server.execute("SELECT count(*) FROM gearman_jobs", database.database) == [(0,)]


def test_a_server_makes_the_tables_only_when_told(gearmand_py: GearmandPy, database: URL) -> None:
    ended = gearmand_py.run("--port", "0", "--database", text_of(database))
    assert (ended.status, ended.stdout) == (CANNOT_START, b"")
    serving = gearmand_py.start("--port", "0", "--migrate", "--database", text_of(database))
    serving.expect_error(rb"listening on .*, 0 jobs found")


# ---- serve


def test_jobs_survive_kill_9(gearmand_py: GearmandPy, reachable: URL, start_server: StartServer) -> None:
    gearmand_py.output("migrate", "--database", text_of(reachable))
    server = start_server(database=reachable)
    client = gearmand_py.at(server.port)
    handle = client.output("submit", "--background", "shout", "still here")
    later = client.output("submit", "--background", "--at", "+1h", "shout", "later")
    server.kill()
    server.restart()
    server.kill()  # at once after its start
    server.restart()
    assert server.jobs_found() == 2
    script = "echo $GEARMAN_HANDLE >&2; tr a-z A-Z >&2"
    worker = client.start("work", "--count", "1", "shout", "--", "sh", "-c", script)
    assert worker.wait() == 0
    assert worker.stderr == f"{handle}\nSTILL HERE"
    assert [line.split("\t")[0] for line in client.output("jobs", "--raw").splitlines()] == [later]
    assert server.stop() == 0
    server.restart()
    assert server.jobs_found() == 1
    assert str(reachable.password) not in server.stderr


@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind == "postgresql"])
def test_what_puts_jobs_at_risk_is_in_the_log(kind: str, start_server: StartServer) -> None:
    with database_in(kind) as url:
        shared_server(kind).execute(f"ALTER DATABASE {url.database} SET synchronous_commit = off")
        server = start_server(database=url)
        assert " WARNING " in server.stderr
        assert f"{shown(url)}: synchronous_commit is off: " in server.stderr
        server.kill()


# ---- one server a queue


def test_a_second_server_and_migrate_are_refused_until_the_first_is_killed(
    gearmand_py: GearmandPy, reachable: URL, start_server: StartServer
) -> None:
    server = start_server(database=reachable)
    given = ("--database", text_of(reachable))
    refused = [gearmand_py.start("--port", "0", *given), gearmand_py.start("migrate", *given)]
    assert gearmand_py.run("migrate", "--check", *given).status == CURRENT
    for process in refused:
        assert (process.wait(), process.stdout) == (REFUSED, b"")
        (line,) = process.stderr.splitlines()
        assert f"{shown(reachable)}: another server has the queue of node 0: session " in line
        assert line.endswith(": stop it, or give this one another --node or --table-prefix")
    second = gearmand_py.start("--port", "0", *given)
    server.kill()
    second.expect_error(rb"listening on ")


def test_servers_of_other_nodes_and_prefixes_work_side_by_side(
    gearmand_py: GearmandPy, database: URL, start_server: StartServer
) -> None:
    servers = [start_server(*words, database=database) for words in ((), ("--node", "7"), ("--table-prefix", "p_"))]
    for number, server in enumerate(servers):
        gearmand_py.at(server.port).output("submit", "--background", f"f{number}", "data")
    servers[0].restart()
    for number, server in enumerate(servers):
        worker = gearmand_py.at(server.port).start("work", "--count", "1", f"f{number}", "--", "cat")
        assert worker.wait() == 0
    assert "1 job of node 7 left alone: a server with --node 7 runs them" in servers[0].stderr


# ---- passwords


@pytest.fixture
def user(server: DatabaseServer, database: URL) -> Iterator[URL]:
    """The same database for a user with an odd password."""
    name = f"gearmand_py_{secrets.token_hex(4)}"
    if server.kind == "postgresql":
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{ODD}'")
        server.execute(f"ALTER DATABASE {database.database} OWNER TO {name}")
    else:
        server.execute(f"CREATE USER {name} IDENTIFIED BY '{ODD}'")
        server.execute(f"GRANT ALL ON {database.database}.* TO {name}")
    yield database.set(username=name, password=ODD)
    if server.kind == "postgresql":
        server.execute(f"ALTER DATABASE {database.database} OWNER TO CURRENT_USER")
        server.execute(f"DROP OWNED BY {name}", database.database)
    server.execute(f"DROP {'ROLE' if server.kind == 'postgresql' else 'USER'} {name}")


def ways(url: URL, folder: Path) -> Iterator[tuple[list[str], Mapping[str, str]]]:
    """Each way to give a password, as words and environment; a wrong one where it does not count."""
    (folder / "password").write_text(f"{ODD}\n", encoding="utf-8")
    (folder / "url").write_text(f"{text_of(url)}\n")
    bare = url._replace(password=None).render_as_string()
    wrong = text_of(url.set(password="wrong"))
    file = str(folder / "password")
    yield ["--database", text_of(url)], {}
    yield [], {"GEARMAND_DATABASE": text_of(url)}
    yield [], {"GEARMAND_DATABASE_FILE": str(folder / "url")}
    yield ["--database", text_of(url._replace(password=None).update_query_dict({"password": ODD}))], {}
    yield ["--database", bare], {"GEARMAND_DATABASE_PASSWORD": ODD}
    yield ["--database", wrong], {"GEARMAND_DATABASE_PASSWORD": ODD}
    yield ["--database", bare], {"GEARMAND_DATABASE_PASSWORD_FILE": file}
    yield ["--database", wrong, "--database-password-file", file], {"GEARMAND_DATABASE_PASSWORD": "wrong"}


def test_a_password_is_given_in_many_ways_and_shown_in_none(gearmand_py: GearmandPy, user: URL, tmp_path: Path) -> None:
    given = list(ways(user, tmp_path))
    looking = [gearmand_py.start(*words, "migrate", "--check", environment=environment) for words, environment in given]
    for process in looking:
        assert (process.wait(), process.stderr) == (DUE, "")
        assert b"needs a migration" in process.stdout
        assert not shows_password(process.stdout.decode())
    for words, environment in given:
        printed = CliRunner().invoke(main, ["--check-config", *words], env=environment)
        assert printed.stdout.endswith("# the configuration is fine\n")
        assert not shows_password(printed.output)


def shows_password(text: str) -> bool:
    """Whether a part of it is there, quoted or not."""
    return "größe" in text or quote("größe") in text or "r%C3%B6" in text


def test_the_password_is_not_in_the_log(gearmand_py: GearmandPy, user: URL) -> None:
    given = ("--port", "0", "--verbose", "DEBUG", "--database", text_of(user))
    serving = gearmand_py.start("--migrate", *given)
    serving.expect_error(rb"listening on ")
    gearmand_py.close()
    assert KINDS[user.drivername].title in serving.stderr
    assert not shows_password(serving.stderr)
