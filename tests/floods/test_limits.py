"""The limits of connections and of their memory, on a real server: what the peer is told, the log, and the others."""

import socket
import time
from contextlib import suppress

import pytest

from gearmand_py.server import packets
from gearmand_py.server.buffers import PATIENCE
from gearmand_py.server.client import Client, ClientError
from gearmand_py.server.codec import Connection, Packet
from gearmand_py.server.door import GIVES_WAY
from gearmand_py.server.seldom import OF_ONE
from tests.conftest import StartServer
from tests.harness.server import HOST, Server

MIB = 1024 * 1024
TIMEOUT = 60.0


def raw(server: Server) -> socket.socket:
    return socket.create_connection((HOST, server.port), TIMEOUT)


def all_of(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    found = bytearray()
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return bytes(found)


def is_over(connection: socket.socket) -> bool:
    """The server has ended it; waits for that."""
    with suppress(ConnectionResetError):
        return not connection.recv(1)
    return True


def echo(client: Client, data: bytes = b"still here") -> None:
    assert client.ask(packets.ECHO_REQ, data, answer=packets.ECHO_RES, timeout=TIMEOUT) == data


def expect_connections(client: Client, count: int) -> None:
    """The server knows of so many, in a moment."""
    until = time.monotonic() + TIMEOUT
    while (found := len(client.text("workers"))) != count:
        assert time.monotonic() < until, f"{found} connections, not {count}"


# ---- connections


@pytest.mark.parametrize(
    "option", ["--max-connections", "--max-connections-per-address"], ids=["in all", "from an address"]
)
def test_one_connection_too_many_is_told_and_ended(start_server: StartServer, option: str) -> None:
    server = start_server(option, "2")
    with server.connect() as first, server.connect() as second:
        echo(first)
        echo(second)
        for _ in range(20):
            with raw(server) as refused:
                assert b"TOO_MANY_CONNECTIONS" in all_of(refused)
        echo(first)
    server.expect(rb"WARNING connection from 127.0.0.1 was refused: .*2 connections.*\(" + option.encode() + rb"\)")
    until = time.monotonic() + TIMEOUT
    while True:  # the places are given back
        try:
            with server.connect() as third:
                echo(third)
                break
        except (ClientError, OSError):
            assert time.monotonic() < until
    assert server.stderr.count("was refused") <= OF_ONE[0]  # not a line for each


def test_who_has_said_nothing_gives_way(start_server: StartServer) -> None:
    server = start_server("--max-connections", "2")
    with server.connect() as speaker, raw(server) as silent:
        echo(speaker)
        expect_connections(speaker, 2)  # the time of the silent one runs
        time.sleep(GIVES_WAY + 0.5)
        with server.connect() as third:
            echo(third)
        assert is_over(silent)
        echo(speaker)
    server.expect(rb"gave its place to another \(--max-connections\)")


def test_a_first_packet_in_time(start_server: StartServer) -> None:
    server = start_server("--first-packet-timeout", "5")  # the speaker may be kept waiting
    with server.connect() as speaker, raw(server) as silent, raw(server) as slow:
        echo(speaker)
        slow.send(b"\0REQ")
        assert is_over(silent)
        assert is_over(slow)
        echo(speaker)
    server.expect(rb"has sent no packet in time \(--first-packet-timeout\)")


def test_more_connections_than_files_is_an_error(start_server: StartServer) -> None:
    with pytest.raises(pytest.fail.Exception, match="--max-connections 5000: the process may have 1000 open files"):
        start_server("--max-connections", "5000", "--file-descriptors", "1000")


# ---- answers that are not read


def flooded_with_results(server: Server, size: int, count: int) -> tuple[socket.socket, Client]:
    """A client that is owed so many results, which it has not read, and their worker."""
    client, worker = raw(server), server.connect()
    client.sendall(packets.request(packets.SUBMIT_JOB, b"large", b"", b"") * count)
    assert client.recv(1, socket.MSG_PEEK), "the server has not read them"
    worker.send(packets.CAN_DO, b"large")
    for _ in range(count):
        worker.send(packets.GRAB_JOB)
        packet = worker.receive(TIMEOUT)
        if packet[0] == packets.NO_JOB:
            break
        handle = worker.split(packet, 3)[0]
        worker.send(packets.WORK_COMPLETE, handle, bytes(size))
    echo(worker)
    return client, worker


@pytest.mark.parametrize("option", ["--max-output", "--max-buffers"])
def test_who_leaves_too_much_unread_is_ended(start_server: StartServer, option: str) -> None:
    server = start_server(option, "8M")
    client, worker = flooded_with_results(server, MIB, 40)
    server.expect(rb"WARNING connection from 127.0.0.1 left .* unread.*\(" + option.encode() + rb"\)")
    with client, worker:
        assert len(all_of(client)) < 40 * MIB
        echo(worker)


def test_a_large_result_is_not_too_much(start_server: StartServer) -> None:
    server = start_server("--max-output", "1M")
    client, worker = flooded_with_results(server, 40 * MIB, 1)
    codec = Connection(packets.RESPONSE)
    got: list[Packet] = []
    with client, worker:
        while len(got) < 2:
            got += codec.feed(client.recv(MIB))
    assert [kind for kind, _ in got] == [packets.JOB_CREATED, packets.WORK_COMPLETE]
    assert len(got[1][1]) > 40 * MIB


# ---- large packets


def test_a_large_packet_waits_for_memory_and_who_holds_it_without_sending_has_to_go(start_server: StartServer) -> None:
    server = start_server("--max-buffers", "32M")
    half = packets.HEADER.pack(packets.REQUEST, packets.ECHO_REQ, 30 * MIB) + bytes(MIB)
    with raw(server) as holder, server.connect() as other, server.connect() as bystander:
        holder.sendall(half)
        echo(bystander)
        began = time.monotonic()
        echo(other, bytes(20 * MIB))
        assert time.monotonic() - began >= PATIENCE - 1
        assert is_over(holder)
        echo(bystander, bytes(20 * MIB))
    server.expect(rb"sent too little of a large packet while others waited to send theirs \(--max-buffers\)")


# ---- turns


def test_many_requests_in_one_go_are_answered_in_their_order(server: Server) -> None:
    count = 30_000
    wanted = [b"%d" % each for each in range(count)]
    with server.connect() as client, server.connect() as other:
        client._write(b"".join(packets.request(packets.ECHO_REQ, each) for each in wanted))
        echo(other)
        assert [client.receive(TIMEOUT)[1] for _ in wanted] == wanted


def test_long_listings_come_whole_and_in_order_with_what_is_asked_behind_them(start_server: StartServer) -> None:
    server = start_server("--job-handle-prefix", "H:x")
    jobs = 5000
    with server.connect() as client, raw(server) as operator:
        client._write(packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"") * jobs)
        handles = [client.receive(TIMEOUT)[1] for _ in range(jobs)]
        operator.sendall(b"show jobs\nversion\n" * 3 + packets.request(packets.ECHO_REQ, b"end"))
        data = bytearray()
        while not data.endswith(b"end"):
            data += operator.recv(65536)
    parts = bytes(data).split(b"\n.\n")
    assert len(parts) == 4
    for at, part in enumerate(parts[:3]):
        lines = part.splitlines()
        if at:
            assert lines.pop(0).startswith(b"OK ")
        assert [line.split(b"\t")[0] for line in lines] == handles
    assert parts[3].startswith(b"OK ")


def test_a_client_that_leaves_in_the_middle_of_a_listing(server: Server) -> None:
    with server.connect() as client:
        client._write(packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"") * 5000)
        for _ in range(5000):
            client.receive(TIMEOUT)
        for _ in range(5):
            with raw(server) as operator:
                operator.sendall(b"show jobs\n" * 100)
                operator.recv(10)
        expect_connections(client, 1)  # the last one's end may be read behind the question


def test_a_reader_of_listings_that_stops_reading_keeps_nobody_waiting(server: Server) -> None:
    with server.connect() as client, raw(server) as operator:
        client._write(packets.request(packets.SUBMIT_JOB_BG, b"f", b"", b"") * 5000)
        for _ in range(5000):
            client.receive(TIMEOUT)
        operator.sendall(b"show jobs\n" * 1000)
        for _ in range(20):
            echo(client)
        assert len(client.text("show jobs")) == 5000
