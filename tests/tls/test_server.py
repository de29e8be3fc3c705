"""Who is let in over TLS, what is said of the others, and that they cost nobody else anything."""

import os
import re
import signal
import socket
import ssl
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ServerError
from tests.acceptance.clients import until
from tests.command.running import make_tables
from tests.command.test_large_payloads import LARGEST, Memory
from tests.conftest import StartServer
from tests.databases.ports import free_port
from tests.harness.server import HOST, Server
from tests.tls.certificates import Authority, Pair

SILENT: Final = 200
MANY: Final = 100


def secured(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection((HOST, port), 20), server_hostname=HOST)


def version_over(connected: socket.socket) -> bytes:
    connected.sendall(b"version\n")
    return connected.recv(100)


def spoken(connected: ssl.SSLSocket) -> ssl.SSLSocket:
    assert version_over(connected).startswith(b"OK ")
    return connected


def assert_served(port: int, context: ssl.SSLContext) -> None:
    with secured(port, context) as connected:
        assert version_over(connected).startswith(b"OK ")


def is_served(port: int, context: ssl.SSLContext) -> bool:
    """Whether there is a place."""
    try:
        assert_served(port, context)
    except (ssl.SSLError, ConnectionError):
        return False
    return True


def assert_refused(port: int, context: ssl.SSLContext) -> None:
    """TLS 1.3 tells a client only when it reads."""
    try:
        with secured(port, context) as connected:
            assert not version_over(connected)
    except (ssl.SSLError, ConnectionError):
        pass


# ---- clients' certificates


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("nobody", "it shows no certificate, and --ssl-verify-client asks for one"),
        ("expired", "its certificate is not accepted: certificate has expired"),
        (
            "foreign",
            "its certificate is not accepted: (self-signed certificate|unable to get local issuer certificate)",
        ),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_who_is_refused(
    strict: Server, authority: Authority, stranger: Authority, who: str, reason: str, version: ssl.TLSVersion
) -> None:
    pairs = {
        "nobody": None,
        "expired": authority.issue("late", expired=True),
        "foreign": stranger.issue("eve"),
    }
    context = authority.context(pairs[who])
    context.maximum_version = version
    with secured(strict.port, authority.context(authority.issue("ann"))) as first:
        assert_refused(strict.port, context)
        strict.expect(rb"WARNING no TLS with 127\.0\.0\.1: " + reason.encode() + rb"\n")
        assert version_over(first).startswith(b"OK "), "who is in stays in"
    assert_served(strict.port, authority.context(authority.issue("ann")))
    assert "Traceback" not in strict.stderr


def test_a_certificate_may_be_shown_where_none_has_to(
    start_server: StartServer, own: Pair, authority: Authority, stranger: Authority
) -> None:
    server = start_server("--ssl", *own.options, "--ssl-ca-file", str(authority.file), "-vv")
    assert_served(server.port, authority.context())
    assert_served(server.port, authority.context(authority.issue("ann")))
    server.expect(rb"from 127\.0\.0\.1 with the certificate 'ann'\n")
    assert_refused(server.port, authority.context(stranger.issue("eve")))


def test_none_is_asked_for_without_authorities(server: Server, authority: Authority, stranger: Authority) -> None:
    assert_served(server.port, authority.context(stranger.issue("eve")))


# ---- who speaks something else


def test_old_tls(server: Server, authority: Authority) -> None:
    context = authority.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert_refused(server.port, context)
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: it speaks no TLS later than 1\.1\n")
    assert_served(server.port, authority.context())


def test_plain_clients_are_told(server: Server, authority: Authority) -> None:
    with server.connect() as client:
        client.send(packets.ECHO_REQ, b"hello")
        with pytest.raises(ServerError, match="TLS_REQUIRED: This port speaks TLS only"):
            client.receive(timeout=20)
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: it speaks no TLS\n")
    assert_served(server.port, authority.context())


@pytest.mark.parametrize(
    "said", [b"status\n", b"GET / HTTP/1.1\r\n\r\n", b"\0", b"\x16\x03\x01nonsense", b"\x16" * 70_000]
)
def test_bytes_that_are_no_tls(server: Server, authority: Authority, said: bytes) -> None:
    with socket.create_connection((HOST, server.port), 20) as connected:
        connected.sendall(said)
        connected.shutdown(socket.SHUT_WR)
        while connected.recv(1000):
            pass
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: ")
    assert_served(server.port, authority.context())
    assert "Traceback" not in server.stderr


def test_who_only_looks_whether_the_port_is_there(server: Server, authority: Authority) -> None:
    socket.create_connection((HOST, server.port)).close()
    assert_served(server.port, authority.context())
    assert "WARNING no TLS" not in server.stderr


def test_a_log_is_not_flooded(server: Server) -> None:
    for _ in range(MANY):
        with socket.create_connection((HOST, server.port), 20) as connected:
            connected.sendall(b"status\n")
            assert b"TLS_REQUIRED" in connected.recv(100)
    server.expect(rb"WARNING \.\.\. and (\d+) more such lines in the last 10 s\n")
    while told_and_untold(server) < MANY:  # they took more than 10 s, and there is another such line to come
        server.expect(rb"WARNING \.\.\. and (\d+) more such lines in the last 10 s\n")
    assert len(re.findall("it speaks no TLS\n", server.stderr)) < MANY / 2
    assert told_and_untold(server) == MANY


def told_and_untold(server: Server) -> int:
    """Strangers that have a line, and those that are only counted."""
    told = len(re.findall("it speaks no TLS\n", server.stderr))
    return told + sum(map(int, re.findall(r"and (\d+) more", server.stderr)))


# ---- handshakes that do not end


def test_silent_strangers_hold_nobody_up(server: Server, authority: Authority) -> None:
    files = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    silent = [socket.create_connection((HOST, server.port), 60) for _ in range(SILENT)]
    hello = ssl.MemoryBIO()
    begun = authority.context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    first = hello.read()
    for number, one in enumerate(silent):
        one.sendall(first[: number % len(first)])
    assert_served(server.port, authority.context())
    for one in silent:
        with one:
            assert not one.recv(100), "it is closed for it"
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: it took more than 10 s\n")
    assert_served(server.port, authority.context())
    until(lambda: len(list(Path(f"/proc/{server.pid}/fd").iterdir())) <= files + 1, True)


# ---- ports


def test_a_port_of_its_own(start_server: StartServer, tmp_path: Path, own: Pair, authority: Authority) -> None:
    make_tables(tmp_path / "queue.db")
    port, path = free_port(), tmp_path / "socket"
    server = start_server("--ssl-port", str(port), *own.options, "--listen", str(path))
    assert f"127.0.0.1:{port} (TLS), {path}, storing" in server.stderr
    with server.connect() as plain, Client.connect(str(path)) as local:
        assert plain.text("version") == local.text("version")
        with secured(port, authority.context()) as encrypted:
            encrypted.sendall(packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"by TLS"))
            assert encrypted.recv(100).startswith(b"\0RES")
        assert plain.text("status") == [b"f\t1\t0\t0"]
    assert_refused(server.port, authority.context())


def test_unix_sockets_stay_plain(start_server: StartServer, tmp_path: Path, own: Pair) -> None:
    path = tmp_path / "socket"
    start_server("--ssl", *own.options, "--listen", str(path))
    with Client.connect(str(path)) as local:
        assert local.text("version")


# ---- what passes


def test_the_largest_payload(server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in authority.environment().items():
        monkeypatch.setenv(name, value)
    data = bytes(range(256)) * (LARGEST // 256)
    with Client.connect(HOST, server.port, tls=True) as client, Client.connect(HOST, server.port, tls=True) as worker:
        worker.send(packets.CAN_DO, b"f")
        client.ask(packets.SUBMIT_JOB, b"f", b"", data, answer=packets.JOB_CREATED, timeout=None)
        memory = Memory(server.pid)
        body = worker.ask(packets.GRAB_JOB, answer=packets.JOB_ASSIGN, timeout=None)
        handle, _, arrived = body.split(b"\0", 2)
        assert arrived == data
        worker.send(packets.WORK_COMPLETE, handle, data)
        assert client.receive()[1] == handle + b"\0" + data
        assert memory.peak < 3.25 * LARGEST, "as without TLS"


def test_who_does_not_read_costs_its_payload_once(
    server: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in authority.environment().items():
        monkeypatch.setenv(name, value)
    with Client.connect(HOST, server.port, tls=True) as slow, Client.connect(HOST, server.port, tls=True) as other:
        data = bytes(LARGEST)
        memory = Memory(server.pid)
        slow.send(packets.ECHO_REQ, data)
        assert slow.detach().recv(1)
        assert other.ask(packets.ECHO_REQ, b"meanwhile", answer=packets.ECHO_RES) == b"meanwhile"
        assert memory.now < 2.25 * LARGEST


def test_a_peer_that_has_ended_its_side_gets_what_it_is_owed(server: Server, authority: Authority) -> None:
    with secured(server.port, authority.context()) as connected:
        connected.sendall(1000 * packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"data"))
        socket.socket.shutdown(connected, socket.SHUT_WR)
        connected.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        received = b""
        while data := connected.recv(100_000):
            received += data
    assert received.count(b"\0RES") == 1000


def test_a_stop_ends_connections_as_it_does_plain_ones(server: Server, authority: Authority) -> None:
    with secured(server.port, authority.context()) as connected:
        connected.sendall(packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"data"))
        assert connected.recv(100)
        # The end is said, not only there.
        connected.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        with socket.create_connection((HOST, server.port)):
            os.kill(server.pid, signal.SIGTERM)
            assert not connected.recv(100)
            connected.close()
            assert server.wait() == 0
    assert "Traceback" not in server.stderr


# ---- before the handshake is done


def test_who_does_not_shake_hands_counts_as_a_connection(
    start_server: StartServer, own: Pair, authority: Authority
) -> None:
    server = start_server("--ssl", *own.options, "--max-connections", "2")
    context = authority.context()
    with secured(server.port, context) as first:
        assert version_over(first).startswith(b"OK ")
        with socket.create_connection((HOST, server.port), 20) as silent:
            assert_refused(server.port, context)
            server.expect(rb"WARNING connection from 127.0.0.1 was refused: There are 2 connections.*--max-connections")
            assert version_over(first).startswith(b"OK ")
            silent.settimeout(20)
            silent.shutdown(socket.SHUT_WR)
            assert not silent.recv(1)
        # Its place is given back, and so are those of who did; the server may read of their end behind a connection.
        for _ in range(6):
            until(lambda: is_served(server.port, context), True)


def test_a_first_packet_in_time_and_the_handshake_before_it(
    start_server: StartServer, own: Pair, authority: Authority
) -> None:
    server = start_server("--ssl", *own.options, "--first-packet-timeout", "3")
    context = authority.context()
    with (
        spoken(secured(server.port, context)) as speaker,  # before the others come: it has only so much time
        socket.create_connection((HOST, server.port), 60) as silent,
        secured(server.port, context) as shaken,
    ):
        for late in (silent, shaken):
            late.settimeout(60)
            with suppress(ssl.SSLError, ConnectionError):
                assert not late.recv(1)
        assert version_over(speaker).startswith(b"OK ")
    server.expect(rb"has sent no packet in time \(--first-packet-timeout\)")
