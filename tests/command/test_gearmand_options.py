"""gearmand's own command lines and files, taken over as they are."""

import tomllib
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gearmand_py.server import gearmand_options
from gearmand_py.server.cli import main
from tests.command.running import WRONG_USAGE, GearmandPy


def settings(*words: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What the words come to."""
    checked = CliRunner().invoke(main, [*words, "--check-config"], env=environment)
    assert checked.exit_code == 0, checked.output
    return tomllib.loads(checked.stdout)


def complaint(*words: str) -> str:
    """What is said of wrong words."""
    checked = CliRunner().invoke(main, [*words, "--check-args"])
    assert (checked.exit_code, checked.stdout) == (WRONG_USAGE, "")
    return checked.stderr.splitlines()[-1]


EVERY_OPTION = """
    -b 64 -d --exceptions -f 1024 -j 3 --job-handle-prefix X --hashtable-buckets 991 --keepalive --keepalive-idle 60
    --keepalive-interval=10 --keepalive-count 6 -l stderr -L 127.0.0.1 -P /run/g.pid -r http -R -q builtin --syslog
    --ssl-ca-file /ca.pem --ssl-certificate=/c.pem --ssl-key /c.key
    --coredump -t 4 -u nobody --verbose DEBUG -w 1 --http-port 8080 -p 4731 --libsqlite3-db /q.db
    --store-queue-on-shutdown --libsqlite3-table t --libpq-conninfo dbname=x --libpq-table t --mysql-host h
    --mysql-port 3307 --mysql-user u --mysql-password p --mysql-db d --mysql-table t
"""


def test_every_option_of_gearmand_is_known() -> None:
    found = settings(*EVERY_OPTION.split())
    assert found["database"] == "builtin"
    assert (found["listen"], found["port"], found["backlog"]) == (["127.0.0.1"], 4731, 64)
    assert (found["pid-file"], found["user"], found["job-retries"], found["worker-wakeup"]) == (
        "/run/g.pid",
        "nobody",
        3,
        1,
    )


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ([], "INFO"),
        (["-v"], "INFO"),
        (["-vv"], "DEBUG"),
        (["-vvv"], "DEBUG"),
        (["-v", "-v", "-v"], "DEBUG"),
        (["--verbose=error"], "ERROR"),
        (["--verbose=FATAL", "-v"], "INFO"),
        (["--verbose=DEBUG", "-v"], "DEBUG"),
    ],
)
def test_how_much_is_logged(words: list[str], level: str) -> None:
    assert settings(*words)["verbose"] == level


# ---- the queue


@pytest.mark.parametrize(
    ("words", "database"),
    [
        ("-q builtin", "builtin"),
        ("-q libsqlite3 --libsqlite3-db=/var/lib/g/queue.db", "sqlite:////var/lib/g/queue.db"),
        ("--queue-type=LIBSQLITE3 --libsqlite3-db=queue.db", "sqlite:///queue.db"),
        ("-q Postgres --libpq-conninfo=postgresql://ann@db/jobs", "postgresql://ann@db/jobs"),
        ("-q postgres --libpq-conninfo=host=db", "postgresql://db:5432"),
        ("-q MySQL --mysql-db=jobs --mysql-user=ann", "mysql://ann@localhost:3306/jobs"),
        ("-q mysql --mysql-host=db --mysql-port=3307 --mysql-db=jobs --mysql-user=ann", "mysql://ann@db:3307/jobs"),
    ],
)
def test_the_queue_becomes_a_database_url(words: str, database: str) -> None:
    assert settings(*words.split())["database"] == database


@pytest.mark.parametrize(
    ("conninfo", "database"),
    [
        ("host=db port=5433 dbname=jobs user=ann", "postgresql://ann@db:5433/jobs"),
        (" host = db  dbname = 'my jobs' ", "postgresql://db:5432/my jobs"),
        (r"host=db dbname='it\'s' user='a b'", "postgresql://a b@db:5432/it%27s"),
        ("hostaddr=10.0.0.1 dbname=jobs connect_timeout=3", "postgresql://10.0.0.1:5432/jobs"),
        ("hostaddr=10.0.0.1 host=db dbname=jobs", "postgresql://db:5432/jobs"),
        ("host=db user=ann", "postgresql://ann@db:5432/ann"),
        ("host=db dbname=jobs sslmode=require", "postgresql://db:5432/jobs?sslmode=require"),
    ],
)
def test_the_connection_string_of_libpq(conninfo: str, database: str) -> None:
    assert settings("-q", "Postgres", "--libpq-conninfo", conninfo)["database"] == database


def test_a_path_is_the_unix_socket_of_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gearmand_options, "SOCKET_FOLDERS", ("/no/such", str(tmp_path)))
    words = ("-q", "Postgres", "--libpq-conninfo")
    folder = str(tmp_path).replace("/", "%2F")
    assert settings(*words, "dbname=x port=5433")["database"] == "postgresql://localhost:5433/x"
    (tmp_path / ".s.PGSQL.5433").touch()
    assert settings(*words, "dbname=x port=5433")["database"] == f"postgresql:///x?host={folder}&port=5433"
    assert (
        settings(*words, f"host={tmp_path} user=a dbname=x")["database"] == f"postgresql://a@/x?host={folder}&port=5432"
    )


def test_the_nearer_of_two_names_of_a_database_wins() -> None:
    environment = {"GEARMAND_QUEUE_TYPE": "builtin"}
    assert settings("--database", "sqlite:///x", environment=environment)["database"] == "sqlite:///x"
    environment = {"GEARMAND_DATABASE": "sqlite:///x"}
    assert settings("-q", "builtin", environment=environment)["database"] == "builtin"


def test_a_user_of_mysql_who_is_not_named_is_our_own() -> None:
    assert settings("-q", "mysql", "--mysql-db=jobs")["database"] == f"mysql://{getuser()}@localhost:3306/jobs"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-q", "MySQL", "--mysql-db", "\udc80"], "the database's options are not UTF-8"),
        (["-q", "Postgres", "--libpq-conninfo", "user=\udc80"], "the database's options are not UTF-8"),
        (["-q", "Postgres", "--libpq-conninfo", "port=\u00b2"], "port=\u00b2 is no number"),
        (["-q", "Postgres", "--libpq-conninfo", f"port={'9' * 5000}"], "is no number"),
    ],
)
def test_words_that_no_url_can_hold(words: list[str], message: str) -> None:
    ended = CliRunner().invoke(main, [*words, "--check-config"])
    assert ended.exit_code == 2
    assert message in ended.output


def test_passwords_are_taken_and_not_shown() -> None:
    secret = "s3cret"  # as it must not be seen
    for words in (
        ["-q", "mysql", "--mysql-db=jobs", "--mysql-user=ann", f"--mysql-password={secret}"],
        ["-q", "Postgres", "--libpq-conninfo", f"host=db user=ann dbname=jobs password={secret}"],
    ):
        checked = CliRunner().invoke(main, [*words, "--check-config"])
        assert secret not in checked.output
        assert "ann:***@" in checked.output


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        ("-q MySQL --mysql-db=jobs", ""),
        ("-q MySQL --mysql-db=jobs --mysql-table=gearman_queue", ""),
        ("-q MySQL --mysql-db=jobs --mysql-table=mails", "mails_"),
        ("-q Postgres --libpq-conninfo=dbname=x --libpq-table=mails", "mails_"),
        ("-q libsqlite3 --libsqlite3-db=x --libsqlite3-table=mails", "mails_"),
        ("-q MySQL --mysql-db=jobs --mysql-table=mails --table-prefix=our_", "our_"),
    ],
)
def test_a_table_of_ones_own_stays_apart(words: str, prefix: str) -> None:
    assert settings(*words.split())["table-prefix"] == prefix


def test_tables_are_made_as_gearmand_makes_its_own() -> None:
    assert settings("-q", "Postgres", "--libpq-conninfo=dbname=x")["migrate"] is True
    assert settings("--database", "postgresql://db/x")["migrate"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-q", "redis"], "'redis' is not a queue that gearmand-py has: use libsqlite3, Postgres, MySQL or builtin"),
        (["-q", "MySQL"], "--queue-type MySQL needs --mysql-db"),
        (["-q", "builtin", "--database", "sqlite:///x"], "--database and --queue-type both name a database"),
        (["-q", "Postgres", "--libpq-conninfo", "db"], "--libpq-conninfo is not of the form: host=db dbname=jobs"),
        (["-q", "Postgres", "--libpq-conninfo", "options=x"], "--libpq-conninfo: options= has no counterpart here"),
        (["-q", "Postgres", "--libpq-conninfo", "port=x"], "--libpq-conninfo: port=x is no number"),
    ],
)
def test_what_cannot_be_taken_over(words: list[str], message: str) -> None:
    assert message in complaint(*words)


# ---- the file


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """gearmand.conf, to be written."""
    return tmp_path / "gearmand.conf"


def test_a_file_of_gearmands(conf: Path) -> None:
    conf.write_text(
        "--port=4731 --listen 127.0.0.1\n\n  # a comment\n-L ::1\n-q libsqlite3 --libsqlite3-db=/q.db -d\n-vv"
    )
    for words in (["--config-file", str(conf)], [f"@{conf}"]):
        found = settings(*words)
        assert found["listen"] == ["127.0.0.1", "::1"]
        assert (found["port"], found["database"], found["daemon"]) == (4731, "sqlite:////q.db", True)
        assert found["verbose"] == "DEBUG"
    assert settings(f"@{conf}", "-p", "5")["port"] == 5, "the command line goes first"


def test_a_comment_may_come_first(conf: Path) -> None:
    conf.write_text("# gearmand\n--port=4731\n")
    assert settings(f"@{conf}")["port"] == 4731


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--backlg=1", "No such option '--backlg'. Did you mean '--backlog'?"),
        ("--port=http", "port: 'http' is not a valid integer"),
        ("--port", "Option '--port' requires an argument"),
        ("--port=1 4730", "'4730' is no option"),
        ("--config-file=x", "--config-file has no place in a file"),
        ("--check-config", "--check-config has no place in a file"),
        ("--help", "--help has no place in a file"),
    ],
)
def test_wrong_words_in_a_file_of_gearmands(conf: Path, text: str, message: str) -> None:
    conf.write_text(text)
    found = complaint(f"@{conf}")
    assert message in found
    assert str(conf) in found


# ---- said at the start


def test_check_args_says_nothing_when_all_is_well(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--check-args", "-t", "4")
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"", "")


def test_one_warning_names_what_has_no_effect(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    words = ["-p", "0", "-R", "-t", "4", "--hashtable-buckets=991", "--coredump", "--store-queue-on-shutdown"]
    server = gearmand_py.start(*words, "--database", f"sqlite:///{tmp_path}/queue.db")
    server.expect_error(rb"without effect here: --threads, --hashtable-buckets, --coredump\n")
    server.expect_error(rb"listening on")
    assert server.stderr.count("without effect") == 1


def test_a_queue_that_keeps_nothing_says_so(gearmand_py: GearmandPy) -> None:
    server = gearmand_py.start("-p", "0", "-q", "builtin")
    server.expect_error(rb"WARNING NOTHING IS STORED: ")
    port = int(server.expect_error(rb"listening on 127\.0\.0\.1:(\d+), storing in nothing but memory")[1])
    client = gearmand_py.at(port)
    assert client.output("submit", "--background", "reverse", "abc").startswith("H:")
    assert "reverse" in client.output("status")


def test_options_of_a_queue_that_is_not_named(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/queue.db"
    server = gearmand_py.start("-p", "0", "--mysql-host", "db", "--libsqlite3-db=x", "--database", database)
    server.expect_error(rb"--libsqlite3-db, --mysql-host: without effect, since no --queue-type is given\n")
    server.expect_error(rb"listening on")


@pytest.mark.parametrize("command", ["migrate"])
def test_a_queue_that_keeps_nothing_has_no_tables(gearmand_py: GearmandPy, command: str) -> None:
    ended = gearmand_py.run("-q", "builtin", command)
    assert ended.status == 1
    assert "builtin keeps nothing, so it has no tables" in ended.stderr
