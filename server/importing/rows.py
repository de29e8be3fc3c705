"""What a row of gearmand's queue is as a job of ours, or why it is none."""

from hashlib import blake2b
from typing import Final, NamedTuple

from gearmand_py.server.jobs import NORMAL, PRIORITIES, coalesce_key
from gearmand_py.server.limits import LONGEST_FUNCTION, LONGEST_UNIQUE
from gearmand_py.storage.base import RUN_AT_ONCE
from gearmand_py.storage.gearmand.queue import Row

LATEST: Final = 2**63 - 1

# What no two jobs share: 16 bytes for a function and a key. Jobs that are never joined have none.
Key = bytes | None


class NotAJob(Exception):
    """A row cannot be a job; the text says why."""


class Wanted(NamedTuple):
    """What a row asks for."""

    function: bytes
    unique: bytes  # empty: none
    priority: int
    run_at: int  # as in a JobRecord
    data: bytes

    @property
    def key(self) -> Key:
        """See Key."""
        return key_of(self.function, self.unique, self.data)


def wanted(row: Row, now: int) -> Wanted:
    """Judge a row; `now` is in epoch seconds. Raises NotAJob."""
    function, unique = function_of(row.function), unique_of(row.unique)
    return Wanted(function, unique, priority_of(row.priority), time_of(row.when, now), row.data or b"")


def function_of(name: bytes | None) -> bytes:
    """The protocol separates names by NUL."""
    if not name:
        raise NotAJob("it has no function")
    if len(name) > LONGEST_FUNCTION:
        raise NotAJob(f"the function's name has {len(name)} bytes, more than {LONGEST_FUNCTION}")
    if b"\0" in name:
        raise NotAJob("there is a NUL in the function's name, which no worker could ask for")
    return name


def unique_of(key: bytes | None) -> bytes:
    """Of a key of 64 bytes gearmand keeps 63, and with SQLite and MySQL also the NUL that it puts behind them."""
    key = key or b""
    if len(key) > LONGEST_UNIQUE:
        raise NotAJob(f"the unique key has {len(key)} bytes, more than {LONGEST_UNIQUE}")
    if len(key) == LONGEST_UNIQUE:
        key = key.removesuffix(b"\0")
    if b"\0" in key:
        raise NotAJob("there is a NUL in the unique key, which would end it on its way to a worker")
    return key


def priority_of(number: object) -> int:
    """Without one it is normal."""
    if number is None:
        return NORMAL
    if not isinstance(number, int) or number not in PRIORITIES:
        raise NotAJob(f"its priority is {shown(number)}, not 0 (high), 1 (normal) or 2 (low)")
    return number


def time_of(when: object, now: int) -> int:
    """A time that has come is none."""
    if when is None:
        return RUN_AT_ONCE
    if not isinstance(when, int) or when > LATEST:
        raise NotAJob(f"its time is {shown(when)}, which is no number of seconds")
    return when if when > now else RUN_AT_ONCE


def key_of(function: bytes, unique: bytes, data: bytes) -> Key:
    """See Key."""
    key = coalesce_key(unique, data)
    if key is None:
        return None
    kind, key = (b"data", key[0]) if isinstance(key, tuple) else (b"key", key)
    hashed = blake2b(function, digest_size=16, person=kind)
    hashed.update(b"\0")  # in no function's name
    hashed.update(key)
    return hashed.digest()


def fingerprint(before: int, row: Row) -> int:
    """63 bits for a row and all before it."""
    unique, function, priority, data, when = row
    hashed = blake2b(repr((before, unique, function, priority, when, len(data or b""))).encode(), digest_size=8)
    hashed.update(data or b"")
    return int.from_bytes(hashed.digest()) >> 1


def shown(value: object) -> str:
    """A value that is no number we know, in a few characters."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 20 else f"{text[:20]}..."
