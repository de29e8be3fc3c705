"""So much for each, and a little more as time goes by."""

from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server.allowance import Allowance


def test_an_allowance() -> None:
    allowance = Allowance(3, 10.0, most=2)
    assert [allowance.take("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take("b", 0.0)
    assert not allowance.left("a", 9.9)
    assert [allowance.take("a", 10.0) for _ in range(2)] == [True, False]
    assert [allowance.take("a", 1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20)), max_size=200))
def test_an_allowance_gives_no_more_than_it_says(takes: list[tuple[str, int]]) -> None:
    allowance, now, given_at = Allowance(2, 10.0, most=10), 0.0, dict[str, list[float]]()
    for key, wait in takes:
        now += wait
        if allowance.take(key, now):
            given_at.setdefault(key, []).append(now)
    for times in given_at.values():
        assert all(third - first >= 10.0 for first, third in zip(times, times[2:], strict=False))


def test_an_allowance_forgets_the_oldest() -> None:
    allowance = Allowance(1, 1e9, most=3)
    for key in "abcdef":
        assert allowance.take(key, 0.0)
    assert len(allowance) == 3
    assert allowance.left("a", 0.0)
    assert not allowance.left("f", 0.0)
