"""What a row of gearmand's is as a job of ours."""

from typing import Any

import pytest

from gearmand_py.server.importing.rows import NotAJob, Wanted, fingerprint, wanted
from gearmand_py.storage.base import RUN_AT_ONCE
from gearmand_py.storage.gearmand.queue import Row
from tests.importing.legacy import job

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (job(b"u"), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"payload")),
        (job(b""), Wanted(b"f", b"", 1, RUN_AT_ONCE, b"payload")),
        (job(None), Wanted(b"f", b"", 1, RUN_AT_ONCE, b"payload")),
        (job(b"u", data=None), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"")),
        (job(b"u\xff", b"caf\xe9", 0, b"\0\xff"), Wanted(b"caf\xe9", b"u\xff", 0, RUN_AT_ONCE, b"\0\xff")),
        (job(b"u", b"f" * 512), Wanted(b"f" * 512, b"u", 1, RUN_AT_ONCE, b"payload")),
        (job(b"u" * 64), Wanted(b"f", b"u" * 64, 1, RUN_AT_ONCE, b"payload")),
        (job(b"u" * 63 + b"\0"), Wanted(b"f", b"u" * 63, 1, RUN_AT_ONCE, b"payload")),
        (job(b"u", priority=None), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"payload")),
        (job(b"u", priority=2), Wanted(b"f", b"u", 2, RUN_AT_ONCE, b"payload")),
        (job(b"u", when=None), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"payload")),
        (job(b"u", when=NOW), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"payload")),
        (job(b"u", when=NOW + 1), Wanted(b"f", b"u", 1, NOW + 1, b"payload")),
        (job(b"u", when=-1), Wanted(b"f", b"u", 1, RUN_AT_ONCE, b"payload")),
    ],
    ids=lambda value: repr(tuple(value))[:40],
)
def test_a_row_that_is_a_job(row: Row, expected: Wanted) -> None:
    assert wanted(row, NOW) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (job(b"u", b""), "it has no function"),
        (job(b"u", None), "it has no function"),
        (job(b"u", b"f" * 513), "the function's name has 513 bytes, more than 512"),
        (job(b"u", b"f\0g"), "there is a NUL in the function's name, which no worker could ask for"),
        (job(b"u" * 65), "the unique key has 65 bytes, more than 64"),
        (job(b"u\0v"), "there is a NUL in the unique key, which would end it on its way to a worker"),
        (job(b"u", priority=3), "its priority is 3, not 0 (high), 1 (normal) or 2 (low)"),
        (job(b"u", priority=-1), "its priority is -1, not 0 (high), 1 (normal) or 2 (low)"),
        (Row(b"u", b"f", b"high", None, 0), "its priority is high, not 0 (high), 1 (normal) or 2 (low)"),
        (Row(b"u", b"f", 1, None, b"x" * 50), f"its time is {'x' * 20}..., which is no number of seconds"),
        (Row(b"u", b"f", 1, None, 1.5), "its time is 1.5, which is no number of seconds"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_row_that_is_none(row: Row, reason: str) -> None:
    with pytest.raises(NotAJob) as caught:
        wanted(row, NOW)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (job(b"u"), job(b"u", data=b"other"), True),
        (job(b"u"), job(b"U"), False),
        (job(b"u"), job(b"u", b"g"), False),
        (job(b"-", data=b"same"), job(b"-", data=b"same"), True),
        (job(b"-", data=b"same"), job(b"-", data=b"other"), False),
        (job(b"-", data=b"u"), job(b"u"), False),
    ],
    ids=["other data", "other case", "other function", "by data", "by other data", "data like a key"],
)
def test_which_jobs_are_joined(one: Row, other: Row, joined: bool) -> None:
    assert (wanted(one, NOW).key == wanted(other, NOW).key) is joined


@pytest.mark.parametrize("row", [job(b""), job(None), job(b"-", data=None)], ids=["empty", "none", "by no data"])
def test_a_job_that_is_never_joined(row: Row) -> None:
    assert wanted(row, NOW).key is None


@pytest.mark.parametrize(
    "changes", [{"unique": b"v"}, {"data": b"other"}, {"priority": 0}, {"when": 5}, {"function": None}, {"data": None}]
)
def test_a_fingerprint_is_that_of_all(changes: dict[str, Any]) -> None:
    first, second = job(b"u"), job(b"w")
    whole = fingerprint(fingerprint(0, first), second)
    assert fingerprint(fingerprint(0, first._replace(**changes)), second) != whole
    assert fingerprint(fingerprint(0, first), second._replace(**changes)) != whole
    assert 0 <= whole < 2**63
