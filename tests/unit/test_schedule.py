"""Deadlines, and the next time that five fields match."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from math import inf
from typing import Final

import pytest

from gearmand_py.server.schedule import STALE_SLACK, Schedule, next_match

# ---- deadlines


def test_what_is_due_comes_earliest_first() -> None:
    schedule = Schedule()
    for id_, when in ((1, 30.0), (2, 10.0), (3, 20.0)):
        schedule.add(id_, when)

    assert schedule.take_due(25.0) == [2, 3]
    assert schedule.take_due(25.0) == []
    assert schedule.take_due(30.0) == [1]


def test_what_is_due_at_the_same_time_comes_in_id_order() -> None:
    schedule = Schedule()
    for id_ in (3, 1, 2):
        schedule.add(id_, 10.0)

    assert schedule.take_due(10.0) == [1, 2, 3]


def test_nothing_is_due_early() -> None:
    schedule = Schedule()
    schedule.add(1, 10.0)

    assert schedule.take_due(9.999) == []
    assert 1 in schedule
    assert len(schedule) == 1


def test_what_is_discarded_is_never_due() -> None:
    schedule = Schedule()
    schedule.add(1, 10.0)
    schedule.add(2, 10.0)
    schedule.discard(1)

    assert 1 not in schedule
    assert schedule.take_due(10.0) == [2]


def test_discarding_what_is_not_there_changes_nothing() -> None:
    schedule = Schedule()
    schedule.discard(1)

    assert len(schedule) == 0


def test_the_same_id_can_come_back_at_another_time() -> None:
    schedule = Schedule()
    schedule.add(1, 10.0)
    schedule.discard(1)
    schedule.add(1, 20.0)

    assert schedule.take_due(15.0) == []
    assert schedule.take_due(20.0) == [1]


def test_the_same_id_can_come_back_at_the_same_time_and_is_due_once() -> None:
    schedule = Schedule()
    schedule.add(1, 10.0)
    schedule.discard(1)
    schedule.add(1, 10.0)

    assert schedule.take_due(10.0) == [1]
    assert schedule.take_due(10.0) == []


def test_an_empty_schedule_is_never_due() -> None:
    schedule = Schedule()

    assert schedule.next() == inf
    assert not schedule


def test_the_next_is_the_earliest() -> None:
    schedule = Schedule()
    schedule.add(1, 30.0)
    schedule.add(2, 10.0)

    assert schedule.next() == 10.0


@pytest.mark.parametrize("others", [0, 1, 100])
def test_what_was_discarded_is_not_the_next(others: int) -> None:
    """Else the timer of the shell fires again and again for something that `take_due` need not do."""
    schedule = Schedule()
    schedule.add(1, 10.0)
    for id_ in range(others):
        schedule.add(100 + id_, 20.0 + id_)

    schedule.discard(1)

    assert schedule.next() == (20.0 if others else inf)


def test_what_was_discarded_is_not_the_next_once_the_others_were_due() -> None:
    schedule = Schedule()
    for id_ in (1, 2, 3):
        schedule.add(id_, 10.0 * id_)
    schedule.discard(2)
    schedule.take_due(15.0)
    assert schedule.next() == 30.0

    schedule.discard(3)
    assert schedule.next() == inf


def test_an_emptied_schedule_has_no_next() -> None:
    schedule = Schedule()
    schedule.add(1, 10.0)
    schedule.add(2, 20.0)
    schedule.discard(2)
    schedule.take_due(10.0)

    assert not schedule
    assert schedule.next() == inf


def test_deadlines_that_are_always_met_do_not_pile_up() -> None:
    schedule = Schedule()
    schedule.add(0, 1_000_000.0)
    for id_ in range(1, 10_000):
        schedule.add(id_, 1000.0 + id_)
        schedule.discard(id_)

    assert len(schedule._heap) <= 2 * len(schedule) + STALE_SLACK + 1
    assert schedule.take_due(inf) == [0]


# ---- the next match


SetZone = Callable[[str], None]


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    """Sets the zone that local time is in, spelt out so that no zone files are needed."""

    def choose(rule: str) -> None:
        monkeypatch.setenv("TZ", rule)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def utc(local_zone: SetZone) -> None:
    """Local time is UTC unless a test says otherwise."""
    local_zone("UTC0")


def at(text: str, zone: timezone = UTC) -> float:
    """Epoch seconds of a time in UTC, or in `zone`."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def match(fields: str, now: float) -> float:
    """The next time that matches `minute hour day month weekday`; `-` is an empty field."""
    minute, hour, day, month, weekday = (field.replace("-", "").encode() for field in fields.split())
    return next_match(minute, hour, day, month, weekday, now)


NOW = "2025-06-15 15:06:40"  # a Sunday


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("* * * * *", "2025-06-15 15:07"),
        ("- - - - -", "2025-06-15 15:07"),
        ("- * - * -", "2025-06-15 15:07"),
        ("30 * * * *", "2025-06-15 15:30"),
        ("6 * * * *", "2025-06-15 16:06"),
        ("0 0 * * *", "2025-06-16 00:00"),
        ("30 15 * * *", "2025-06-15 15:30"),
        ("0 15 * * *", "2025-06-16 15:00"),
        ("* 3 * * *", "2025-06-16 03:00"),
        ("0 0 1 * *", "2025-07-01 00:00"),
        ("0 0 31 * *", "2025-07-31 00:00"),
        ("0 0 1 1 *", "2026-01-01 00:00"),
        ("59 23 31 12 *", "2025-12-31 23:59"),
        ("05 007 * * *", "2025-06-16 07:05"),
        ("0 12 * * 0", "2025-06-16 12:00"),
        ("0 12 * * 6", "2025-06-22 12:00"),
        ("0 16 * * 6", "2025-06-15 16:00"),
        ("* * * * 2", "2025-06-18 00:00"),
    ],
)
def test_the_next_time_that_matches(fields: str, expected: str) -> None:
    assert match(fields, at(NOW)) == at(expected)


def test_a_minute_that_has_begun_is_over() -> None:
    assert match("6 15 15 6 *", at("2025-06-15 15:06:00")) == at("2026-06-15 15:06")
    assert match("6 15 15 6 *", at("2025-06-15 15:05:59.999")) == at("2025-06-15 15:06")


def test_monday_is_day_0() -> None:
    for weekday in range(7):
        found = match(f"0 0 * * {weekday}", at(NOW))
        assert datetime.fromtimestamp(found, UTC).weekday() == weekday
        assert 0 < found - at(NOW) <= 7 * 86400


def test_day_and_weekday_must_both_match() -> None:
    assert match("0 0 13 * 4", at(NOW)) == at("2026-02-13 00:00")


def test_february_29_waits_for_a_leap_year() -> None:
    assert match("0 0 29 2 *", at(NOW)) == at("2028-02-29 00:00")


def test_february_29_on_a_weekday_waits_for_decades() -> None:
    assert match("0 0 29 2 0", at(NOW)) == at("2044-02-29 00:00")


def test_every_weekday_has_its_february_29() -> None:
    for weekday in range(7):
        found = datetime.fromtimestamp(match(f"0 0 29 2 {weekday}", at(NOW)), UTC)
        assert (found.month, found.day, found.weekday()) == (2, 29, weekday)


@pytest.mark.parametrize("fields", ["* * 30 2 *", "* * 31 2 *", "0 0 31 4 *", "0 0 31 11 3"])
def test_a_date_that_never_comes(fields: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        match(fields, at(NOW))


@pytest.mark.parametrize(
    "fields",
    [
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 7",
        "x * * * *",
        "* JAN * * *",
        "* * * JAN *",
        "* * L * *",
        "*/5 * * * *",
        "1,2 * * * *",
        "+1 * * * *",
        "1.5 * * * *",
        "\xb2 * * * *",
        "9" * 5000 + " * * * *",
        "* * * * " + "9" * 5000,
    ],
)
def test_a_field_out_of_range_or_no_number(fields: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        match(fields, at(NOW))


def test_a_field_with_bytes_that_are_no_text() -> None:
    with pytest.raises(ValueError, match="not a number"):
        next_match(b"\xff", b"", b"", b"", b"", at(NOW))


def test_fields_are_local_time(local_zone: SetZone) -> None:
    local_zone("IST-5:30")
    india = timezone(timedelta(hours=5, minutes=30))

    assert match("0 9 * * *", at(NOW)) == at("2025-06-16 09:00", india)


# In New York the clock goes from 02:00 to 03:00 on 2025-03-09, and from 02:00 back to 01:00 on 2025-11-02.
NEW_YORK: Final = "EST5EDT,M3.2.0,M11.1.0"
WINTER: Final = timezone(timedelta(hours=-5))
SUMMER: Final = timezone(timedelta(hours=-4))


def test_a_day_of_23_hours(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)

    assert match("0 4 * * *", at("2025-03-09 00:00", WINTER)) == at("2025-03-09 04:00", SUMMER)
    assert match("30 * * * *", at("2025-03-09 01:45", WINTER)) == at("2025-03-09 03:30", SUMMER)


def test_a_time_that_the_clock_skips_is_not_lost(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)

    assert match("30 2 * * *", at("2025-03-09 00:00", WINTER)) == at("2025-03-09 03:30", SUMMER)


def test_a_day_of_25_hours(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)

    assert match("0 4 * * *", at("2025-11-02 00:00", SUMMER)) == at("2025-11-02 04:00", WINTER)


def test_a_time_that_comes_twice_is_matched_the_first_time(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)

    assert match("30 1 * * *", at("2025-11-02 00:00", SUMMER)) == at("2025-11-02 01:30", SUMMER)


def test_the_next_match_is_not_past_when_the_hour_comes_again(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)
    now = at("2025-11-02 01:15", WINTER)

    assert match("30 * * * *", now) > now


def test_an_hour_that_comes_again_is_matched_again(local_zone: SetZone) -> None:
    local_zone(NEW_YORK)

    assert match("30 * * * *", at("2025-11-02 01:45", SUMMER)) == at("2025-11-02 01:30", WINTER)
