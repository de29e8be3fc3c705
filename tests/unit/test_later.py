"""Jobs whose time is to come: against a sorted list, whatever the clock does."""

from math import inf
from random import Random
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gearmand_py.server.later import BOX_SECONDS, PAGE, Later

START: Final = 1_750_000_000
DAY: Final = 86_400
ALL: Final = 10**9

# Seconds from now: within seconds, about the borders of boxes, and far ahead.
AHEAD: Final = st.one_of(
    st.integers(0, 5),
    st.integers(BOX_SECONDS - 3, BOX_SECONDS + 3),
    st.integers(2 * BOX_SECONDS - 3, 3 * BOX_SECONDS),
    st.integers(DAY, 100 * DAY),
)


def take_all(later: Later, now: float, most: int = ALL) -> list[int]:
    """As the index does: again and again while something is due."""
    found = []
    while later.next() <= now:
        found += later.take_due(now, most)
    return found


def test_earliest_first() -> None:
    later = Later()
    for id_, seconds in enumerate([5, 1, 3 * BOX_SECONDS, 2, DAY]):
        later.add(id_, START + seconds, START)

    assert take_all(later, START) == []
    assert take_all(later, START + 5) == [1, 3, 0]
    assert take_all(later, START + DAY - 1) == [2]
    assert take_all(later, START + DAY) == [4]
    assert later.next() == inf
    assert len(later) == 0


def test_within_a_second_first_in_first_out() -> None:
    """Also where its box is being opened while further ones come."""
    later = Later()
    when = START + 5 * BOX_SECONDS
    for id_ in range(3 * PAGE):
        later.add(id_, when, START)
    opening = (when // BOX_SECONDS - 1) * BOX_SECONDS
    assert later.next() == opening
    assert later.take_due(opening, ALL) == []  # opens a page of it
    later.add(3 * PAGE, when, opening)
    assert take_all(later, opening) == []
    later.add(3 * PAGE + 1, when, opening)

    assert take_all(later, when) == list(range(3 * PAGE + 2))


def test_a_page_at_a_time() -> None:
    later = Later()
    for id_ in range(20):
        later.add(id_, START + id_ // 2, START)

    assert later.take_due(START + 20, 5) == [0, 1, 2, 3, 4, 5]  # whole seconds
    assert later.left_from == START + 3
    assert later.next() == START + 3
    assert take_all(later, START + 20, 5) == list(range(6, 20))
    assert later.left_from == inf


def test_the_clock_jumps_over_boxes() -> None:
    chance = Random(1)
    times = {id_: START + chance.randrange(20 * BOX_SECONDS) for id_ in range(2 * PAGE)}
    later = Later()
    for id_, when in times.items():
        later.add(id_, when, START)

    found = take_all(later, START + 20 * BOX_SECONDS, 100)

    assert found == sorted(times, key=lambda id_: (times[id_], id_))


def test_a_clock_that_has_gone_back() -> None:
    later = Later()
    later.add(1, START + 10, START)
    later.add(2, START + 5, START - DAY)
    later.add(3, START - DAY + 1, START - DAY)

    assert take_all(later, START - DAY + 1) == [3]
    assert take_all(later, START + 10) == [2, 1]


def test_what_is_far_off_takes_16_bytes() -> None:
    later = Later()
    for id_ in range(100_000):
        later.add(id_, START + DAY + id_ % 1000, START)

    assert not later._seconds
    assert sum(part.itemsize * len(part) for box in later._boxes.values() for part in box) == 16 * 100_000


def test_ids_that_are_listed_while_their_box_is_opened() -> None:
    later = Later()
    for id_ in range(3 * PAGE):
        later.add(id_, START + DAY, START)
    listed = later.ids()
    some = [next(listed) for _ in range(PAGE)]
    assert take_all(later, START + DAY) == list(range(3 * PAGE))
    assert some + list(listed) == list(range(3 * PAGE))


class LaterMachine(RuleBasedStateMachine):
    """Any use, against a list, by a clock that goes on, and jumps ahead and back."""

    def __init__(self) -> None:
        super().__init__()
        self.later = Later()
        self.model: list[tuple[int, int]] = []  # when, id
        self.now: float = START
        self.next = 0

    @rule(seconds=AHEAD, count=st.sampled_from([1, 1, 2, PAGE + 1]))
    def add(self, seconds: int, count: int) -> None:
        when = int(self.now) + seconds
        for id_ in range(self.next, self.next + count):
            self.later.add(id_, when, self.now)
            self.model.append((when, id_))
        self.next += count

    @rule(seconds=st.one_of(st.floats(0, 10), st.sampled_from([BOX_SECONDS, 3 * BOX_SECONDS, DAY, 200 * DAY])))
    def go_on(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.5, 10.0, BOX_SECONDS, DAY]))
    def go_back(self, seconds: float) -> None:
        self.now -= seconds

    @rule(most=st.sampled_from([1, 3, PAGE, ALL]))
    def take(self, most: int) -> None:
        due = sorted(entry for entry in self.model if entry[0] <= self.now)
        found = self.later.take_due(self.now, most)
        assert found == [id_ for _, id_ in due[: len(found)]]
        del due[: len(found)]
        taken = set(found)
        self.model = [entry for entry in self.model if entry[1] not in taken]
        # The first second that was left may not be known, but nothing from it on was taken, and all before it was.
        assert self.later.left_from <= (due[0][0] if due else inf)
        assert not due or self.later.next() <= self.now, "nobody is told to look again"

    @rule()
    def take_whatever_is_due(self) -> None:
        due = sorted(entry for entry in self.model if entry[0] <= self.now)
        assert take_all(self.later, self.now, 1000) == [id_ for _, id_ in due]
        self.model = [entry for entry in self.model if entry[0] > self.now]

    @invariant()
    def nothing_is_due_unseen(self) -> None:
        assert len(self.later) == len(self.model)
        assert self.later.next() <= min((when for when, _ in self.model), default=inf)


TestLaterMachine = LaterMachine.TestCase
TestLaterMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
