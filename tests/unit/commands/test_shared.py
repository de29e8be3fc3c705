"""What the commands share: which server, which exit status for wrong usage, what a terminal gets to see."""

import pytest

from gearmand_py.server.client import Address
from gearmand_py.server.commands.shared import NO_SERVER, USAGE, own_address, printable
from tests.unit.commands.scripted import HOST, SERVER, gearmand_py


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        (("0.0.0.0",), HOST),
        (("::",), "::1"),
        (("10.0.0.1", HOST), "10.0.0.1"),
        (("unix:/run/g.sock",), "/run/g.sock"),
        (None, HOST),
    ],
)
def test_a_server_that_listens_everywhere_is_met_on_loopback(listen: tuple[str, ...] | None, host: str) -> None:
    assert own_address({"listen": listen, "port": 5000}) == Address(host, 5000)


def test_without_options_the_server_is_the_local_one() -> None:
    assert own_address({}) == SERVER


@pytest.mark.parametrize(
    ("words", "environment", "server"),
    [
        (["ping"], {"GEARMAND_PORT": "1"}, "127.0.0.1:1"),
        (["-p", "1", "ping"], {}, "127.0.0.1:1"),
        (["-p", "1", "-L", "::", "ping"], {}, "[::1]:1"),
        (["ping"], {"GEARMAN_SERVERS": "127.0.0.2:1,127.0.0.3:1"}, "127.0.0.2:1"),
        (["ping"], {"GEARMAN_SERVERS": "127.0.0.2", "GEARMAND_PORT": "1"}, "127.0.0.2:1"),
        (["-p", "1", "ping"], {"GEARMAN_SERVERS": "127.0.0.2:2"}, "127.0.0.1:1"),
        (["-p", "1", "ping", "-s", "127.0.0.2:2"], {"GEARMAN_SERVERS": "127.0.0.3:3"}, "127.0.0.2:2"),
    ],
)
def test_what_is_typed_goes_before_what_is_in_the_environment(
    words: list[str], environment: dict[str, str], server: str
) -> None:
    result = gearmand_py(*words, environment=environment)
    assert f"cannot reach {server}:" in result.stderr
    assert result.exit_code == NO_SERVER


@pytest.mark.parametrize(
    "words",
    [
        ["submit"],
        ["submit", ""],
        ["submit", "f", "--at", "+1h", "--priority", "low"],
        ["submit", "f", "--at", "soon"],
        ["work", "f"],
        ["work", "f", "--"],
        ["work", "f", "-n", "1", "--", "cat"],
        ["cancel"],
        ["cancel", "H:here:1\nshutdown"],
        ["cancel", ""],
        ["ping", "-s", "host:port"],
    ],
)
def test_wrong_usage_gives_status_2_before_any_connection(words: list[str]) -> None:
    result = gearmand_py(*words)
    assert result.exit_code == USAGE, result.output
    assert "cannot reach" not in result.stderr


def test_names_cannot_control_the_terminal() -> None:
    assert printable("caf\u00e9 \x1b[2J\u202e") == "caf\u00e9 \\x1b[2J\\u202e"
