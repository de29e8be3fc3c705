"""The compact map: against a dict of lists."""

from collections import defaultdict
from random import Random
from sys import getsizeof
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gearmand_py.server.compact import FIRST_BUCKETS, FULL, CompactMap

# Few, so that they meet; with equal lowest bits, so that they share buckets; and beyond 64 bits and below zero.
HASHES: Final = st.sampled_from([0, 1, -1, 64, 128, 1 << 63, (1 << 64) - 2, 1 << 64, 0x0101010101010101])
IDS: Final = st.sampled_from([0, 1, 2, 1 << 62, 0x0101010101010101])
MASK: Final = (1 << 64) - 1


class CompactMachine(RuleBasedStateMachine):
    """Any use, over many growths, against a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.map = CompactMap()
        self.model: defaultdict[int, list[int]] = defaultdict(list)
        self.size = 0

    @rule(hash_=HASHES, id_=IDS)
    def add(self, hash_: int, id_: int) -> None:
        self.map.add(hash_, id_)
        self.model[hash_ & MASK].append(id_)
        self.size += 1

    @rule(seed=st.integers(0, 3), count=st.sampled_from([100, 2000]))
    def add_many(self, seed: int, count: int) -> None:
        chance = Random(seed)
        for id_ in range(count):
            self.add(chance.getrandbits(64), id_)

    @rule(hash_=HASHES, id_=IDS)
    def discard(self, hash_: int, id_: int) -> None:
        there = id_ in self.model[hash_ & MASK]
        assert self.map.discard(hash_, id_) == there
        if there:
            self.model[hash_ & MASK].remove(id_)
            self.size -= 1

    @rule(seed=st.integers(0, 3), count=st.sampled_from([100, 2000]))
    def discard_many(self, seed: int, count: int) -> None:
        chance = Random(seed)
        for id_ in range(count):
            self.discard(chance.getrandbits(64), id_)

    @rule(hash_=HASHES)
    def get(self, hash_: int) -> None:
        assert list(self.map.get(hash_)) == self.model[hash_ & MASK]

    @invariant()
    def as_many(self) -> None:
        assert len(self.map) == self.size

    def teardown(self) -> None:
        for hash_, ids in self.model.items():
            assert list(self.map.get(hash_)) == ids


TestCompactMachine = CompactMachine.TestCase
TestCompactMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def random_map(size: int) -> tuple[CompactMap, list[int]]:
    chance = Random(1)
    hashes = [chance.getrandbits(64) for _ in range(size)]
    found = CompactMap()
    for id_, hash_ in enumerate(hashes):
        found.add(hash_, id_)
    return found, hashes


def test_many_entries_and_none_that_were_not_added() -> None:
    found, hashes = random_map(100_000)

    assert all(found.get(hash_) == [id_] for id_, hash_ in enumerate(hashes))
    assert not any(found.get(hash_ ^ 1) for hash_ in hashes)
    assert len(found) == 100_000


def test_equal_hashes() -> None:
    found = CompactMap()
    for id_ in range(10 * FULL * FIRST_BUCKETS // 16):
        found.add(7, id_)

    assert found.get(7) == list(range(10 * FULL * FIRST_BUCKETS // 16))
    assert found.discard(7, 5)
    assert not found.discard(7, 5)
    assert 5 not in found.get(7)


def test_an_entry_takes_less_than_20_bytes() -> None:
    found, _ = random_map(100_000)

    assert bytes_of(found) < 20 * 100_000


def test_nothing_is_left_when_all_is_gone() -> None:
    found, hashes = random_map(100_000)
    for id_, hash_ in enumerate(hashes):
        assert found.discard(hash_, id_)

    assert len(found) == 0
    assert bytes_of(found) < 4096


def bytes_of(found: CompactMap) -> int:
    """The list of its buckets, and each of these that is not empty (which all share one)."""
    return getsizeof(found._buckets) + sum(getsizeof(bucket) for bucket in found._buckets if bucket)


def test_growth_is_spread_evenly() -> None:
    """No insertion moves more than a bucket, and no bucket is much longer than the others."""
    found, _ = random_map(100_000)
    lengths = [len(bucket) // 16 for bucket in found._buckets]

    assert max(lengths) < 6 * FULL
    assert len(lengths) >= 100_000 // FULL
