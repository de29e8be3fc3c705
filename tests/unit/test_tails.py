"""The part of a queue that is not in memory: against a list."""

from array import array
from sys import getsizeof
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gearmand_py.server.tails import PIECE, Tail

MANY: Final = 3 * PIECE + 5
SIZES: Final = st.integers(0, 100)


def tail_of(*ids: int, size: int = 1) -> Tail:
    tail = Tail()
    for id_ in ids:
        tail.append([id_], [size])
    return tail


def taken(tail: Tail, count: int, most_bytes: int = 10**9) -> list[int]:
    return [id_ for id_, _ in tail.take(count, most_bytes)]


def test_first_in_first_out_over_many_pieces() -> None:
    tail = tail_of(*range(MANY))
    assert len(tail) == MANY

    assert [id_ for _ in range(0, MANY, 1000) for id_ in taken(tail, 1000)] == list(range(MANY))
    assert len(tail) == 0
    assert not tail


def test_a_page_goes_over_the_end_of_a_piece() -> None:
    tail = tail_of(*range(MANY))
    taken(tail, PIECE - 1)

    assert taken(tail, PIECE + 2) == list(range(PIECE - 1, 2 * PIECE + 1))
    assert list(tail) == list(range(2 * PIECE + 1, MANY))


def test_a_page_ends_before_its_bytes_are_too_many() -> None:
    tail = tail_of(1, 2, 3, 4, size=10)

    assert taken(tail, 4, 29) == [1, 2]
    assert taken(tail, 4, 20) == [3, 4]


def test_a_payload_larger_than_a_page_is_taken_alone() -> None:
    tail = tail_of(1, 2, size=10)

    assert taken(tail, 2, 0) == [1]
    assert taken(tail, 2, 9) == [2]
    assert taken(tail, 2, 9) == []


def test_what_is_put_back_comes_first() -> None:
    tail = tail_of(*range(PIECE + 3))
    page = tail.take(PIECE + 1, 10**9)
    tail.append([PIECE + 3], [1])
    tail.put_back(page)

    assert list(tail) == list(range(PIECE + 4))
    assert len(tail) == PIECE + 4


def test_another_tail_goes_behind() -> None:
    front, back = tail_of(1, 2, 3), tail_of(4, 5, 6)
    taken(front, 1)
    taken(back, 1)
    front.extend(back)
    front.append([7], [1])

    assert taken(front, 10) == [2, 3, 5, 6, 7]


def test_sizes_are_kept() -> None:
    tail = Tail()
    tail.append([1], [2**32 - 1])
    tail.append([2], [0])

    assert tail.take(2, 2**40) == [(1, 2**32 - 1), (2, 0)]


def test_it_takes_some_12_bytes_an_id_and_gives_them_back_piece_by_piece() -> None:
    tail = tail_of(*range(100_000))
    assert held(tail) < 14 * 100_000

    taken(tail, 90_000)

    assert held(tail) < 14 * (10_000 + PIECE)


def test_a_short_tail_is_short() -> None:
    assert held(tail_of(1)) < 400


def held(tail: Tail) -> int:
    """Bytes of its pieces."""
    return sum(getsizeof(part) for piece in tail._pieces for part in piece)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**62), SIZES)), st.integers(1, 10), st.integers(0, 300))
def test_a_page_is_as_long_as_it_may_be(entries: list[tuple[int, int]], count: int, most_bytes: int) -> None:
    tail = Tail()
    for id_, size in entries:
        tail.append([id_], [size])

    page = tail.take(count, most_bytes)

    assert page == entries[: len(page)]
    assert len(page) <= count
    if len(page) > 1:
        assert sum(size for _, size in page) <= most_bytes
    if len(page) < min(count, len(entries)):
        assert page
        assert sum(size for _, size in entries[: len(page) + 1]) > most_bytes


class TailMachine(RuleBasedStateMachine):
    """Any use, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = Tail()
        self.model: list[tuple[int, int]] = []
        self.last: list[tuple[int, int]] = []  # the last page, until something else is taken
        self.next = 0

    def entries(self, sizes: list[int]) -> list[tuple[int, int]]:
        self.next += len(sizes)
        return list(zip(range(self.next - len(sizes), self.next), sizes, strict=True))

    @rule(sizes=st.lists(SIZES, max_size=5), times=st.sampled_from([1, 1, 1, PIECE // 2]))
    def append(self, sizes: list[int], times: int) -> None:
        for id_, size in self.entries(sizes * times):
            self.tail.append([id_], [size])
            self.model.append((id_, size))

    @rule(sizes=st.lists(SIZES, max_size=5))
    def extend(self, sizes: list[int]) -> None:
        other = Tail()
        for id_, size in (entries := self.entries(sizes)):
            other.append([id_], [size])
        self.tail.extend(other)
        self.model += entries

    @rule(count=st.sampled_from([1, 2, 3, PIECE, 2 * PIECE]), most_bytes=st.sampled_from([0, 100, 10**9]))
    def take(self, count: int, most_bytes: int) -> None:
        self.last = self.tail.take(count, most_bytes)
        assert self.last == self.model[: len(self.last)]
        assert self.last or not self.model
        del self.model[: len(self.last)]

    @rule()
    def put_back(self) -> None:
        self.tail.put_back(self.last)
        self.model[:0] = self.last
        self.last = []

    @invariant()
    def it_is_the_list(self) -> None:
        assert len(self.tail) == len(self.model)

    def teardown(self) -> None:
        assert list(self.tail) == [id_ for id_, _ in self.model]
        assert [entry for ids, sizes in self.tail.pieces() for entry in zip(ids, sizes, strict=True)] == self.model
        assert all(isinstance(part, array) for piece in self.tail.pieces() for part in piece)


TestTailMachine = TailMachine.TestCase
TestTailMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
