"""What is fuzzed. A target takes any bytes, gives them to a part of the program, and raises when a promise is broken.

`run.py` has atheris find bytes that lead somewhere new. Those worth keeping are in `corpus/`, a directory for each
target, and are tried again with every run of the tests, beside what hypothesis makes up.
"""

import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout, suppress
from io import StringIO
from math import inf, isfinite
from pathlib import Path
from typing import Final

import click

from gearmand_py.server import packets
from gearmand_py.server.cli import main
from gearmand_py.server.codec import Connection, Packet
from gearmand_py.server.config import OPTIONS, settings_from, without_password
from gearmand_py.server.gearmand_options import postgres_url
from gearmand_py.server.importing.rows import NotAJob, fingerprint, wanted
from gearmand_py.server.options import ENVIRONMENT_PREFIX, Setting, Size
from gearmand_py.server.packets import REQUEST, RESPONSE
from gearmand_py.server.peers import Peer
from gearmand_py.server.places import Sizes
from gearmand_py.server.residents import JOB_COST
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.gearmand.queue import Row
from gearmand_py.storage.gearmand.sources import source_of
from gearmand_py.storage.urls import storage_for
from tests.core import ARITY, Core, said

MAX_PACKET: Final = 1000
NOW: Final = 1_800_000_000
VARIABLES: Final = sorted(
    str(option.envvar)
    for option in OPTIONS
    if isinstance(option, Setting) and option.envvar and option.name != "config_file"
)
# The server's answers in the text protocol: a listing, or one line.
ANSWER: Final = re.compile(rb"(?:[^\r\n]*\n)*\.\n|(?:OK|ERR)[^\r\n]*\r?\n")
SECRET: Final = "s3cret"


# ---- bytes of peers


def codec(data: bytes) -> None:
    """However the bytes are cut, the same packets come out, and nothing is kept but what belongs to the next one."""
    expected = RESPONSE if data[:1] > b"\x7f" else REQUEST
    stream = data[1:]
    whole = read([stream], expected)
    assert whole == read(bytewise(stream), expected)
    assert whole == read(cut(stream), expected)
    found, _ = whole
    assert sum(len(body) for _, body in found) <= len(stream)


def read(pieces: Iterable[bytes], expected: int) -> tuple[list[Packet], tuple[str, str] | None]:
    """The packets in the pieces, and what broke the frame."""
    reader = Connection(expected, MAX_PACKET)
    found = [packet for piece in pieces for packet in reader.feed(piece)]
    return found, (reader.error.code, reader.error.text) if reader.error else None


def bytewise(data: bytes) -> list[bytes]:
    """One byte at a time."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes) -> list[bytes]:
    """Cut at places that the data themselves give."""
    pieces, at = [], 0
    while at < len(data):
        size = 1 + data[at] % 37
        pieces.append(data[at : at + size])
        at += size
    return pieces


def text(data: bytes) -> None:
    """Every line gets one answer of the text protocol, whatever the server knows at the time."""
    core = busy_core()
    peer = core.connect()
    for line in data.replace(b"\0", b" ").split(b"\n"):
        core.feed(peer, line[:8000] + b"\n")
        core.commit()
        core.check()
        answer = core.raw(peer)
        assert ANSWER.fullmatch(answer), (line, answer)


def busy_core() -> Core:
    """Jobs that wait, that run and that are due later, a worker, a sleeper."""
    core = Core(max_packet=MAX_PACKET)
    client, worker = core.connect(), core.worker(b"f", b"g")
    core.sleeper(b"h")
    for kind in (packets.SUBMIT_JOB_BG, packets.SUBMIT_JOB, packets.SUBMIT_JOB_HIGH_BG):
        core.send(client, kind, b"f", b"key %d" % kind, b"data")
    core.send(client, packets.SUBMIT_JOB_EPOCH, b"g", b"", b"%d" % (core.wall + 1000), b"later")
    core.commit()
    assert core.grab(worker)
    return core


def core(data: bytes) -> None:
    """Several peers, their bytes whole or one by one: the same answers, each of them a stream of packets."""
    memory, steps = inf if data[:1] < b"\x80" else LITTLE, list(steps_of(data[1:]))
    answers = converse(memory, steps, lambda stream: [stream])
    assert answers == converse(memory, steps, bytewise)
    for answer in answers:
        client = Connection(RESPONSE)
        for kind, body in client.feed(answer):
            assert kind in ARITY, packets.name(kind)
            said(kind, body)
        assert client.error is None, client.error


PEERS: Final = 3
LITTLE: Final = 3 * JOB_COST  # memory for so few jobs that most are read back
SMALL: Final = Sizes(page=2, tight_page=1, least=1, evicted=2)
CRASH: Final = 5
# What happens between two pieces of the peers' bytes.
EVENTS: Final[Mapping[int, Callable[[Core], None]]] = {
    0: lambda core: core.commit(),
    1: lambda core: core.refuse(),
    2: lambda core: core.refuse(unknown=True, stored=True),
    3: lambda core: core.advance(0.7),
    4: lambda core: core.advance(3600),
}


def steps_of(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Peer, event after it and bytes: a byte for the first two and one for how many words of 8 bytes follow."""
    at = 0
    while at + 2 <= len(data):
        choice, size = data[at], data[at + 1] + 1
        yield choice % PEERS, choice // PEERS, data[at + 2 : at + 2 + size]
        at += 2 + size


def converse(
    memory: float, steps: Iterable[tuple[int, int, bytes]], pieces: Callable[[bytes], list[bytes]]
) -> list[bytes]:
    """What each peer was answered; after a crash it connects again."""
    core = Core(max_packet=MAX_PACKET, memory_limit=memory, sizes=SMALL, job_retries=2)
    peers: list[Peer] = [core.connect() for _ in range(PEERS)]
    answers = [b""] * PEERS
    for number, event, stream in steps:
        for piece in pieces(stream):
            core.feed(peers[number], piece)
        if event in EVENTS:
            EVENTS[event](core)
        core.check()
        answers = [answer + core.raw(peer) for answer, peer in zip(answers, peers, strict=True)]
        if event == CRASH:
            core.crash()
            peers = [core.connect() for _ in range(PEERS)]
    core.commit()
    answers = [answer + core.raw(peer) for answer, peer in zip(answers, peers, strict=True)]
    for peer in peers:
        core.disconnect(peer)
    core.check()
    return answers


# ---- what operators write


def toml(data: bytes) -> None:
    """A configuration file."""
    configured_by(data)


def words(data: bytes) -> None:
    """A configuration file of gearmand's kind."""
    configured_by(b"--" + data)


def configured_by(content: bytes) -> None:
    """What a file with this content gives."""
    with temporary_file(content) as path:
        settle(["--config-file", str(path)])


def arguments(data: bytes) -> None:
    """A command line. None of its words is a file to be read: that is `words`."""
    given = [word for word in as_text(data).split("\0") if "@" not in word and not word.startswith("--con")]
    settle(given)


def environment(data: bytes) -> None:
    """One variable after another: a byte for which, and a line for its value."""
    given = {}
    for line in data.split(b"\n"):
        if line:
            given[VARIABLES[line[0] % len(VARIABLES)]] = as_text(line[1:].replace(b"\0", b""))
    with variables(given):
        settle([])


def settle(given: list[str]) -> None:
    """Settings that can be used, or an error of click's."""
    with redirect_stdout(StringIO()), suppress(click.UsageError, click.exceptions.Exit):
        found = settings_from(main.make_context("gearmand-py", given).params)
        assert isfinite(found.storage_timeout), found
        assert found.memory_limit >= 0, found


def size(data: bytes) -> None:
    """A size: a number that is not negative, or an error."""
    with suppress(click.BadParameter):
        assert Size().convert(as_text(data), None, None) >= 0


def url(data: bytes) -> None:
    """A database, to serve from and to import from: a storage, or an error of the storage's."""
    given = as_text(data)
    with suppress(StorageError):
        assert storage_for(given).description
    with suppress(StorageError):
        assert source_of(given).description
    without_password(given)


def conninfo(data: bytes) -> None:
    """libpq's connection string: a URL that can be used, or an error of click's or the storage's."""
    with suppress(click.BadParameter, StorageError):
        storage_for(postgres_url({"libpq_conninfo": as_text(data)}))


def password(data: bytes) -> None:
    """A password in the URL is in nothing that is shown."""
    given = as_text(data).replace(":SECRET@", f":{SECRET}@").replace("password=SECRET", f"password={SECRET}")
    try:
        shown = storage_for(given).description
    except StorageError as error:
        shown = str(error)
    assert SECRET not in shown, shown


# ---- what another program wrote


def row(data: bytes) -> None:
    """A row of gearmand's, as a database of loose types may hold it: a job, or a reason why it is none."""
    with closing(sqlite3.connect(":memory:")) as database:
        cells = [cell(part, database) for part in (data.split(b"\xff") + [b""] * 5)[:5]]
    unique, function, payload = (part if isinstance(part, bytes) else None for part in (cells[0], cells[1], cells[3]))
    found = Row(unique, function, cells[2], payload, cells[4])
    fingerprint(0, found)
    with suppress(NotAJob):
        wanted(found, NOW).key  # noqa: B018 - that it can be told


def cell(part: bytes, database: sqlite3.Connection) -> object:
    """A value of one of SQLite's types, by the first byte."""
    kind = ("BLOB", "TEXT", "INTEGER", "REAL", "NUMERIC")[part[0] % 5] if part else "NULL"
    if kind in ("NULL", "BLOB"):
        return part[1:] or None
    return database.execute(f"SELECT CAST(? AS {kind})", (part[1:].decode("ascii", "replace"),)).fetchone()[0]


# ---- for all


def as_text(data: bytes) -> str:
    """As Python has words of the command line and variables."""
    return data.decode("utf-8", "surrogateescape")


@contextmanager
def temporary_file(content: bytes) -> Iterator[Path]:
    """A file with this content."""
    with tempfile.NamedTemporaryFile(suffix=".conf") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


@contextmanager
def variables(given: Mapping[str, str]) -> Iterator[None]:
    """The environment, with these of the program's variables and no others."""
    before = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}
    for name in before:
        del os.environ[name]
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            del os.environ[name]
        os.environ.update(before)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (codec, text, core, toml, words, arguments, environment, size, url, conninfo, password, row)
}
