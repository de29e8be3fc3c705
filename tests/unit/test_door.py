"""Who may connect, and who gives way."""

import pytest

from gearmand_py.server.door import GIVES_WAY, Door, host_of
from gearmand_py.server.errors import LimitReached
from gearmand_py.server.limits import Limits

HERE = "127.0.0.1"


def test_no_more_than_there_are_places() -> None:
    door = Door(Limits(connections=2))
    door.enter("one", HERE, 0)
    door.enter("two", HERE, 0)
    with pytest.raises(LimitReached) as refused:
        door.enter("three", HERE, 0)
    assert refused.value.option == "--max-connections"
    door.leave("one", HERE)
    assert door.enter("three", HERE, 0) is None


def test_who_is_silent_longest_gives_its_place_up() -> None:
    door = Door(Limits(connections=3))
    for guest, when in ("speaker", 0), ("old", 1), ("young", 2):
        door.enter(guest, HERE, when)
    door.spoke("speaker")
    with pytest.raises(LimitReached):
        door.enter("too early", HERE, 1 + GIVES_WAY / 2)
    assert door.enter("new", HERE, 2 + GIVES_WAY) == "old"
    assert door.enter("newer", HERE, 2 + GIVES_WAY) == "young"
    with pytest.raises(LimitReached):
        door.enter("newest", HERE, 2 + GIVES_WAY)


def test_so_many_from_one_address() -> None:
    door = Door(Limits(connections_per_address=2))
    for guest in "ab":
        door.enter(guest, "10.0.0.1", 0)
    door.enter("c", "10.0.0.2", 0)
    with pytest.raises(LimitReached) as refused:
        door.enter("d", "10.0.0.1", 0)
    assert refused.value.option == "--max-connections-per-address"
    door.leave("a", "10.0.0.1")
    door.enter("d", "10.0.0.1", 0)


def test_unix_sockets_have_no_address() -> None:
    door = Door(Limits(connections_per_address=1))
    for guest in range(100):
        door.enter(guest, "-", 0)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::1", "::1"),
    ],
)
def test_a_host_has_one_address_of_ipv4_and_a_network_of_ipv6(address: str, host: str) -> None:
    assert host_of(address) == host


def test_a_refused_connection_takes_no_place_of_its_address() -> None:
    door = Door(Limits(connections=1, connections_per_address=5))
    door.enter("a", HERE, 0)
    for _ in range(10):
        with pytest.raises(LimitReached):
            door.enter("b", HERE, 0)
    door.leave("a", HERE)
    for guest in range(1):
        door.enter(guest, HERE, 0)


def test_those_who_are_silent_for_too_long_are_told_of_once() -> None:
    door = Door(Limits(first_packet_timeout=10))
    for guest, when in ("a", 0), ("b", 1), ("c", 5):
        door.enter(guest, HERE, when)
    door.spoke("a")
    assert door.watching
    assert door.overdue(10.5) == []
    assert door.overdue(11) == ["b"]
    assert door.overdue(11) == []
    assert door.overdue(99) == ["c"]
    assert not door.watching


def test_silence_costs_nothing_without_a_limit() -> None:
    door = Door(Limits())
    door.enter("a", HERE, 0)
    assert not door.watching
    assert door.overdue(1e9) == []
