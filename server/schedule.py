"""Deadlines: what is due when. The clock is the caller's."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from cronsim import CronSim, CronSimError

STALE_SLACK: Final = 64
# A 29 February falls on the same weekday every 28 years, every 40 across 2100.
HORIZON_YEARS: Final = 41
# No clock on earth goes back further than this at a time.
LONGEST_FOLD: Final = timedelta(hours=2)


class Schedule:
    """Ids by the time they are due. Adding, removing and taking cost O(log n)."""

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []  # with entries that were removed since: swept when they are the most

    def __contains__(self, id_: int) -> bool:
        return id_ in self._due

    def __len__(self) -> int:
        return len(self._due)

    def add(self, id_: int, when: float) -> None:
        """`id_` is due at `when`; it must not be in here already."""
        self._due[id_] = when
        heappush(self._heap, (when, id_))

    def discard(self, id_: int) -> None:
        """Forget `id_`, if it is in here."""
        if self._due.pop(id_, None) is None:
            return
        if len(self._heap) > 2 * len(self._due) + STALE_SLACK:
            self._heap = [(when, known) for known, when in self._due.items()]
            heapify(self._heap)
        self._drop_stale()

    def _drop_stale(self) -> None:
        """Keep a live one at the top, which `next` looks at."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)

    def take_due(self, now: float) -> list[int]:
        """Remove and return all that is due, earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            _, id_ = heappop(self._heap)
            del self._due[id_]
            due.append(id_)
            self._drop_stale()
        return due

    def next(self) -> float:
        """When the next is due; infinity when there is none."""
        return self._heap[0][0] if self._heap else inf


def next_match(minute: bytes, hour: bytes, day: bytes, month: bytes, weekday: bytes, now: float) -> int:
    """The next local time, in epoch seconds, that matches all five fields of SUBMIT_JOB_SCHED.

    An empty field or `*` matches any; weekday 0 is Monday. Raises ValueError for a field out of range and for a
    date that never comes. Unlike in cron, day and weekday must both match: so the weekday is checked here.
    """
    expression = " ".join([*(_field(value) for value in (minute, hour, day, month)), "*"])
    wanted = None if _field(weekday) == "*" else int(weekday)
    if wanted is not None and wanted > 6:
        raise ValueError("day of week is 0 (Monday) to 6")
    try:
        return _first_after(now, expression, wanted)
    except CronSimError as error:
        raise ValueError(str(error)) from None


def _first_after(now: float, expression: str, weekday: int | None) -> int:
    """The first time after `now`; when clocks go back an hour has two of each, and both count."""
    start = datetime.fromtimestamp(now)  # noqa: DTZ006 - naive local time: the fields are local
    folds = abs(datetime.fromtimestamp(now + LONGEST_FOLD.total_seconds()) - start) != LONGEST_FOLD  # noqa: DTZ006
    found = inf
    for match in _matches(start - LONGEST_FOLD if folds or start.fold else start, expression, weekday):
        first, second = (match.replace(fold=fold).timestamp() for fold in (0, 1))
        # A time that the clock skips has a second that comes before its first: it is none.
        found = min([found, *(when for when in (first, max(first, second)) if when > now)])
        if first > now:
            return int(found)
    if found < inf:
        return int(found)
    raise ValueError("there is no such day")


def _matches(start: datetime, expression: str, weekday: int | None) -> Iterator[datetime]:
    """Local times that match; a day of the wrong weekday is skipped whole."""
    horizon = start.year + HORIZON_YEARS
    while start.year <= horizon:
        for match in CronSim(expression, start):
            if weekday is not None and match.weekday() != weekday:
                start = match.replace(hour=23, minute=59)
                break
            yield match
        else:
            return


def _field(value: bytes) -> str:
    """A field as cron writes it."""
    text = value.decode("ascii", "replace")
    if text in ("", "*"):
        return "*"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text[:20]!r} is not a number")
    return text
