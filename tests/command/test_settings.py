"""Settings from the command line, the environment and a file, and what is said of those that cannot be."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from gearmand_py.server.cli import main
from tests.command.running import WRONG_USAGE, Ended, GearmandPy
from tests.tls.certificates import Authority

COMMANDS: Final = ["migrate", "submit", "work", "status", "workers", "jobs", "cancel", "ping", "bench", "import"]
LINE: Final = re.compile(r"(\S+) = (.*)  # (command line|environment|configuration file|default)")


def checked(ended: Ended) -> dict[str, tuple[str, str]]:
    """What --check-config prints: each setting's value, and where it comes from."""
    assert ended.status == 0, ended.stderr
    *lines, last = ended.stdout.decode().splitlines()
    assert last == "# the configuration is fine"
    found = [LINE.fullmatch(line) for line in lines]
    return {match[1]: (match[2], match[3]) for match in found if match}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file, to be written."""
    return tmp_path / "gearmand-py.toml"


def test_the_command_line_goes_before_the_environment_the_file_and_the_default(
    gearmand_py: GearmandPy, file: Path
) -> None:
    file.write_text('listen = "10.0.0.1"\nport = 1\nbacklog = 1\njob-retries = 1\nverbose = "error"\n')
    environment = {"GEARMAND_PORT": "2", "GEARMAND_BACKLOG": "2", "GEARMAND_CONFIG_FILE": str(file)}
    settings = checked(gearmand_py.run("--check-config", "--port", "3", environment=environment))
    assert settings["port"] == ("3", "command line")
    assert settings["backlog"] == ("2", "environment")
    assert settings["job-retries"] == ("1", "configuration file")
    assert settings["listen"] == ('["10.0.0.1"]', "configuration file")
    assert settings["verbose"] == ('"ERROR"', "configuration file")
    assert settings["worker-wakeup"] == ("1", "default")


def in_a_variable(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def test_every_setting_can_be_given_by_environment_and_file(gearmand_py: GearmandPy, file: Path) -> None:
    access = file.with_name("access.toml")
    access.write_text('[[access]]\nsubmit = "*"\n')
    authority = Authority(file.parent)
    own = authority.issue("server")
    others: dict[str, Any] = {
        "listen": ["::1", "127.0.0.1"],
        "port": 5000,
        "database": "postgresql://ann@db/jobs",
        "database-password-file": "/run/secrets/password",
        "database-schema": "jobs",
        "table-prefix": "other_",
        "migrate": True,
        "synchronous": "normal",
        "storage-timeout": 0.5,
        "node": 7,
        "job-handle-prefix": "X",
        "job-retries": 3,
        "worker-wakeup": 2,
        "memory-limit": 33554432,
        "max-packet-size": 1048576,
        "ssl": True,
        "ssl-port": 4731,
        "ssl-certificate": str(own.certificate),
        "ssl-key": str(own.key),
        "ssl-ca-file": str(authority.file),
        "ssl-verify-client": True,
        "max-connections": 500,
        "max-connections-per-address": 50,
        "first-packet-timeout": 2.5,
        "max-functions": 1000,
        "max-functions-per-worker": 100,
        "max-function-length": 100,
        "max-unique-length": 32,
        "max-queue": 10000,
        "max-output": 2097152,
        "max-buffers": 67108864,
        "backlog": 10,
        "keepalive": True,
        "keepalive-idle": 60,
        "keepalive-interval": 10,
        "keepalive-count": 6,
        "file-descriptors": 1000,
        "exceptions": True,
        "access-file": str(access),
        "allow-shutdown": True,
        "daemon": True,
        "pid-file": "/run/gearmand-py.pid",
        "user": "gearman",
        "log-file": "/var/log/gearman.log",
        "syslog": True,
        "log-format": "json",
        "verbose": "DEBUG",
    }
    environment = {f"GEARMAND_{name.replace('-', '_').upper()}": in_a_variable(value) for name, value in others.items()}
    by_environment = gearmand_py.run("--check-config", environment=environment)
    assert {source for _, source in checked(by_environment).values()} == {"environment"}
    assert tomllib.loads(by_environment.stdout.decode()) == others
    file.write_bytes(by_environment.stdout)  # what is printed is a configuration file
    by_file = gearmand_py.run("--check-config", "--config-file", str(file))
    assert {source for _, source in checked(by_file).values()} == {"configuration file"}
    assert tomllib.loads(by_file.stdout.decode()) == others


def test_what_is_printed_is_toml_whatever_the_value(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--check-config", "--job-handle-prefix", 'a"b\\c')
    assert tomllib.loads(ended.stdout.decode())["job-handle-prefix"] == 'a"b\\c'


@pytest.mark.parametrize("size", ["1M", "1MiB", "1mb", "1024K", "1048576"])
def test_sizes_have_units(size: str) -> None:
    ended = CliRunner().invoke(main, ["--check-config", "--max-packet-size", size])
    assert "max-packet-size = 1048576  # command line" in ended.stdout.splitlines()


# ---- refused


def complaint(*words: str) -> str:
    """What the command says of wrong words; in this process, for there are many."""
    ended = CliRunner().invoke(main, words)
    assert (ended.exit_code, ended.stdout) == (WRONG_USAGE, "")
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backlg", "1"], "No such option '--backlg'. Did you mean '--backlog'?"),
        (["--port", "http"], "Invalid value for '-p' / '--port' "),
        (["--port", "65536"], "65536 is not in the range 0<=x<=65535"),
        (["--verbose", "loud"], "'loud' is not one of 'fatal'"),
        (["--max-packet-size", "much"], "'much' is not a size: write 1048576, 64M or 64MiB"),
        (["--memory-limit", "9" * 5000], "is not a size: write 1048576, 64M or 64MiB"),
        (["--storage-timeout", "nan"], "nan is no number of seconds"),
        (["--storage-timeout", "-1"], "-1.0 is not in the range x>=0"),
        (["--max-packet-size", "5G"], "--max-packet-size must be between 12 and 4294967295 bytes"),
        (["--node", "1024"], "1024 is not in the range 0<=x<=1023"),
        (["--config-file", "/no/such.toml"], "/no/such.toml: "),
        (["sreve"], "No such command 'sreve'"),
        (["--check-config", "ping"], "--check-config goes without a command"),
        (["--check-args", "ping"], "--check-args goes without a command"),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    assert message in complaint(*words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "there is no setting 'prot'; did you mean 'port'?"),
        ("jobretries = 1", "there is no setting 'jobretries'; did you mean 'job-retries'?"),
        ("colour = 1", "there is no setting 'colour'; known are access-file, allow-shutdown, backlog, coredump, "),
        ('config-file = "x"', "there is no setting 'config-file'; "),
        ('port = "http"', "port: 'http' is not a valid integer"),
        ("port = 4730.5", "port = 4730.5 is not a value for this setting"),
        ("port = true", "port = True is not a value for this setting"),
        ("port = [4730]", "port = [4730] is not a value for this setting"),
        ("port = 70000", "port: 70000 is not in the range 0<=x<=65535"),
        ("[server]\nport = 1", "there is no setting 'server'; "),
        ("listen = 1979-05-27", "listen = datetime.date(1979, 5, 27) is not a value for this setting"),
        ("listen = 10", "listen = 10 is not a value for this setting"),
        ('synchronous = "off"', "synchronous: 'off' is not one of 'full', 'normal'"),
        ("max-packet-size = 11", "--max-packet-size must be between 12 and "),
        ("memory-limit = -1", "memory-limit: -1 is not a size"),
        ("storage-timeout = nan", "storage-timeout: nan is no number of seconds"),
        ("storage-timeout = 1e400", "storage-timeout: inf is no number of seconds"),
        (f"port = {'9' * 5000}", "Exceeds the limit (4300 digits)"),
        (f"listen = {'[' * 5000}", "brackets are nested too deeply"),
        ("port 4730", "Expected '=' after a key"),
        ('listen = "\udcff"', "can't decode"),
    ],
)
def test_wrong_lines_of_a_file(file: Path, text: str, message: str) -> None:
    file.write_text(text, errors="surrogateescape")
    assert message in complaint("--check-config", "--config-file", str(file))


def test_a_server_does_not_start_with_a_wrong_line(gearmand_py: GearmandPy, file: Path) -> None:
    file.write_text("prot = 1")
    ended = gearmand_py.run("--config-file", str(file))
    assert (ended.status, ended.stdout) == (WRONG_USAGE, b"")
    assert ended.stderr.endswith(f": {file}: there is no setting 'prot'; did you mean 'port'?\n")


def test_a_server_does_not_start_with_a_wrong_word(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--backlg", "1")
    assert (ended.status, ended.stdout) == (WRONG_USAGE, b"")
    assert ended.stderr.endswith("Error: No such option '--backlg'. Did you mean '--backlog'?\n")


def test_a_wrong_variable_names_itself(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--check-config", environment={"GEARMAND_PORT": "http"})
    assert ended.status == WRONG_USAGE
    assert "GEARMAND_PORT" in ended.stderr


@pytest.mark.parametrize("listen", ["", " "])
def test_a_server_listens_somewhere(listen: str) -> None:
    assert "--listen names no address" in complaint("--check-config", f"--listen={listen}")
    assert "--listen names no address" in complaint("--check-config", "--listen=::1", f"--listen={listen}")


@pytest.mark.parametrize("database", ["host=db password=s3cret", "mysql://ann:s3cret@db/x y z?", "s3cret:x@y"])
def test_what_may_be_a_password_is_not_shown(gearmand_py: GearmandPy, database: str) -> None:
    ended = gearmand_py.run("--check-config", "--database", database)
    assert "s3cret" not in ended.stderr + ended.stdout.decode()


def test_a_slash_too_few(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--check-config", "--database", "sqlite://tmp/x.db")
    assert ended.status != 0
    assert "sqlite://tmp/x.db has a host, tmp, where a file needs one slash more: use sqlite:////" in ended.stderr


def test_a_database_url_that_cannot_be_is_no_fine_configuration(gearmand_py: GearmandPy) -> None:
    ended = gearmand_py.run("--check-config", "--database", "queue.db")
    assert ended.status != 0
    assert "'queue.db' is not a database URL" in ended.stderr


# ---- about itself


def test_the_version(gearmand_py: GearmandPy) -> None:
    assert (
        gearmand_py.output("--version") == gearmand_py.output("-V") == f"gearmand-py, version {version('gearmand-py')}"
    )


def test_the_help_lists_the_options_and_the_commands(gearmand_py: GearmandPy) -> None:
    page = gearmand_py.output("--help")
    assert "--job-retries" in page
    assert "GEARMAND_JOB_RETRIES" in page
    listed = re.findall(r"^  ([a-z]+)  ", page.partition("\nCommands:\n")[2], re.MULTILINE)
    assert listed == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_page_with_its_exit_status(command: str) -> None:
    page = CliRunner().invoke(main, [command, "--help"], prog_name="gearmand-py").stdout
    assert page.startswith(f"Usage: gearmand-py {command} ")
    assert "Exit status: 0 " in page
