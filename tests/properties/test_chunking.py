"""However the bytes are cut, the same packets come out; and whatever they say, it costs nobody else anything."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from gearmand_py.server import packets
from gearmand_py.server.codec import MAX_LINE, Connection, Packet
from gearmand_py.server.packets import HEADER, HIGHEST, REQUEST, RESPONSE, pack, request
from gearmand_py.storage.base import id_floor
from tests.core import PREFIX, START, Core, said

MAX_PACKET: Final = 1000

# ---- what peers send: valid, nearly valid, and junk

# The handles of the first jobs of a Core, so that some reports are about a job.
HANDLES: Final = [PREFIX + b"%d" % (id_floor(int(START * 1000), 0) + number) for number in range(4)]
WORDS: Final = st.sampled_from(
    [b"", b"f", b"g", b"key", b"-", b"#", b"0", b"1", b"*", b"1500", b"exceptions", *HANDLES]
)
NUMBERS: Final = st.one_of(st.integers(-1, 70), st.integers(-1, 10**400)).map(lambda number: b"%d" % number)
ARGUMENTS: Final = st.one_of(WORDS, NUMBERS, st.binary(max_size=20), st.binary(min_size=60, max_size=70))
# How many arguments a packet to a server has; the others have one, or none.
COUNTS: Final = {
    7: 3,
    12: 3,
    13: 2,
    18: 3,
    21: 3,
    23: 2,
    25: 2,
    28: 2,
    29: 2,
    32: 3,
    33: 3,
    34: 3,
    35: 8,
    36: 4,
    37: 5,
    38: 5,
}
KINDS: Final = st.integers(1, HIGHEST)


def packet(kind: int, arguments: st.SearchStrategy[bytes], slips: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """Packets of a type with their number of arguments, or some more or less of them."""

    def built(slip: int) -> st.SearchStrategy[bytes]:
        count = max(0, COUNTS.get(kind, 1) + slip)
        return st.lists(arguments, min_size=count, max_size=count).map(lambda given: request(kind, *given))

    return slips.flatmap(built)


VALID: Final = KINDS.flatmap(lambda kind: packet(kind, ARGUMENTS, st.sampled_from([0, 0, 0, 0, -1, -2, 1])))
TIDY: Final = st.sampled_from([1, 7, 18, 9, 30, 39, 4, 13, 25, 12]).flatmap(
    lambda kind: packet(kind, st.sampled_from([b"f", b"f", b"key", *HANDLES]), st.just(0))
)
# A job on its way: a peer that submits it and runs it.
BEGUN: Final = st.sampled_from([packets.SUBMIT_JOB, packets.SUBMIT_JOB_BG]).map(
    lambda kind: request(packets.CAN_DO, b"f") + request(kind, b"f", b"key", b"data") + request(packets.GRAB_JOB)
)
REPORTS: Final = st.sampled_from([12, 13, 14, 25, 28, 29]).flatmap(
    lambda kind: packet(kind, st.sampled_from(HANDLES[:2]), st.sampled_from([0, 0, -1]))
)
WRONG_WAY: Final = st.builds(pack, st.just(RESPONSE), st.integers(0, HIGHEST + 2), st.binary(max_size=20))
HEADERS: Final = st.builds(
    HEADER.pack,
    st.sampled_from([REQUEST, RESPONSE, 0x00524551, 0]),
    st.integers(0, HIGHEST + 2),
    st.integers(0, MAX_PACKET + 2),
)
COMMANDS: Final = st.lists(
    st.sampled_from(
        b"status workers prioritystatus version shutdown show unique jobs job cancel create drop function f".split()
    )
    | st.sampled_from([b"maxqueue", b"1", b"-1", b"\xff", b"\0", *HANDLES]),
    max_size=5,
).map(b" ".join)
LINES: Final = st.builds(lambda line, end: line + end, COMMANDS, st.sampled_from([b"\n", b"\r\n"]))
LONG_LINES: Final = st.integers(MAX_LINE - 2, MAX_LINE + 2).map(lambda size: b"x" * size + b"\n")
STREAMS: Final = st.lists(
    st.one_of(VALID, VALID, TIDY, BEGUN, REPORTS, LINES, WRONG_WAY, HEADERS, st.binary(max_size=40)), max_size=12
).map(b"".join)
ANY_BYTES: Final = st.one_of(st.binary(max_size=200), STREAMS, st.builds(bytes.__add__, STREAMS, LONG_LINES))


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:stop] for start, stop in pairwise(places)]


def read(pieces: Iterable[bytes], expected: int) -> tuple[list[Packet], tuple[str, str] | None]:
    """The packets in the pieces, and what broke the frame."""
    codec = Connection(expected, MAX_PACKET)
    found = [packet for piece in pieces for packet in codec.feed(piece)]
    return found, (codec.error.code, codec.error.text) if codec.error else None


@given(ANY_BYTES, st.lists(st.integers(0, 20_000), max_size=10), st.sampled_from([REQUEST, RESPONSE]))
@example(b"\0REQ", [], REQUEST)
@example(b"a" * MAX_LINE + b"\n", [], REQUEST)
@example(b"a" * (MAX_LINE - 1) + b"\n", [], REQUEST)
def test_whole_bytewise_or_cut_anywhere(data: bytes, places: list[int], expected: int) -> None:
    whole = read([data], expected)

    assert read((data[at : at + 1] for at in range(len(data))), expected) == whole
    assert read(cut(data, places), expected) == whole


@given(st.lists(st.tuples(st.integers(1, HIGHEST), st.binary(max_size=MAX_PACKET)), max_size=10))
def test_what_is_packed_is_read(sent: list[Packet]) -> None:
    data = b"".join(pack(REQUEST, kind, body) for kind, body in sent)

    assert read([data], REQUEST) == (sent, None)


# ---- from bytes to answers


def converse(core: Core, streams: list[bytes], places: list[int]) -> list[bytes]:
    """Feed each peer its stream, in pieces taken in turn, with commits and time in between; what each was answered."""
    peers = [core.connect() for _ in streams]
    answers = [b""] * len(peers)
    pieces = [cut(data, places) for data in streams]
    for step in range(max(len(own) for own in pieces)):
        for number, peer in enumerate(peers):
            if step < len(pieces[number]):
                core.feed(peer, pieces[number][step])
        match step % 4:
            case 0:
                core.commit()
            case 1:
                core.take()
            case 2:
                core.refuse()
            case 3:
                core.advance(0.7)
        core.check()
        for number, peer in enumerate(peers):
            answers[number] += core.raw(peer)
    core.commit()
    for number, peer in enumerate(peers):
        answers[number] += core.raw(peer)
        core.disconnect(peer)
        core.check()
    return answers


@given(st.lists(ANY_BYTES, min_size=1, max_size=3), st.lists(st.integers(0, 2000), max_size=6))
def test_any_bytes_give_answers_and_leave_nothing_behind_but_stored_jobs(
    streams: list[bytes], places: list[int]
) -> None:
    core = Core(max_packet=MAX_PACKET)
    answers = converse(core, streams, places)

    for answer in answers:
        client = Connection(RESPONSE)
        for kind, body in client.feed(answer):
            said(kind, body)
        assert client.error is None, "what we send is a stream of packets and lines"
    core.commit()
    assert core.broker.peers == {}
    assert all(job.background and job.id in core.table.rows for job in core.broker.jobs.values())
    assert sum(function.total for function in core.broker.functions.values()) == len(core.table.rows)
    assert len(core.broker.timeouts) == 0
    assert core.broker.batch.empty
    for function in core.broker.functions.values():
        assert not any((function.workers, function.sleepers, function.woken, function.crewed))


@given(st.lists(ANY_BYTES, max_size=2))
def test_any_bytes_cost_other_connections_nothing(streams: list[bytes]) -> None:
    core = Core(max_packet=MAX_PACKET)
    client, worker = core.connect(), core.worker(b"mine")
    noisy = [core.connect() for _ in streams]
    for peer, data in zip(noisy, streams, strict=True):
        core.feed(peer, data)

    handle = core.submit(client, b"mine", b"data")
    assert core.grab(worker) == (handle, b"data")
    core.send(worker, packets.WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(packets.WORK_COMPLETE, handle, b"result")]
