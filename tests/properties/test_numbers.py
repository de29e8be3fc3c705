"""Sets of numbers against Python's own."""

from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server.numbers import SHIFT, Numbers

BLOCK = 1 << SHIFT
SOME = st.one_of(st.integers(0, 9), st.integers(BLOCK - 3, BLOCK + 3), st.integers(0, 5 * BLOCK))
SETS = st.frozensets(SOME, max_size=12)


def numbers(members: frozenset[int]) -> Numbers:
    found = Numbers()
    for number in members:
        found.add(number)
    return found


@given(SETS, st.lists(SOME, max_size=12))
def test_adding_and_removing(members: frozenset[int], gone: list[int]) -> None:
    found = numbers(members)
    for number in [*gone, *gone]:
        found.discard(number)
    left = members.difference(gone)

    assert list(found) == sorted(left)
    assert {number for number in (*members, *gone) if number in found} == left


@given(SETS, SETS, SETS)
def test_equal_sets_have_one_key_and_others_have_not(
    one: frozenset[int], other: frozenset[int], gone: frozenset[int]
) -> None:
    found = numbers(one | gone)
    for number in gone - one:
        found.discard(number)

    assert (found.key == numbers(other).key) == (one == other)
    assert found.key == numbers(one).key
    assert list(Numbers(found.key)) == sorted(one)


@given(SETS, SETS, SOME)
def test_what_two_have_in_common(one: frozenset[int], other: frozenset[int], start: int) -> None:
    both = sorted(one & other)
    assert list(numbers(one).in_common(numbers(other))) == both

    going_round = [*(number for number in both if number >= start), *both]
    assert numbers(one).next_in_common(numbers(other), start) == (going_round[0] if both else None)
