"""The client: addresses, text answers, and what it makes of servers that misbehave."""

import socket

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import (
    Address,
    BadAnswer,
    Client,
    ConnectionLost,
    ServerError,
    ServerUnreachable,
    answer_is_whole,
    answer_lines,
    parse_address,
)
from tests.unit.commands.scripted import HOST, SERVER, ScriptedServer


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("jobs.example", Address("jobs.example", 5000)),
        ("jobs.example:4731", Address("jobs.example", 4731)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("::1", Address("::1", 5000)),
        ("[::1]", Address("::1", 5000)),
        ("[fe80::1]:65535", Address("fe80::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, address: Address) -> None:
    assert parse_address(text, 5000) == address


@pytest.mark.parametrize(
    "text", ["", ":4730", "host:", "host:0", "host:65536", "host:x", "a b", "::1:x", "[::1]:x", "[]"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_address(text)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Address("::1", 4730)) == "[::1]:4730"


@pytest.mark.parametrize(
    ("answer", "is_listing", "lines"),
    [
        (b".\n", True, []),
        (b"f\t1\t0\t1\n.\n", True, [b"f\t1\t0\t1"]),
        (b"f\t1\t0\t1\r\n.\r\n", True, [b"f\t1\t0\t1"]),
        (b"ERR f\t1\t0\t1\n.\n", True, [b"ERR f\t1\t0\t1"]),
        (b".f\t1\t0\t1\n.\n", True, [b".f\t1\t0\t1"]),
        (b"OK\r\n", False, [b"OK"]),
        (b"OK 1.1.20\n", False, [b"OK 1.1.20"]),
    ],
)
def test_a_text_answer_is_whole_at_its_end_and_not_before(answer: bytes, is_listing: bool, lines: list[bytes]) -> None:
    assert [answer_is_whole(answer[:end], is_listing) for end in range(len(answer))] == [False] * len(answer)
    assert answer_is_whole(answer, is_listing)
    assert answer_lines(answer, is_listing) == lines


@pytest.mark.parametrize("is_listing", [True, False])
def test_an_err_line_is_raised_with_its_code_and_its_text(is_listing: bool) -> None:
    answer = b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"
    assert answer_is_whole(answer, is_listing)
    with pytest.raises(ServerError, match=r"UNKNOWN_COMMAND: Unknown server command") as raised:
        answer_lines(answer, is_listing)
    assert raised.value.code == "UNKNOWN_COMMAND"


def test_a_refused_connection_says_how_to_start_a_server(free_port: int) -> None:
    with pytest.raises(ServerUnreachable, match=rf"{HOST}:{free_port}.* refused.*gearmand-py --port {free_port}$"):
        Client.connect(HOST, free_port)


def test_a_name_that_cannot_be_resolved_is_unreachable() -> None:
    with pytest.raises(ServerUnreachable, match="host name"):
        Client.connect("x" * 64)


@pytest.mark.parametrize(
    "junk",
    [b"HTTP/1.1 400 Bad Request\r\n", b"\0XXX\0\0\0\1\0\0\0\0", packets.request(packets.ECHO_REQ), b"x" * 10_000],
)
def test_what_is_not_gearman_is_a_bad_answer(junk: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(junk)
        with pytest.raises(BadAnswer, match="right port"):
            client.receive(timeout=10)


def test_packets_before_the_junk_are_received_first() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(packets.NO_JOB_PACKET + b"\0XXX\0\0\0\1\0\0\0\0")
        assert client.receive(timeout=10) == (packets.NO_JOB, b"")
        with pytest.raises(BadAnswer):
            client.receive(timeout=10)


def test_an_error_packet_is_raised() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(packets.error("QUEUE_ERROR", "Job queue is full"))
        with pytest.raises(ServerError, match="QUEUE_ERROR: Job queue is full"):
            client.receive(timeout=10)


def test_a_silent_server_is_lost_after_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client, pytest.raises(ConnectionLost, match=r"no answer within 0\.01 s"):
        client.receive(timeout=0.01)


def test_the_reason_for_hanging_up_on_a_large_request_reaches_its_sender() -> None:
    ours, theirs = socket.socketpair()
    with Client(ours, SERVER) as client:
        theirs.sendall(packets.error("ARGUMENT_TOO_LARGE", "too much"))
        theirs.close()
        with pytest.raises(ServerError, match="too much"):
            client.send(packets.SUBMIT_JOB, b"f", b"", b"x" * 1_000_000)


def test_a_line_of_a_listing_may_be_longer_than_any_text_command() -> None:
    line = b"31 10.0.0.1 - : " + b" ".join(b"function-%d" % number for number in range(10_000))
    with ScriptedServer({b"workers": [line + b"\n.\n"]}) as server, Client.connect(HOST, server.port) as client:
        assert client.text("workers") == [line]


class Slow(socket.socket):
    """Its other end answers when three waits have ended."""

    waits = 0

    def recv(self, buflen: int, flags: int = 0) -> bytes:
        assert (self.gettimeout() or 0) > 0, "a signal that came just before this wait would not be heard"
        self.waits += 1
        if self.waits <= 3:
            raise TimeoutError
        return super().recv(buflen, flags)


def test_a_wait_without_end_is_made_of_short_ones() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Slow(fileno=ours.detach()) as slow:
        theirs.sendall(packets.response(packets.NO_JOB))
        assert Client(slow, SERVER).receive() == (packets.NO_JOB, b"")
    assert slow.waits == 4
