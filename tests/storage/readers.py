"""What readers are to find, said without SQL."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gearmand_py.storage.base import BY_PAYLOAD, DEAD, Entry, JobRecord, Reader
from gearmand_py.storage.sql import SqlStorage
from tests.storage.records import job

TOP: Final = 2**63 - 1
SOON: Final = 60.0  # far above what a call takes, far below what the statement would that it must not wait for

# More than clients can send: the table may hold what somebody else has put there.
NAMES: Final = {
    "every byte": bytes(range(256))[:64],
    "the other bytes": bytes(range(192, 256)),
    "NULs": b"\0a\0",
    "quotes": b"it's \"quoted\" `here` \\' -- ; %s :name ? {} \\x00",
    "what a page is made of": b"N,2D;,,\n",
    "hexadecimal": b"2D",
    "longer": b"--",
    "no UTF-8": b"\xff\xfe\x80 \xc3\x28",
    "UTF-8": "größe ✓ 𝄞".encode(),
    "blanks": b"  \t\n ",
    "a number": b"007",
}


@asynccontextmanager
async def reader_of(storage: SqlStorage) -> AsyncIterator[Reader]:
    reader = storage.reader()
    yield reader
    await reader.close()


def entry(record: JobRecord) -> Entry:
    """What an index is to keep of a row."""
    data = record.data if record.unique == BY_PAYLOAD else None
    numbers = (record.priority, record.attempts, record.run_at)
    return Entry(record.id, record.function, record.unique, *numbers, len(record.data), data)


def entries(records: Sequence[JobRecord]) -> list[Entry]:
    return [entry(record) for record in records]


async def all_entries(reader: Reader, page: int = 1000, upto: int = TOP) -> list[Entry]:
    """Page by page, as a start does."""
    found: list[Entry] = []
    while some := await reader.entries(found[-1].id if found else 0, upto, page):
        assert len(some) <= page
        found += some
    return found


async def read_back(reader: Reader, stored: Sequence[JobRecord]) -> None:
    """Every way to read these rows gives them as they are; there are no others."""
    known = [record.id for record in stored]
    assert await all_entries(reader) == entries(stored)
    assert sorted(await reader.entries_of(known)) == entries(stored)
    assert sorted(await reader.rows(known)) == list(stored)


def random_jobs(chance: random.Random, number: int) -> Iterator[JobRecord]:
    names = [b"resize", b"Resize", b"\0", *NAMES.values()]
    for id_ in chance.sample(range(1, 10_000), number):
        yield job(
            id_,
            function=chance.choice(names),
            unique=chance.choice([None, b"", b"-", chance.randbytes(8), *names]),
            priority=chance.randrange(3),
            attempts=chance.choice((0, 0, 3)),
            node=chance.choice((0, 0, 0, 5)),
            run_at=chance.choice((0, 0, DEAD, 10**9)),
            reducer=chance.choice((None, None, b"", b"r")),
            data=chance.randbytes(chance.choice((0, 10, 200, 6000))),
        )
