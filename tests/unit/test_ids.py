"""Ids grow, whatever the clock does, and a handle leads back to its id."""

from typing import Final

import pytest

from gearmand_py.server.ids import AHEAD, LEAST_AHEAD, Ids, handle_prefix, id_of
from gearmand_py.storage.base import ID_EPOCH_MS, ID_NODE_SHIFT, ID_TIME_SHIFT, MAX_NODE, id_floor, node_of

NOW: Final = ID_EPOCH_MS + 1_000_000
A_MILLISECOND: Final = 1 << ID_NODE_SHIFT  # how many ids a node has in one


def milliseconds_of(id_: int) -> int:
    return (id_ >> ID_TIME_SHIFT) + ID_EPOCH_MS


def test_an_id_tells_its_time_and_its_node() -> None:
    ids = Ids(7)
    ids.advance(NOW)

    taken = ids.take()

    assert (milliseconds_of(taken), node_of(taken)) == (NOW, 7)


def test_ids_of_one_millisecond_follow_each_other() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    first = ids.take()

    assert [ids.take() for _ in range(3)] == [first + 1, first + 2, first + 3]


def test_the_clock_moves_ids_forward() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    ids.take()
    ids.advance(NOW + 5)

    assert milliseconds_of(ids.take()) == NOW + 5


def test_a_clock_that_goes_back_is_ignored() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    before = ids.take()
    ids.advance(NOW - 60_000)

    assert ids.take() == before + 1


@pytest.mark.parametrize("node", [0, 1, MAX_NODE])
def test_a_full_sequence_borrows_from_the_next_millisecond(node: int) -> None:
    ids = Ids(node)
    ids.advance(NOW)

    taken = [ids.take() for _ in range(3 * A_MILLISECOND)]

    assert taken == sorted(set(taken))
    assert {node_of(id_) for id_ in taken} == {node}
    assert [milliseconds_of(id_) - NOW for id_ in taken[::A_MILLISECOND]] == [0, 1, 2]


def test_borrowed_time_is_not_given_out_again() -> None:
    ids = Ids(3)
    ids.advance(NOW)
    borrowed = [ids.take() for _ in range(A_MILLISECOND + 10)]
    ids.advance(NOW + 1)

    assert ids.take() == borrowed[-1] + 1


@pytest.mark.parametrize("node", [0, 5, MAX_NODE])
def test_never_at_or_below_an_id_that_was_seen(node: int) -> None:
    ids = Ids(node)
    ids.advance(NOW)
    seen = id_floor(NOW + 3_600_000, 9) + 17  # the clock was an hour ahead, on another node
    ids.observe(seen)
    ids.advance(NOW)

    taken = ids.take()

    assert taken > seen
    assert node_of(taken) == node


def test_the_very_next_id_was_seen() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    first = ids.take()
    ids.observe(first + 1)

    assert ids.take() > first + 1


def test_an_old_id_changes_nothing() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    first = ids.take()
    ids.observe(first - 1)

    assert ids.take() == first + 1


def test_an_id_is_never_0_even_without_a_clock() -> None:
    """The table is read by `id > 0`, and a machine without a battery may start in 1970."""
    ids = Ids(0)
    ids.advance(0)

    assert ids.take() > 0


def test_ids_fit_a_bigint_for_a_century() -> None:
    assert 0 < id_floor(ID_EPOCH_MS + 100 * 365 * 86_400_000, MAX_NODE) < 1 << 63


# ---- the bound in the database


def test_nothing_is_reserved_until_an_id_is_given() -> None:
    ids = Ids(0)
    ids.go_on(id_floor(NOW, 0))

    assert ids.to_reserve(NOW) == 0


@pytest.mark.parametrize("node", [0, 5, MAX_NODE])
def test_ids_go_on_at_the_bound(node: int) -> None:
    """Whatever the clock says: all below it may be the ids of finished jobs."""
    ids = Ids(node)
    ids.go_on(id_floor(NOW + 3_600_000, node) + 17)
    ids.advance(NOW)

    assert ids.take() == id_floor(NOW + 3_600_000, node) + 17


@pytest.mark.parametrize("node", [0, 5, MAX_NODE])
def test_a_bound_is_above_all_ids_given_and_an_id_of_its_node(node: int) -> None:
    ids = Ids(node)
    ids.advance(NOW)
    taken = [ids.take() for _ in range(3 * A_MILLISECOND)]
    bound = ids.to_reserve(NOW)

    assert bound > taken[-1]
    assert node_of(bound) == node


def test_a_bound_does_for_ten_seconds() -> None:
    ids = Ids(0)
    ids.advance(NOW)
    ids.take()
    bound = ids.to_reserve(NOW)
    assert ids.to_reserve(NOW) == bound  # that it is there is not known before it was said
    ids.reserved(bound)
    ids.advance(NOW + AHEAD - 1)
    ids.take()
    assert ids.to_reserve(NOW + AHEAD - 1) == 0
    ids.advance(NOW + AHEAD)
    ids.take()
    assert ids.to_reserve(NOW + AHEAD) > bound


def test_restarts_one_after_the_other_do_not_run_away_from_the_clock() -> None:
    bound = 0
    for restart in range(100):
        ids = Ids(0)
        ids.go_on(bound)
        ids.advance(NOW + restart * LEAST_AHEAD)
        assert ids.take() >= bound
        bound = ids.to_reserve(NOW + restart * LEAST_AHEAD)

    assert milliseconds_of(bound) <= NOW + 100 * LEAST_AHEAD + AHEAD


# ---- handles


def test_the_prefix_is_h_and_the_host() -> None:
    assert handle_prefix("", "db1.example.com") == b"H:db1.example.com:"


def test_the_operator_may_choose_the_prefix() -> None:
    assert handle_prefix("X", "db1.example.com") == b"X:"


def test_a_handle_fits_64_bytes_with_its_terminator() -> None:
    prefix = handle_prefix("", "h" * 255)

    assert len(prefix) + len(b"%d" % ((1 << 63) - 1)) + 1 <= 64
    assert prefix.startswith(b"H:hhh")
    assert prefix.endswith(b"h:")


@pytest.mark.parametrize(
    "handle", [b"H:here:123", b"H:another.host:123", b"X:123", b"123", b"a:b:c:123"], ids=lambda handle: handle.decode()
)
def test_a_handle_is_found_by_its_id_alone(handle: bytes) -> None:
    assert id_of(handle) == 123


@pytest.mark.parametrize(
    "handle",
    [b"", b":", b"H:here:", b"H:here:12x", b"H:here:-1", b"H:here: 1", b"H:here:" + b"9" * 20, b"\xb2", b"1:x"],
)
def test_what_is_no_handle_has_no_id(handle: bytes) -> None:
    assert id_of(handle) is None
