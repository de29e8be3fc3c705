"""Unique keys: one live job for each function and key.

Keys of jobs in memory are in a dict. Those of bare ids are hashes in a compact map: what it finds may be another key
with the same hash, so a hit is confirmed by the row.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from math import inf

from gearmand_py.server.compact import BIT, CompactMap
from gearmand_py.server.jobs import Function, Job

Key = bytes | tuple[bytes]
Sees = Callable[[bytes], bool]  # may somebody be told of the jobs of a function?


class Uniques:
    """Who has which key. Room is made for so many keys of bare ids as are `expected`."""

    __slots__ = ("_hashes", "_jobs", "_names")

    def __init__(self, expected: float = inf) -> None:
        # Few keys are in use by several functions: these have a dict of their jobs.
        self._jobs: dict[Key, Job | dict[Function, Job]] = {}
        self._hashes = CompactMap(expected)
        self._names: set[bytes] = set()  # of functions with hashes, since there were none

    @property
    def spilled(self) -> int:
        """Keys of bare ids."""
        return self._hashes.size

    def is_new(self, function: Function, key: Key) -> bool:
        """No job, in memory or not, has the key for sure. As is so for nearly all keys, and quickly told."""
        if key in self._jobs:
            return False
        hashes = self._hashes
        bit = (hash(function.name) ^ hash(key)) & hashes.bit_mask
        return not (hashes.size and hashes.bits[bit >> 3] & BIT[bit & 7])

    # ---- jobs in memory

    def get(self, function: Function, key: Key) -> Job | None:
        """The job in memory with this key."""
        found = self._jobs.get(key)
        if found is None:
            return None
        if isinstance(found, dict):
            return found.get(function)
        return found if found.function is function else None

    def add(self, key: Key, job: Job) -> None:
        """The job takes the key, unless another has it."""
        found = self._jobs.setdefault(key, job)
        if found is job:
            return
        if not isinstance(found, dict):
            if found.function is job.function:
                return
            found = self._jobs[key] = {found.function: found}
        found.setdefault(job.function, job)

    def discard(self, key: Key, job: Job) -> bool:
        """The job gives the key back; did it have it?"""
        found = self._jobs.get(key)
        if found is job:
            del self._jobs[key]
        elif isinstance(found, dict) and found.get(job.function) is job:
            del found[job.function]
            if not found:
                del self._jobs[key]
        else:
            return False
        return True

    def all_with(self, key: Key) -> Collection[Job]:
        """The jobs in memory with this key, whatever their functions."""
        found = self._jobs.get(key)
        if found is None:
            return ()
        return found.values() if isinstance(found, dict) else (found,)

    # ---- bare ids

    def note(self, function: Function, key: Key, id_: int) -> None:
        """A bare id, or what will be one soon, has the key."""
        self._hashes.add(hash(function.name) ^ hash(key), id_)
        self._names.add(function.name)

    def spill(self, job: Job) -> None:
        """The job leaves memory, and its key, if it has it, goes to its bare id."""
        key = job.coalesce_key
        if key is not None and self.discard(key, job):
            self.note(job.function, key, job.id)

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
        """Keys of jobs in memory; one that several functions use counts once."""
        return len(self._jobs)
