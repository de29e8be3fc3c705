"""The next match of SUBMIT_JOB_SCHED against looking at the clock minute by minute."""

import os
import time
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gearmand_py.server.schedule import next_match

# New York, where on 2025-03-09 an hour is missing and on 2025-11-02 one comes twice.
ZONE: Final = "EST5EDT,M3.2.0,M11.1.0"
MARCH: Final = 1_741_410_000  # the midnight of the day before
NOVEMBER: Final = 1_761_969_600
DAY: Final = 86_400


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def field(lowest: int, highest: int) -> st.SearchStrategy[bytes]:
    return st.sampled_from([b"", b"*"]) | st.integers(lowest, highest).map(lambda number: b"%d" % number)


def matches(when: int, fields: tuple[bytes, ...]) -> bool:
    local = time.localtime(when)
    values = (local.tm_min, local.tm_hour, local.tm_mday, local.tm_mon, local.tm_wday)
    return all(text in (b"", b"*") or int(text) == value for text, value in zip(fields, values, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([MARCH, NOVEMBER]),
    st.floats(0, 2 * DAY),
    st.tuples(field(0, 59), field(0, 4), st.just(b""), st.just(b""), field(0, 6)),
)
def test_it_is_the_first_minute_after_now_that_matches(
    day: int, seconds: float, fields: tuple[bytes, bytes, bytes, bytes, bytes]
) -> None:
    assert os.environ["TZ"] == ZONE
    assume(not (day == MARCH and fields[1] == b"2"))  # the missing hour; its times are taken as those an hour later
    now = day + seconds
    minutes = range((int(now) // 60 + 1) * 60, int(now) + 9 * DAY, 60)
    first = next(when for when in minutes if matches(when, fields))

    assert next_match(*fields, now) == first
