"""A server that cannot use its database says so in one line, with what to do and without the password."""

import os
import re
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from sqlalchemy import URL

from tests.conftest import StartServer
from tests.databases.kinds import KINDS
from tests.databases.ports import free_port
from tests.databases.selection import SERVERS
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.faults.test_start_errors import LOGGED, as_ordinary_user
from tests.harness.process import Process
from tests.harness.server import COMMAND, HOST
from tests.storage.databases import database_in, text_of

SECRET: Final = "s3cret-größe"
ADAPTERS: Final = ("postgresql", "mysql")  # for what takes no server
MIGRATE: Final = re.compile(r"has no tables of gearmand-py yet: run (gearmand-py migrate .*), or start with --migrate$")
SELECT_ONLY: Final = {
    "postgresql": ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"],
    "mysql": ["GRANT SELECT ON {database}.* TO {user}"],
    "mariadb": ["GRANT SELECT ON {database}.* TO {user}"],
}


def start(database: str, *words: str, prefix: Sequence[str] = ()) -> Process:
    """A server that is not expected to come up."""
    return Process([*prefix, str(COMMAND), "--port", "0", "--database", database, *words])


def complaint_of(process: Process) -> str:
    """The one line with which it ended."""
    with process:
        assert process.wait() == 1, process.stderr
        assert process.stdout == b""
        said = process.stderr.splitlines()
    assert SECRET not in process.stderr
    assert quote(SECRET) not in process.stderr
    assert "Traceback" not in process.stderr
    line = said[-1]
    assert line.startswith("gearmand-py: "), said
    if "DEBUG" not in process.command:
        assert [other for other in said if not LOGGED.match(other)] == [line]
    return line


def complaint(database: str, *words: str) -> str:
    """What a server says that fails to start on this database; it says the same in the end with DEBUG."""
    plain, loud = start(database, *words), start(database, *words, "--verbose", "DEBUG")
    line = complaint_of(plain)
    assert complaint_of(loud) == line
    return line


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return shared_server(request.param)


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[URL]:
    """An empty database of a user's own, whose password is not to be seen."""
    with database_in(server.kind) as url, user_in(server, url) as user:
        yield url.set(username=user, password=SECRET)


@contextmanager
def user_in(server: DatabaseServer, url: URL, *, powerless: bool = False) -> Iterator[str]:
    """A user, who owns the database or may only look into it."""
    user = f"gearmand_py_{secrets.token_hex(4)}"
    postgres = server.kind == "postgresql"
    if postgres:
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'")
    else:
        server.execute(f"CREATE USER {user} IDENTIFIED BY '{SECRET}'")
    if powerless:
        for statement in SELECT_ONLY[server.kind]:
            server.execute(statement.format(user=user, database=url.database), url.database)
    elif postgres:
        server.execute(f"ALTER DATABASE {url.database} OWNER TO {user}")
    else:
        server.execute(f"GRANT ALL ON {url.database}.* TO {user}")
    try:
        yield user
    finally:
        if postgres:
            server.execute(f"REASSIGN OWNED BY {user} TO CURRENT_USER", url.database)
            server.execute(f"DROP OWNED BY {user}", url.database)
        server.execute(f"DROP {'ROLE' if postgres else 'USER'} {user}")


def migrate(url: URL, *words: str) -> None:
    """Make the tables."""
    Process([str(COMMAND), "migrate", "--database", text_of(url), *words]).result()


# ---- nobody there, or somebody else


def url_of(adapter: str, port: int, host: str = HOST) -> str:
    return text_of(URL.create(adapter, "user", SECRET, host, port, "queue"))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_there_is_no_such_host(adapter: str) -> None:
    said = complaint(url_of(adapter, 1, "no-such-host.invalid"))
    assert said.startswith(f"gearmand-py: {adapter}://user@no-such-host.invalid:1/queue: ")
    assert said.endswith(": check the host's name in --database")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_nobody_listens_there(adapter: str) -> None:
    port = free_port()
    assert complaint(url_of(adapter, port)) == (
        f"gearmand-py: {adapter}://user@{HOST}:{port}/queue: connection refused: is the database running there?"
    )


def test_nothing_answers_there() -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        processes = {adapter: start(url_of(adapter, port)) for adapter in ADAPTERS}
        for adapter, process in processes.items():
            assert complaint_of(process) == (
                f"gearmand-py: {adapter}://user@{HOST}:{port}/queue: no answer: "
                "is the database overloaded, stopped or cut off?"
            )


def test_a_gearman_or_web_server_is_there(start_server: StartServer) -> None:
    gearman = start_server()
    with Process([sys.executable, "-u", "-m", "http.server", "--bind", HOST, "0"]) as web:
        web_port = int(web.expect(rb"port (\d+)")[1])
        processes = [start(url_of(adapter, port)) for adapter in ADAPTERS for port in (gearman.port, web_port)]
        for process in processes:
            assert re.search(rf"//user@{HOST}:\d+/queue: .*\bis (the database|it PostgreSQL)\b", complaint_of(process))


def test_another_database_is_there(server: DatabaseServer) -> None:
    assert server.url.port
    other = "mysql" if server.kind == "postgresql" else "postgresql"
    said = complaint_of(start(url_of(other, server.url.port, str(server.url.host))))
    assert re.search(rf"{other}://user@.*/queue: .*\bis (the database|it PostgreSQL)\b", said)


# ---- who, and which database


def test_the_password_is_wrong(server: DatabaseServer) -> None:
    url = server.url.set(password=SECRET, database=server.url.database or "mysql")
    said = complaint(text_of(url))
    assert said.endswith(": check the user in --database and the password; see --database-password-file")


def test_the_user_is_not_known(server: DatabaseServer) -> None:
    said = complaint_of(start(text_of(server.url.set(username="nosuch", password=SECRET, database="nosuch"))))
    assert "nosuch" in said
    assert said.endswith(": check the user in --database and the password; see --database-password-file")


def test_there_is_no_such_database(server: DatabaseServer, database: URL) -> None:
    said = complaint(text_of(server.url.set(database="nosuch")))
    assert re.search(r"(?i)database [\"']nosuch[\"'].*: create it, or correct its name in --database$", said)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_no_database_is_named(kind: str) -> None:
    said = complaint(f"{kind}://user:{SECRET}@{HOST}")
    assert said == "gearmand-py: --database names no database: use mysql://user@host/database"


# ---- the schema


def test_the_tables_are_missing_and_the_command_that_is_told_makes_them(
    server: DatabaseServer, database: URL, start_server: StartServer
) -> None:
    words = ["--table-prefix", "p_"]
    if server.kind == "postgresql":
        server.execute(f"CREATE SCHEMA jobs AUTHORIZATION {database.username}", database.database)
        words += ["--database-schema", "jobs"]
    said = complaint(text_of(database), *words)
    told = MIGRATE.search(said)
    assert told
    command = [part.replace("***", quote(SECRET)) for part in shlex.split(told[1])]
    Process([str(COMMAND), *command[1:]]).result()
    running = start_server("--database", text_of(database), *words)  # the later --database holds
    assert KINDS[server.kind].title in running.stderr
    assert SECRET not in running.stderr


def test_the_command_that_is_told_names_the_password_file(database: URL, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    given = ["--database-password-file", str(file)]
    told = MIGRATE.search(complaint_of(start(text_of(database._replace(password=None)), *given)))
    assert told
    assert str(file) in told[1]
    assert "***" not in told[1]
    Process([str(COMMAND), *shlex.split(told[1])[1:]]).result()
    check = [str(COMMAND), "migrate", "--check", "--database", text_of(database._replace(password=None)), *given]
    Process(check).result()


def test_the_tables_were_made_by_a_newer_version(server: DatabaseServer, database: URL) -> None:
    migrate(database)
    server.execute("UPDATE gearman_alembic_version SET version_num = '9999'", database.database)
    for words in ([], ["--migrate"]):
        assert "was made by a newer gearmand-py: start that version" in complaint_of(start(text_of(database), *words))


def test_the_table_is_somebody_elses(server: DatabaseServer, database: URL) -> None:
    server.execute("CREATE TABLE gearman_job (name integer)", database.database)
    assert "gearman_job" in complaint_of(start(text_of(database), "--migrate"))


def test_the_user_may_not_make_tables(server: DatabaseServer) -> None:
    with database_in(server.kind) as url, user_in(server, url, powerless=True) as user:
        said = complaint_of(start(text_of(url.set(username=user, password=SECRET)), "--migrate"))
    assert said.endswith(": grant the user of --database what it needs")


def test_the_user_may_not_insert(server: DatabaseServer, start_server: StartServer) -> None:
    """The server is up, and tells the first who submits, and its log."""
    with database_in(server.kind) as url:
        migrate(url)
        with user_in(server, url, powerless=True) as user:
            running = start_server(database=url.set(username=user, password=SECRET))
            submit = [str(COMMAND), "--port", str(running.port), "submit", "--background", "f", "data"]
            with Process(submit) as refused:
                assert refused.wait() != 0
            running.expect(rb"grant the user of --database what it needs")
            for table in ("gearman_job", "gearman_node"):
                server.execute(f"GRANT INSERT, UPDATE, DELETE ON {table} TO {user}", url.database)
            Process(submit).result()
            assert SECRET not in running.stderr
            running.kill()


def test_the_user_may_not_use_the_table_that_a_migration_made(server: DatabaseServer) -> None:
    """As after an upgrade whose migration was another user's."""
    with database_in(server.kind) as url:
        migrate(url)
        with user_in(server, url, powerless=True) as user:
            if server.kind == "postgresql":
                server.execute(f"REVOKE SELECT ON gearman_node FROM {user}", url.database)
            else:
                server.execute(f"REVOKE SELECT ON {url.database}.* FROM {user}")
                for table in ("gearman_job", "gearman_import", "gearman_alembic_version"):
                    server.execute(f"GRANT SELECT ON {table} TO {user}", url.database)
            said = complaint_of(start(text_of(url.set(username=user, password=SECRET))))
    assert "gearman_node" in said
    assert said.endswith(": grant the user of --database what it needs")


# ---- parameters


def test_a_parameter_is_not_known(server: DatabaseServer) -> None:
    url = server.url.set(password=SECRET, database="x").update_query_dict({"nonsense": "1"})
    said = complaint_of(start(text_of(url)))
    assert said.endswith(": the driver knows no parameter 'nonsense' of --database")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("sslmode=sometimes", "sslmode=sometimes is not known: use one of disable, allow, prefer, require"),
        ("sslrootcert=/no/such.pem", "cannot use /no/such.pem for TLS: No such file or directory"),
    ],
)
def test_parameters_of_tls_cannot_be(parameters: str, message: str) -> None:
    assert message in complaint_of(start(f"{url_of('postgresql', 1)}?{parameters}"))


@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind == "postgresql"])
def test_tls_is_required_and_not_there(kind: str) -> None:
    """MySQL and MariaDB make themselves certificates."""
    said = complaint_of(start(text_of(shared_server(kind).url.update_query_dict({"sslmode": "require"}))))
    assert said.endswith(": the other side offers no TLS: is it PostgreSQL? see sslmode in --database")


@pytest.mark.parametrize("name", ["postgres", "mysql+pymysql"])
def test_a_driver_that_is_not_ours_is_no_error(name: str) -> None:
    said = complaint_of(start(url_of(name, free_port())))
    assert said.endswith(": connection refused: is the database running there?")


# ---- password files


def test_the_password_file_is_missing(tmp_path: Path) -> None:
    for adapter in ADAPTERS:
        file = tmp_path / "missing"
        said = complaint_of(start(url_of(adapter, 1), "--database-password-file", str(file)))
        assert said == (
            f"gearmand-py: cannot read the password in {file}: No such file or directory: see --database-password-file"
        )


def test_the_password_file_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET)
    file.chmod(0o000)
    said = complaint_of(start(url_of("mysql", 1), "--database-password-file", str(file), prefix=as_ordinary_user()))
    assert f"cannot read the password in {file}: Permission denied" in said


def test_the_file_of_a_variable_is_missing(tmp_path: Path) -> None:
    environment = {"GEARMAND_DATABASE_FILE": str(tmp_path / "missing")}
    with Process([str(COMMAND), "--port", "0"], environment=environment) as process:
        assert process.wait() == 2, os.linesep.join(process.command)
        assert re.search(rf"GEARMAND_DATABASE_FILE: cannot read {tmp_path}/missing", process.stderr)
        assert "Traceback" not in process.stderr
