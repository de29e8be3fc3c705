"""Clients that speak TLS: our own commands, gear, Perl's, and a plain socket of Python's."""

import socket
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.command.running import GearmandPy
from tests.harness.process import Process
from tests.harness.server import HOST, Server
from tests.harness.tools import need
from tests.tls.certificates import Authority, Pair, names_in

PROGRAMS: Final = Path(__file__).with_name("programs")


@pytest.fixture
def shown(authority: Authority) -> Pair:
    """What a client shows."""
    return authority.issue("ann")


def test_our_own_commands(gearmand_py: GearmandPy, strict: Server, authority: Authority, shown: Pair) -> None:
    known = authority.environment(shown)
    server = ("--server", f"tls://{HOST}:{strict.port}")
    worker = gearmand_py.start("work", *server, "reverse", "--", "rev", environment=known)
    done = gearmand_py.run("submit", *server, "reverse", "hello", environment=known)
    assert (done.status, done.stdout) == (0, b"olleh"), done.stderr
    assert b"reverse" in gearmand_py.run("status", *server, environment=known).stdout
    pong = gearmand_py.run("ping", *server, environment=known)
    assert pong.stdout.startswith(b"pong from tls://127.0.0.1:"), pong.stderr
    measured = gearmand_py.run("bench", *server, "-n", "500", "--warm-up", "0", "foreground", environment=known)
    assert b"0 lost, 0 doubled" in measured.stdout, measured.stderr
    worker.close()
    assert strict.stderr.count("with the certificate 'ann'") > 10


def test_our_own_commands_with_the_options_of_the_server(
    gearmand_py: GearmandPy, server: Server, authority: Authority
) -> None:
    words = ("--listen", HOST, "--port", str(server.port), "--ssl", "ping")
    assert gearmand_py.run(*words, environment=authority.environment()).stdout.startswith(b"pong from tls://")


def test_a_benchmark_of_a_server_of_its_own(gearmand_py: GearmandPy, own: Pair, authority: Authority) -> None:
    words = ("--ssl", *own.options, "bench", "--start", "-n", "500", "--warm-up", "0", "both")
    ended = gearmand_py.run(*words, environment=authority.environment())
    assert b"tls://127.0.0.1:" in ended.stdout, ended.stderr
    assert b"0 lost, 0 doubled" in ended.stdout


def test_a_server_that_is_not_known(
    gearmand_py: GearmandPy, server: Server, stranger: Authority, authority: Authority
) -> None:
    ping = ("ping", "--server", f"tls://{HOST}:{server.port}")
    ended = gearmand_py.run(*ping, environment=stranger.environment())
    assert ended.status == 3
    assert "certificate verify failed" in ended.stderr or "unable to get local issuer" in ended.stderr
    assert "GEARMAND_CA_CERTIFICATE names the file" in ended.stderr
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: it does not know the authority of --ssl-certificate\n")
    assert gearmand_py.run(*ping, environment=authority.environment()).status == 0


def test_files_of_a_client_that_are_not_there(gearmand_py: GearmandPy, server: Server) -> None:
    ping = ("ping", "--server", f"tls://{HOST}:{server.port}")
    ended = gearmand_py.run(*ping, environment={"GEARMAND_CA_CERTIFICATE": "/no/such.pem"})
    assert ended.status == 3
    assert "GEARMAND_CA_CERTIFICATE=/no/such.pem: No such file or directory" in ended.stderr


def test_our_own_commands_on_a_port_without_tls(gearmand_py: GearmandPy, authority: Authority, tmp_path: Path) -> None:
    with Server(tmp_path / "plain.db") as plain:
        ended = gearmand_py.run("ping", "-s", f"tls://{HOST}:{plain.port}", environment=authority.environment())
        assert ended.status == 3
        assert "Does that port speak TLS?" in ended.stderr
        plain.expect(rb"WARNING 127\.0\.0\.1 speaks TLS to a port without it\n")
        assert gearmand_py.run("ping", "-s", f"{HOST}:{plain.port}").status == 0


def test_python(server: Server, authority: Authority, own: Pair) -> None:
    context = authority.context()
    with context.wrap_socket(socket.create_connection((HOST, server.port)), server_hostname="localhost") as connected:
        shown = connected.getpeercert()
        assert shown
        assert names_in(shown)["commonName"] == "server"
        assert str(shown["serialNumber"]).lstrip("0") == own.serial
        assert connected.version() == "TLSv1.3"
        connected.sendall(b"version\n")
        assert connected.recv(100).startswith(b"OK ")


def program(command: list[str], *words: str | Path) -> Process:
    return Process([*command, *map(str, words)])


@pytest.mark.parametrize("library", ["gear", "perl"])
def test_libraries(strict: Server, authority: Authority, shown: Pair, library: str) -> None:
    run = {
        "gear": [sys.executable, str(PROGRAMS / "gear_tls.py")],
        "perl": [need("perl"), str(PROGRAMS / "perl_tls.pl")],
    }
    files = (strict.port, authority.file, shown.certificate, shown.key)
    words = [str(word) for word in files]
    with program(run[library], "work", *words) as worker, program(run[library], "submit", *words) as client:
        assert client.result().strip() == b"olleh", worker.stderr
