"""From a trace: from which line on a job's row is committed, for each kind of database."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tests.durability.load import Said
from tests.harness.strace import READS, SYNCS, WRITES, Call

Line = int
Committed = dict[int, Line]  # by job's id

# ---- SQLite: its write-ahead log, https://www.sqlite.org/fileformat2.html#walformat

LOG: Final = "-wal"
LOG_HEADER: Final = 32
FRAME_HEADER: Final = 24
PAGE: Final = 4096
TABLE_LEAF: Final = 13


def in_sqlite(calls: Sequence[Call]) -> Committed:
    """Where the sync ended that began after the last frame of the transaction with the row was written."""
    log = [call for call in calls if call.file.endswith(LOG)]
    syncs = [call for call in log if call.name in SYNCS]
    committed: Committed = {}
    ids: set[int] = set()
    last = False
    for call in log:
        if call.name != "pwrite64":
            continue
        if len(call.data) == FRAME_HEADER:
            last = any(call.data[4:8])  # the database's size, in the last frame of a transaction
        elif len(call.data) == PAGE:
            ids.update(rowids(call.data))
            if last:
                synced = next((sync.ended for sync in syncs if sync.began > call.ended), None)
                if synced is not None:
                    committed |= {id_: synced for id_ in ids if id_ not in committed}
                ids.clear()
    return committed


def rowids(page: bytes) -> Iterator[int]:
    """The keys of the rows on a page of a table; of other pages none."""
    if page[0] != TABLE_LEAF:
        return
    for number in range(int.from_bytes(page[3:5])):
        cell = 8 + 2 * number
        at = int.from_bytes(page[cell : cell + 2])
        _, at = varint(page, at)  # the size of the row
        rowid, _ = varint(page, at)
        yield rowid


def varint(page: bytes, at: int) -> tuple[int, int]:
    """SQLite's number of 1 to 9 bytes, and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | page[place] & 0x7F
        if page[place] < 0x80:
            return value, place + 1
    return value << 8 | page[at + 8], at + 9


# ---- the others: what was sent to them, and what they answered


class Stream(NamedTuple):
    """What went over a connection in one direction, and the places where each call's part of it ends."""

    data: bytes
    ends: list[int]
    lines: list[Line]  # where these calls ended

    def line(self, place: int) -> Line:
        """The line on which the call ended that carried the byte before this place."""
        return self.lines[bisect_left(self.ends, place)]


def streams(calls: Sequence[Call], names: frozenset[str]) -> dict[str, Stream]:
    """By connection."""
    parts: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.name in names and call.file.startswith("TCP") and call.data:
            parts[call.file].append(call)
    found = {}
    for file, carried in parts.items():
        ends, place = [], 0
        for call in carried:
            place += len(call.data)
            ends.append(place)
        found[file] = Stream(b"".join(call.data for call in carried), ends, [call.ended for call in carried])
    return found


def postgresql_ends(answers: bytes) -> Iterator[int]:
    """Behind each ReadyForQuery of a session that is in no transaction: whatever was under way is committed.

    https://www.postgresql.org/docs/current/protocol-message-formats.html
    """
    at = 0
    while at < len(answers):
        size = int.from_bytes(answers[at + 1 : at + 5])
        if answers[at : at + 6] == b"Z\0\0\0\x05I":
            yield at + 6
        at += 1 + size


IN_TRANSACTION: Final = 1
MORE_RESULTS: Final = 8


def mysql_ends(answers: bytes) -> Iterator[int]:
    """Behind each OK of a session that is in no transaction, and has no more results.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html
    """
    at = 0
    while at < len(answers):
        size = int.from_bytes(answers[at : at + 3], "little")
        packet = answers[at + 4 : at + 4 + size]
        at += 4 + size
        if packet[:1] == b"\0" and size >= 7:
            place = length_encoded(packet, length_encoded(packet, 1))
            status = int.from_bytes(packet[place : place + 2], "little")
            if not status & (IN_TRANSACTION | MORE_RESULTS):
                yield at


def length_encoded(packet: bytes, at: int) -> int:
    """Where a number of MySQL's ends."""
    return at + {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(packet[at], 1)


class Wire(NamedTuple):
    """How a database is told the id of a row, as bytes or digits, and where its answers end a transaction."""

    row: re.Pattern[bytes]
    number: Callable[[bytes], int]
    ends: Callable[[bytes], Iterator[int]]


DELETE: Final = re.compile(rb"DELETE FROM \S+ WHERE id IN \(([\d,]+)\)")
MYSQL: Final = Wire(re.compile(rb"\((\d+),x'"), int, mysql_ends)
WIRES: Final = {
    # COPY in its binary form: 9 columns, the first one of 8 bytes.
    "postgresql": Wire(re.compile(rb"\0\x09\0\0\0\x08(.{8})", re.DOTALL), int.from_bytes, postgresql_ends),
    "mysql": MYSQL,
    "mariadb": MYSQL,
}


def in_server(calls: Sequence[Call], kind: str) -> tuple[Committed, Committed]:
    """Where the answer had been read that ended the transaction to which the row, or its delete, had been sent."""
    wire = WIRES[kind]
    answers = streams(calls, READS)
    inserted: Committed = {}
    deleted: Committed = {}
    for connection, sent in streams(calls, WRITES).items():
        rows = [(wire.number(row[1]), row.end()) for row in wire.row.finditer(sent.data)]
        deletes = [(int(id_), found.end()) for found in DELETE.finditer(sent.data) for id_ in found[1].split(b",")]
        if rows or deletes:  # to the database
            answer = answers[connection]
            ends = [answer.line(place) for place in wire.ends(answer.data)]
            for committed, ids in ((inserted, rows), (deleted, deletes)):
                for id_, place in ids:
                    note(committed, id_, sent.line(place), ends)
    return inserted, deleted


def note(committed: Committed, id_: int, sent: Line, ends: Sequence[Line]) -> None:
    """The first end of a transaction after something was sent; what is sent once more was committed before, or not."""
    if id_ not in committed and (at := bisect_left(ends, sent)) < len(ends):
        committed[id_] = ends[at]


def too_early(spoken: Sequence[Said], committed: Committed) -> list[Said]:
    """What was said before it was committed."""
    return [word for word in spoken if committed.get(word.id, word.line) >= word.line]
