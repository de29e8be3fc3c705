"""The histogram against the values themselves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server.bench.histogram import HIGHEST, PRECISION, Histogram

VALUES = st.lists(st.integers(0, HIGHEST) | st.integers(0, 1000) | st.integers(0, 10**9), min_size=1)
PERCENTS = st.floats(0, 100)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def exact(values: list[int], percent: float) -> int:
    """By nearest rank."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


@given(VALUES, PERCENTS)
def test_a_percentile_is_exact_to_the_precision_and_never_too_low(values: list[int], percent: float) -> None:
    found = filled(values).percentile(percent)
    assert found is not None
    true = exact(values, percent)
    assert true <= found <= true + (true >> PRECISION)


@given(VALUES)
def test_the_highest_value_is_exact(values: list[int]) -> None:
    assert filled(values).percentile(100) == max(values)


@given(VALUES, VALUES)
def test_a_merged_one_is_that_of_all_values(one: list[int], other: list[int]) -> None:
    merged = filled(one)
    merged.merge(filled(other))
    whole = filled(one + other)
    assert list(merged.buckets()) == list(whole.buckets())
    assert (merged.count, merged.maximum) == (whole.count, whole.maximum)


@given(VALUES)
def test_buckets_are_in_order_and_hold_every_value_once(values: list[int]) -> None:
    buckets = list(filled(values).buckets())
    edges = [edge for least, above, _ in buckets for edge in (least, above - 1)]
    assert edges == sorted(edges)
    for least, above, count in buckets:
        assert count == sum(least <= value < above for value in values)
    assert sum(count for _, _, count in buckets) == len(values)


def test_an_empty_one_has_no_percentiles() -> None:
    assert Histogram().percentile(50) is None


@given(st.integers(HIGHEST, HIGHEST**2))
def test_what_is_beyond_its_range_counts_as_the_highest(value: int) -> None:
    assert filled([value]).percentile(50) == HIGHEST
