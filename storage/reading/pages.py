"""Many rows as one value that the database joins. A driver that works for each row then works once for a page.

A page is three texts, in which each row has an item that ends with a comma: its id, its unique key in hexadecimal, and
the rest. Few rows have a rest of their own, so each is taken apart once:

    117299614956126208,117299614956126209,
    61376636,N,
    1;0;0;100;726573697A65,1;0;0;100;6D61696C,

The end of each item is its own, not between two: whatever is cut off a text, an item is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from gearmand_py.storage.base import BY_PAYLOAD, Entry, Payload
from gearmand_py.storage.sql import IDS_PER_STATEMENT

NULL: Final = "N"  # no hexadecimal digit


class CutShort(Exception):
    """The database cut the page to fit some limit of its own."""


class Rest(NamedTuple):
    """What many rows have in common. `reducer` is None where it was not asked for, too."""

    function: bytes
    priority: int
    attempts: int
    run_at: int
    size: int
    reducer: bytes | None


class Rests(dict[str, Rest]):
    """Each taken apart at its first use."""

    def __missing__(self, text: str) -> Rest:
        priority, attempts, run_at, size, function, *more = text.split(";")
        reducer = optional(more[0]) if more else None
        rest = Rest(bytes.fromhex(function), int(priority), int(attempts), int(run_at), int(size), reducer)
        return self.setdefault(text, rest)


class Page(NamedTuple):
    """As it comes from the database. The texts are None when there are no rows."""

    rows: int
    ids: str | None
    keys: str | None
    rests: str | None

    @property
    def entries(self) -> list[Entry]:
        """Without payloads, some 0.6 microseconds each. Raises CutShort."""
        return [
            Entry._make((id_, rest.function, key, rest.priority, rest.attempts, rest.run_at, rest.size, None))
            for id_, key, rest in self.parts()
        ]

    def parts(self) -> Iterator[tuple[int, bytes | None, Rest]]:
        """Id, unique key and rest of each row. Raises CutShort."""
        ids, keys, rests = (items(text, self.rows) for text in self[1:])
        return zip(map(int, ids), map(optional, keys), map(Rests().__getitem__, rests), strict=True)


def items(text: str | None, count: int) -> Sequence[str]:
    """What stands before each comma. Raises CutShort if that is not `count` items."""
    found = text.split(",") if text else [""]
    if len(found) != count + 1 or found.pop():
        raise CutShort
    return found


def optional(text: str) -> bytes | None:
    """Bytes in hexadecimal, or NULL."""
    return None if text == NULL else bytes.fromhex(text)


def with_payloads(entries: Sequence[Entry], payloads: Mapping[int, Payload]) -> list[Entry]:
    """The same with the payloads of jobs that coalesce by them; one whose payload is not there was deleted since."""
    return [
        entry._replace(data=payloads[entry.id]) if entry.unique == BY_PAYLOAD else entry
        for entry in entries
        if entry.unique != BY_PAYLOAD or entry.id in payloads
    ]


def conditions(ids: Sequence[int]) -> Iterator[str]:
    """What together stands for all ids, none of them too long for a database."""
    for at in range(0, len(ids), IDS_PER_STATEMENT):
        yield f"id IN ({','.join(map(str, ids[at : at + IDS_PER_STATEMENT]))})"
