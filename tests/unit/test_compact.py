"""The compact map: against a dict of lists."""

from collections import defaultdict
from pathlib import Path
from random import Random
from resource import getpagesize
from sys import getsizeof
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gearmand_py.server.compact import FEWEST_SLOTS, CompactMap

# Few, so that they meet; with equal lowest bits, so that they share slots; the largest, and below zero.
HASHES: Final = st.sampled_from([0, 1, -2, 1024, 2048, (1 << 63) - 1, -(1 << 63), 1 << 62, 0x0101010101010101])
IDS: Final = st.sampled_from([0, 1, 2, 1 << 62, 0x0101010101010101])
EXPECTED: Final = 1  # the fewest slots, so that chains are long


class CompactMachine(RuleBasedStateMachine):
    """Any use, over many growths, against a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.map = CompactMap(EXPECTED)
        self.model: defaultdict[int, list[int]] = defaultdict(list)
        self.size = 0

    @rule(hash_=HASHES, id_=IDS)
    def add(self, hash_: int, id_: int) -> None:
        self.map.add(hash_, id_)
        self.model[hash_].append(id_)
        self.size += 1

    @rule(seed=st.integers(0, 3), count=st.sampled_from([100, 2000]))
    def add_many(self, seed: int, count: int) -> None:
        chance = Random(seed)
        for id_ in range(count):
            self.add(chance.getrandbits(64) - (1 << 63), id_)

    @rule(hash_=HASHES, id_=IDS)
    def discard(self, hash_: int, id_: int) -> None:
        there = id_ in self.model[hash_]
        assert self.map.discard(hash_, id_) == there
        if there:
            self.model[hash_].remove(id_)
            self.size -= 1

    @rule(seed=st.integers(0, 3), count=st.sampled_from([100, 2000]))
    def discard_many(self, seed: int, count: int) -> None:
        chance = Random(seed)
        for id_ in range(count):
            self.discard(chance.getrandbits(64) - (1 << 63), id_)

    @rule(hash_=HASHES)
    def get(self, hash_: int) -> None:
        assert sorted(self.map.get(hash_)) == sorted(self.model[hash_])

    @rule(hash_=HASHES)
    def look(self, hash_: int) -> None:
        """A bit is set for an entry's sake alone."""
        bit = hash_ & self.map.bit_mask
        there = any(ids and other & self.map.bit_mask == bit for other, ids in self.model.items())
        assert bool(self.map.bits[bit >> 3] & 1 << (bit & 7)) == there

    @invariant()
    def as_many(self) -> None:
        assert self.map.size == self.size

    def teardown(self) -> None:
        for hash_, ids in self.model.items():
            assert sorted(self.map.get(hash_)) == sorted(ids)


TestCompactMachine = CompactMachine.TestCase
TestCompactMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def random_map(size: int, *, expected: int = 0) -> tuple[CompactMap, list[int]]:
    chance = Random(1)
    hashes = [chance.getrandbits(64) - (1 << 63) for _ in range(size)]
    found = CompactMap(expected or size)
    for id_, hash_ in enumerate(hashes):
        found.add(hash_, id_)
    return found, hashes


def test_many_entries_and_none_that_were_not_added() -> None:
    found, hashes = random_map(100_000)

    assert all(found.get(hash_) == [id_] for id_, hash_ in enumerate(hashes))
    assert not any(found.get(hash_ ^ 1) for hash_ in hashes)
    assert found.size == 100_000


def test_more_entries_than_slots() -> None:
    found, hashes = random_map(20 * FEWEST_SLOTS, expected=1)

    assert all(found.get(hash_) == [id_] for id_, hash_ in enumerate(hashes))
    assert all(found.discard(hash_, id_) for id_, hash_ in enumerate(hashes))


def test_equal_hashes() -> None:
    found = CompactMap()
    for id_ in range(1000):
        found.add(7, id_)

    assert sorted(found.get(7)) == list(range(1000))
    assert found.discard(7, 5)
    assert not found.discard(7, 5)
    assert 5 not in found.get(7)


def test_an_entry_takes_about_20_bytes_and_its_slot_4() -> None:
    found, _ = random_map(100_000)

    assert bytes_of(found) < 22 * 100_000
    assert found._heads.nbytes + len(found.bits) <= 2 * 5 * 100_000


def test_what_was_removed_leaves_room_for_others() -> None:
    """Keys that stay, of a function without workers, must not keep the room of millions that came and went."""
    found, _ = random_map(1000)
    full = bytes_of(found)
    chance = Random(2)
    for id_ in range(10_000):
        hash_ = chance.getrandbits(64) - (1 << 63)
        found.add(hash_, id_)
        assert found.discard(hash_, id_)

    assert bytes_of(found) < 2 * full


def test_nothing_is_left_when_all_is_gone() -> None:
    found, hashes = random_map(100_000)
    for id_, hash_ in enumerate(hashes):
        assert found.discard(hash_, id_)

    assert found.size == 0
    assert bytes_of(found) < 4096


def test_slots_that_are_not_used_take_no_memory() -> None:
    """All of them are made anew whenever a backlog is gone: filling 40 MiB with zeros stopped the server for 30 ms."""
    before = resident()
    found = CompactMap()
    for id_ in range(10):
        found.add(hash(b"key"), id_)
        assert found.discard(hash(b"key"), id_)

    assert resident() - before < 4 * 1024 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


def bytes_of(found: CompactMap) -> int:
    """Without its slots, of which only those in use take memory."""
    return sum(map(getsizeof, (found._hashes, found._ids, found._next)))
