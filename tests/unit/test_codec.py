"""Bytes to packets: framing, limits, and what breaks the frame."""

from typing import Final

import pytest

from gearmand_py.server.codec import MAX_LINE, Connection, Packet
from gearmand_py.server.packets import (
    ECHO_REQ,
    ECHO_RES,
    GRAB_JOB,
    HEADER,
    REQUEST,
    RESPONSE,
    SUBMIT_JOB,
    TEXT,
    WRONG_MAGIC,
    pack,
    request,
    response,
)

LIMIT: Final = 1000


@pytest.fixture
def codec() -> Connection:
    """The server's side, with a small limit."""
    return Connection(REQUEST, LIMIT)


def bytewise(codec: Connection, data: bytes) -> list[Packet]:
    return [packet for at in range(len(data)) for packet in codec.feed(data[at : at + 1])]


def refused(codec: Connection) -> str:
    """The code of the error that broke the frame."""
    assert codec.error is not None
    return codec.error.code


# ---- packets


def test_a_packet_without_a_body(codec: Connection) -> None:
    assert codec.feed(request(GRAB_JOB)) == [(GRAB_JOB, b"")]


def test_many_packets_in_one_read(codec: Connection) -> None:
    data = request(SUBMIT_JOB, b"f", b"u", b"d") + request(GRAB_JOB) + request(ECHO_REQ, b"x")

    assert codec.feed(data) == [(SUBMIT_JOB, b"f\0u\0d"), (GRAB_JOB, b""), (ECHO_REQ, b"x")]


def test_a_packet_in_many_reads(codec: Connection) -> None:
    assert bytewise(codec, request(ECHO_REQ, b"hello") * 2) == [(ECHO_REQ, b"hello")] * 2


def test_a_packet_is_returned_with_its_last_byte(codec: Connection) -> None:
    data = request(ECHO_REQ, b"hello")

    assert codec.feed(data[:-1]) == []
    assert codec.feed(data[-1:] + request(GRAB_JOB)) == [(ECHO_REQ, b"hello"), (GRAB_JOB, b"")]


def test_a_body_may_hold_anything_even_a_header(codec: Connection) -> None:
    inner = request(GRAB_JOB) + b"status\n"

    assert codec.feed(request(ECHO_REQ, inner)) == [(ECHO_REQ, inner)]


def test_nothing_gives_nothing(codec: Connection) -> None:
    assert codec.feed(b"") == []
    assert codec.feed(request(ECHO_REQ, b"x")[:5]) == []
    assert codec.feed(b"") == []
    assert codec.feed(request(ECHO_REQ, b"x")[5:]) == [(ECHO_REQ, b"x")]


def test_the_other_side_reads_with_the_same_codec() -> None:
    client = Connection(RESPONSE)

    assert client.feed(response(ECHO_RES, b"hello")) == [(ECHO_RES, b"hello")]


def test_a_large_body_in_many_pieces() -> None:
    codec = Connection(REQUEST)
    data = request(ECHO_REQ, bytes(3_000_000))
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]

    assert [packet for piece in pieces for packet in codec.feed(piece)] == [(ECHO_REQ, bytes(3_000_000))]


# ---- text


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_text_line_comes_without_its_end(codec: Connection, end: bytes) -> None:
    assert codec.feed(b"create function foo" + end) == [(TEXT, b"create function foo")]


def test_only_one_carriage_return_belongs_to_the_end(codec: Connection) -> None:
    assert codec.feed(b"a\r\r\n\n") == [(TEXT, b"a\r"), (TEXT, b"")]


def test_a_text_line_in_many_reads(codec: Connection) -> None:
    assert bytewise(codec, b"status\r\nworkers\n") == [(TEXT, b"status"), (TEXT, b"workers")]


def test_text_and_binary_mix(codec: Connection) -> None:
    data = b"status\n" + request(ECHO_REQ, b"x") + b"version\r\n" + request(GRAB_JOB)

    assert codec.feed(data) == [(TEXT, b"status"), (ECHO_REQ, b"x"), (TEXT, b"version"), (GRAB_JOB, b"")]


def test_a_line_up_to_the_limit_is_taken(codec: Connection) -> None:
    line = b"a" * (MAX_LINE - 1)

    assert codec.feed(line + b"\n") == [(TEXT, line)]


@pytest.mark.parametrize("rest", [b"", b"\n", b"aaa\n", request(GRAB_JOB)])
def test_a_line_over_the_limit_breaks_the_frame(codec: Connection, rest: bytes) -> None:
    assert codec.feed(b"status\n" + b"a" * MAX_LINE + rest) == [(TEXT, b"status")]
    assert refused(codec) == "ARGUMENT_TOO_LARGE"


# ---- what breaks the frame, and what does not


def test_the_magic_of_the_other_direction_keeps_the_frame(codec: Connection) -> None:
    data = response(ECHO_RES, b"x") + request(ECHO_REQ, b"y")

    assert codec.feed(data) == [(WRONG_MAGIC, b"x"), (ECHO_REQ, b"y")]
    assert codec.error is None


def test_the_wrong_magic_in_pieces_keeps_the_frame_too(codec: Connection) -> None:
    assert bytewise(codec, response(ECHO_RES, b"xyz") + b"status\n") == [(WRONG_MAGIC, b"xyz"), (TEXT, b"status")]


@pytest.mark.parametrize("kind", [0, 43, 1000, 0xFFFFFFFF])
def test_a_type_that_does_not_exist_breaks_the_frame(codec: Connection, kind: int) -> None:
    assert codec.feed(request(GRAB_JOB) + pack(REQUEST, kind, b"x")) == [(GRAB_JOB, b"")]
    assert refused(codec) == "INVALID_COMMAND"


def test_the_highest_type_is_42(codec: Connection) -> None:
    assert codec.feed(pack(REQUEST, 42)) == [(42, b"")]


@pytest.mark.parametrize("data", [b"\0RE", b"\0REQ", b"\0RES", b"\0R", b"\0"])
def test_the_start_of_a_magic_is_waited_for(codec: Connection, data: bytes) -> None:
    assert codec.feed(data) == []
    assert codec.error is None


@pytest.mark.parametrize("data", [b"\0X", b"\0REX", b"\0req", b"\0\0", b"\0GET / HTTP/1.1\r\n\r\n"])
def test_a_bad_magic_breaks_the_frame_at_once(codec: Connection, data: bytes) -> None:
    assert codec.feed(request(GRAB_JOB) + data) == [(GRAB_JOB, b"")]
    assert refused(codec) == "INVALID_MAGIC"


def test_a_packet_of_the_largest_size_is_taken(codec: Connection) -> None:
    assert codec.feed(request(ECHO_REQ, bytes(LIMIT))) == [(ECHO_REQ, bytes(LIMIT))]


@pytest.mark.parametrize("magic", [REQUEST, RESPONSE])
def test_a_larger_packet_is_refused_by_its_header_alone(codec: Connection, magic: int) -> None:
    assert codec.feed(request(GRAB_JOB) + HEADER.pack(magic, ECHO_REQ, LIMIT + 1)) == [(GRAB_JOB, b"")]
    assert refused(codec) == "ARGUMENT_TOO_LARGE"
    assert codec.error is not None
    assert str(LIMIT) in codec.error.text


def test_after_an_error_everything_is_ignored(codec: Connection) -> None:
    codec.feed(b"\0bad")
    error = codec.error

    assert codec.feed(request(GRAB_JOB) + b"status\n") == []
    assert bytewise(codec, request(GRAB_JOB) + b"\0other") == []
    assert codec.error is error


def test_a_client_is_told_which_magic_it_expected() -> None:
    client = Connection(RESPONSE)
    client.feed(b"\0bad")

    assert client.error is not None
    assert client.error.text == "Response magic expected"
