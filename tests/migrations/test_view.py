"""The view shows every job, whatever is in it, and alike on every database."""

import itertools
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gearmand_py.storage.base import DEAD, RUN_AT_ONCE
from tests.migrations.databases import ID, JOB, SUBMITTED_MS, add_jobs, shown

# What to make of bytes that are no text: caf\xe9.
NO_TEXT: Final = {"sqlite": "caf\ufffd", "postgresql": r"caf\351", "mysql": "café", "mariadb": "café"}
ELSEWHERE: Final = {
    "sqlite": None,
    "postgresql": "SET TIME ZONE 'Asia/Kolkata'",
    "mysql": "SET time_zone = '+05:30'",
    "mariadb": "SET time_zone = '+05:30'",
}
# SQLite has its doubts about the last character of the basic plane.
LAST: Final = {"sqlite": "\ufffd", "postgresql": "\uffff", "mysql": "\uffff", "mariadb": "\uffff"}
# Every border of UTF-8: the last wrong and the first right bytes beside each other.
BORDERS: Final = bytes.fromhex(
    "7f80 c1bf c280 dfbf e09fbf e0a080 ecbfbf ed9fbf eda080 edbfbf ee8080 efbfbf f08fbfbf f0908080 f3bfbfbf"
    "f48fbfbf f4908080 f5808080 c2 e0a0 f09080 e0a0f0 f0908041"
)
CUTS: Final = [BORDERS[at : at + length] for length in (1, 2, 3, 4) for at in range(len(BORDERS) - length + 1)]


def moment(kind: str, shown: str | None) -> str | datetime | None:
    """A time as the driver of that database gives it."""
    if shown is None or kind == "sqlite":
        return shown
    return datetime.fromisoformat(shown).replace(tzinfo=UTC if kind == "postgresql" else None)


async def test_a_waiting_job(kind: str, migrated: AsyncEngine) -> None:
    await add_jobs(migrated, JOB)
    began = time.time()
    (row,) = await shown(migrated)
    assert is_age_since(row.pop("age_seconds"), began)
    assert row == {
        "id": ID,
        "function_name": "resize",
        "unique_key": "k",
        "priority": "normal",
        "state": "waiting",
        "attempts": 0,
        "node": 7,
        "submitted_at": moment(kind, "2024-02-29 12:30:15.250"),
        "run_at": None,
        "data_bytes": 7,
    }


def is_age_since(age: int, began: float) -> bool:
    """Whether a job has this age at some time since `began`; a server's clock may be some milliseconds behind."""
    return int(began - 0.1) <= age + SUBMITTED_MS // 1000 <= time.time()


@pytest.mark.parametrize(("priority", "word"), [(0, "high"), (1, "normal"), (2, "low")])
async def test_priorities(migrated: AsyncEngine, priority: int, word: str) -> None:
    await add_jobs(migrated, JOB._replace(priority=priority))
    assert [row["priority"] for row in await shown(migrated)] == [word]


@pytest.mark.parametrize(
    ("run_at", "state", "time_shown"),
    [
        (RUN_AT_ONCE, "waiting", None),
        (1_709_209_900, "waiting", "2024-02-29 12:31:40"),
        (4_102_444_800, "delayed", "2100-01-01 00:00:00"),
        (253_402_300_799, "delayed", "9999-12-31 23:59:59"),
        (253_402_300_800, "delayed", None),
        (2**63 - 1, "delayed", None),
        (DEAD, "dead", None),
    ],
    ids=["at once", "delayed and due", "delayed", "last of 9999", "after 9999", "largest", "dead"],
)
async def test_states(kind: str, migrated: AsyncEngine, run_at: int, state: str, time_shown: str | None) -> None:
    await add_jobs(migrated, JOB._replace(run_at=run_at))
    assert [(row["state"], row["run_at"]) for row in await shown(migrated)] == [(state, moment(kind, time_shown))]


@pytest.mark.parametrize(
    "name", ["", "Resize it, 100% ~ \\'\"", "Größe 日本 🐘", "tab\there\x01", "x" * 512, "🐘" * 128]
)
async def test_names_are_shown(migrated: AsyncEngine, name: str) -> None:
    unique = name.encode()[:64].decode(errors="ignore")
    await add_jobs(migrated, JOB._replace(function=name.encode(), unique=unique.encode()))
    assert [(row["function_name"], row["unique_key"]) for row in await shown(migrated)] == [(name, unique)]


async def test_bytes_that_are_no_text_are_readable(kind: str, migrated: AsyncEngine) -> None:
    await add_jobs(migrated, JOB._replace(function=b"x" * 508 + b"caf\xe9", unique=b"caf\xe9"))
    (row,) = await shown(migrated)
    assert row["function_name"] == "x" * 508 + NO_TEXT[kind]
    assert row["unique_key"] == NO_TEXT[kind]


async def test_no_bytes_break_it(kind: str, migrated: AsyncEngine) -> None:
    pairs = [bytes(pair) for pair in itertools.product((0x01, 0x41, *range(0x80, 0x100)), repeat=2)]
    names = [b"a" + odd for odd in (*pairs, *CUTS)]
    await add_jobs(migrated, *(JOB._replace(id=ID + n, function=name) for n, name in enumerate(names)))
    for name, row in zip(names, await shown(migrated), strict=True):
        assert row["function_name"].startswith("a")
        with suppress(UnicodeDecodeError):
            assert row["function_name"] == name.decode().replace("\uffff", LAST[kind])


async def test_names_are_compared_as_bytes(migrated: AsyncEngine) -> None:
    names = [b"Resize", b"resize", "résize".encode()]
    await add_jobs(migrated, *(JOB._replace(id=ID + n, function=name) for n, name in enumerate(names)))
    async with migrated.connect() as connection:
        counts = "SELECT function_name, count(*) FROM gearman_jobs GROUP BY function_name"
        found = await connection.execute(text(counts))
        assert sorted(map(tuple, found)) == [("Resize", 1), ("resize", 1), ("résize", 1)]
        only = "SELECT count(*) FROM gearman_jobs WHERE function_name = 'Resize'"
        assert await connection.scalar(text(only)) == 1


async def test_no_unique_and_size_in_bytes(migrated: AsyncEngine) -> None:
    await add_jobs(migrated, JOB._replace(unique=None, data=b"\0\xff" * 50_000), JOB._replace(id=ID + 1, data=b""))
    rows = await shown(migrated)
    assert [(row["unique_key"], row["data_bytes"]) for row in rows] == [(None, 100_000), ("k", 0)]


async def test_times_are_those_of_every_session(kind: str, migrated: AsyncEngine) -> None:
    await add_jobs(migrated, JOB._replace(run_at=1_709_209_900), JOB._replace(id=ID + 1, run_at=4_102_444_800))
    began = time.time()
    here, elsewhere = await shown(migrated), await shown(migrated, before=ELSEWHERE[kind])
    for row in (*here, *elsewhere):
        assert is_age_since(row.pop("age_seconds"), began)
    assert here == elsewhere


@pytest.mark.parametrize(
    ("id_", "submitted"),
    [(0, "2024-01-01 00:00:00.000"), (2**63 - 1, "2163-05-15 07:35:11.103")],
    ids=["first", "last"],
)
async def test_ids_have_their_times(kind: str, migrated: AsyncEngine, id_: int, submitted: str) -> None:
    """That of a job from the future is less than zero seconds old."""
    await add_jobs(migrated, JOB._replace(id=id_))
    (row,) = await shown(migrated)
    assert row["submitted_at"] == moment(kind, submitted)
    assert (row["age_seconds"] < 0) is (id_ > 0)
