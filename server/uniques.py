"""Unique keys: one live job for each function and key.

Keys of jobs in memory, and of rows that will be jobs once they are committed, are in a dict. Those of bare ids are
hashes in a compact map: what it finds may be another key with the same hash, so a hit is confirmed by the row.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import inf

from gearmand_py.server.compact import BIT, CompactMap
from gearmand_py.server.jobs import Function, Job, coalesce_key
from gearmand_py.storage.base import JobRecord

Key = bytes | tuple[bytes]
Owner = Job | JobRecord
Sees = Callable[[bytes], bool]  # may somebody be told of the jobs of a function?


class Uniques:
    """Who has which key. Room is made for so many keys of bare ids as are `expected`."""

    __slots__ = ("_hashes", "_names", "_owners")

    def __init__(self, expected: float = inf) -> None:
        # Few keys are in use by several functions: these have a dict of their owners, by the functions' names.
        self._owners: dict[Key, Owner | dict[bytes, Owner]] = {}
        self._hashes = CompactMap(expected)
        self._names: set[bytes] = set()  # of functions with hashes, since there were none

    @property
    def spilled(self) -> int:
        """Keys of bare ids."""
        return self._hashes.size

    def is_new(self, function: Function, key: Key) -> bool:
        """Nobody, in memory or not, has the key for sure. As is so for nearly all keys, and quickly told."""
        if key in self._owners:
            return False
        hashes = self._hashes
        bit = (hash(function.name) ^ hash(key)) & hashes.bit_mask
        return not (hashes.size and hashes.bits[bit >> 3] & BIT[bit & 7])

    # ---- jobs in memory, and rows on their way to the table

    def get(self, function: Function, key: Key) -> Owner | None:
        """Who has this key."""
        found = self._owners.get(key)
        if found is None:
            return None
        if isinstance(found, dict):
            return found.get(function.name)
        return found if name_of(found) == function.name else None

    def add(self, key: Key, owner: Owner) -> None:
        """The owner takes the key, unless another has it."""
        found = self._owners.setdefault(key, owner)
        if found is not owner:
            self._share(key, found, owner)

    def _share(self, key: Key, found: Owner | dict[bytes, Owner], owner: Owner) -> None:
        if not isinstance(found, dict):
            if name_of(found) == name_of(owner):
                return
            found = self._owners[key] = {name_of(found): found}
        found.setdefault(name_of(owner), owner)

    def discard(self, key: Key, owner: Owner) -> bool:
        """The owner gives the key back; did it have it?"""
        found = self._owners.get(key)
        if found is owner:
            del self._owners[key]
        elif isinstance(found, dict) and found.get(name_of(owner)) is owner:
            del found[name_of(owner)]
            if not found:
                del self._owners[key]
        else:
            return False
        return True

    def pass_on(self, rows: Iterable[JobRecord], jobs: Iterable[Job]) -> None:
        """The keys of rows go to the jobs that these are now."""
        owners = self._owners
        for row, job in zip(rows, jobs, strict=True):
            key = row.unique
            if key and owners.get(key) is row:  # as a rule
                owners[key] = job
            elif (other := coalesce_key(key or b"", row.data)) is not None and self.discard(other, row):
                self.add(other, job)

    def all_with(self, key: Key) -> Collection[Owner]:
        """Who has this key, whatever the functions."""
        found = self._owners.get(key)
        if found is None:
            return ()
        return found.values() if isinstance(found, dict) else (found,)

    # ---- bare ids

    def note(self, function: Function, key: Key, id_: int) -> None:
        """A bare id has the key."""
        self._hashes.add(hash(function.name) ^ hash(key), id_)
        self._names.add(function.name)

    def spill(self, function: Function, owners: Iterable[Owner]) -> None:
        """These leave memory, and the keys that they have go to their ids."""
        own, noted = self._owners, self._hashes.size
        salt = hash(function.name)
        for owner in owners:
            key: Key | None = owner.unique
            if key and own.get(key) is owner:  # as a rule
                del own[key]
            elif (key := coalesce_key(owner.unique or b"", owner.data)) is None or not self.discard(key, owner):
                continue
            self._hashes.add(salt ^ hash(key), owner.id)
        if self._hashes.size > noted:
            self._names.add(function.name)

    def strike(self, function: Function, key: Key, id_: int) -> None:
        """A bare id has the key no more."""
        self._hashes.discard(hash(function.name) ^ hash(key), id_)
        if not self._hashes.size:
            self._names.clear()

    def noted(self, function: Function, key: Key) -> Sequence[int]:
        """Bare ids that may have the key."""
        return self._hashes.get(hash(function.name) ^ hash(key))

    def noted_anywhere(self, key: Key, sees: Sees) -> Iterator[int]:
        """The same for all functions that are seen: those that have had bare ids are asked one by one."""
        for name in filter(sees, self._names):
            yield from self._hashes.get(hash(name) ^ hash(key))

    def __len__(self) -> int:
        """Keys in the dict; one that several functions use counts once."""
        return len(self._owners)


def name_of(owner: Owner) -> bytes:
    """The name of the owner's function."""
    return owner.function if isinstance(owner, JobRecord) else owner.function.name
