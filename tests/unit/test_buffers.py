"""Memory that all connections share: who has a place, who waits, and who goes."""

from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server.buffers import LEAST_PART, LEAST_SENT, PATIENCE, Backlogs, Incoming

MIB = 1024 * 1024


class Sender:
    """A connection with a large packet."""

    def __init__(self, missing: int) -> None:
        self.missing = missing
        self.may_send = True

    def wait_for_place(self) -> None:
        self.may_send = False

    def have_place(self) -> None:
        self.may_send = True


class Reader:
    """A connection with answers."""

    def __init__(self, unread: int = 0) -> None:
        self.unread = unread


def begun(incoming: Incoming[Sender], *sizes: int) -> list[Sender]:
    senders = [Sender(size * MIB) for size in sizes]
    for sender in senders:
        incoming.begin(sender)
    return senders


def test_what_does_not_fit_waits_the_smallest_first() -> None:
    incoming: Incoming[Sender] = Incoming(10 * MIB)
    first, large, small = begun(incoming, 8, 6, 4)
    assert first.may_send
    assert not large.may_send
    assert not small.may_send
    incoming.end(first)
    assert small.may_send
    assert large.may_send
    assert incoming.used == 10 * MIB


def test_one_that_comes_later_does_not_overtake_those_that_wait_unless_it_is_smaller() -> None:
    incoming: Incoming[Sender] = Incoming(10 * MIB)
    first, waiting, later = begun(incoming, 9, 3, 3)
    incoming.end(waiting)  # it has gone
    assert not later.may_send
    incoming.end(first)
    assert later.may_send
    assert incoming.used == 3 * MIB


def test_a_packet_larger_than_all_there_is_gets_it_alone() -> None:
    incoming: Incoming[Sender] = Incoming(10 * MIB)
    huge, other = begun(incoming, 64, 1)
    assert huge.may_send
    assert not other.may_send
    incoming.end(huge)
    assert other.may_send


def test_who_sends_nothing_while_others_wait_has_to_go() -> None:
    incoming: Incoming[Sender] = Incoming(10 * MIB)
    stopped, busy = begun(incoming, 4, 6)
    for _ in range(PATIENCE * 2):
        assert incoming.look() == []  # nobody waits
    begun(incoming, 1)
    enough = max(LEAST_SENT, 6 * MIB // LEAST_PART)
    for _ in range(PATIENCE - 1):
        busy.missing -= enough
        stopped.missing -= 1
        assert incoming.look() == []
    busy.missing -= enough
    assert incoming.look() == [stopped]


def test_who_is_not_read_is_not_blamed() -> None:
    incoming: Incoming[Sender] = Incoming(10 * MIB)
    (stopped,) = begun(incoming, 10)
    begun(incoming, 1)
    stopped.may_send = False
    for _ in range(PATIENCE * 2):
        assert incoming.look() == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=200))
def test_places_never_exceed_the_limit_but_for_a_single_packet(steps: list[tuple[int, int]]) -> None:
    incoming: Incoming[Sender] = Incoming(20)
    current: dict[int, Sender] = {}
    for which, size in steps:
        if which in current:
            incoming.end(current.pop(which))
        else:
            current[which] = Sender(size)
            incoming.begin(current[which])
        reading = [sender.missing for sender in current.values() if sender.may_send]
        assert sum(reading) == incoming.used
        assert incoming.used <= 20 or len(reading) == 1
        assert reading or not current, "all wait, and nobody for anything"
    for sender in list(current.values()):
        incoming.end(sender)
    assert incoming.used == 0
    assert not incoming.crowded


def test_who_left_most_unread_goes() -> None:
    unread: Backlogs[Reader] = Backlogs(100, lambda reader: reader.unread)
    small, large = Reader(40), Reader(70)
    assert not list(unread.note(small, 40))
    assert list(unread.note(large, 70)) == [large]
    assert unread.used == 40


def test_what_was_read_meanwhile_counts_no_more() -> None:
    unread: Backlogs[Reader] = Backlogs(100, lambda reader: reader.unread)
    one, other = Reader(90), Reader(50)
    unread.note(one, 90)
    one.unread = 10
    assert list(unread.note(other, 50)) == []
    assert unread.used == 60
    unread.forget(one)
    unread.forget(one)
    assert unread.used == 50
