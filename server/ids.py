"""Job ids and handles: given in time order, found again after a restart.

An id is 42 bits of milliseconds since 2024, 10 bits of node and 11 bits of sequence (storage/base.py). A handle is
`H:<host name>:<id>`; it is looked up by its id alone, so it outlives a restart and a change of host name.

No id is given twice, not even that of a finished job, whose row is gone, by a server that was restarted when the clock
was set back. The database has a bound, and all ids below it count as given: a start goes on there. No row is stored
whose id is not below it; it is raised in the row's own transaction, by so much that this is seldom. Each start raises
it too, else the next one might give the ids of this one's foreground jobs, which raise nothing.
"""

from typing import Final

from gearmand_py.storage.base import ID_NODE_SHIFT, ID_TIME_SHIFT, id_floor

SEQUENCE_MASK: Final = (1 << ID_NODE_SHIFT) - 1
# libgearman keeps a handle in 64 bytes with its terminator; 20 of them are for the number and its colon.
MAX_PREFIX: Final = 43
# The bound is ahead of the clock by this: a statement each ten seconds.
AHEAD: Final = 10_000  # milliseconds
# Where ids are ahead of the clock themselves, after a restart, it is two million of them: restarts one after the other
# do not take ids further and further from the time at which they were given.
LEAST_AHEAD: Final = 1_000


class Ids:
    """Gives ids that only grow, whatever the clock does."""

    __slots__ = ("_bound", "_next", "_node")

    def __init__(self, node: int) -> None:
        self._node = node
        self._bound = 0  # as it is in the database
        self._next = (node << ID_NODE_SHIFT) + 1  # 0 is no id: `load` asks for what is above one

    def advance(self, milliseconds: int) -> None:
        """Let ids follow the wall clock; a clock that went back is ignored."""
        self._next = max(self._next, id_floor(milliseconds, self._node))

    def observe(self, highest: int) -> None:
        """Never give an id at or below one that is already in the table."""
        if highest >= self._next:
            self._next = ((highest >> ID_TIME_SHIFT) + 1 << ID_TIME_SHIFT) | self._node << ID_NODE_SHIFT

    def go_on(self, bound: int) -> None:
        """All below what the database has as the bound may have been given before."""
        self._bound = bound
        self._next = max(self._next, bound)

    def to_reserve(self, milliseconds: int, least: int = LEAST_AHEAD) -> int:
        """The bound that rows with the ids given so far need in the database, 0 where the one that is there will do.

        `milliseconds` is the wall clock, `least` how far at least the bound is to be ahead of the ids.
        """
        return self.bound_ahead(milliseconds, least) if self._next > self._bound else 0

    def bound_ahead(self, milliseconds: int, least: int = LEAST_AHEAD) -> int:
        """A bound with room above all ids given so far."""
        return max(self._next + (least << ID_TIME_SHIFT), id_floor(milliseconds + AHEAD, self._node))

    def reserved(self, bound: int) -> None:
        """The database has it now."""
        self._bound = max(self._bound, bound)

    def may_have_given(self, id_: int) -> bool:
        """Whether it can be the id of a job of ours."""
        return id_ < self._next

    def take(self) -> int:
        """The next id. A full sequence borrows from the next millisecond."""
        taken = self._next
        if taken & SEQUENCE_MASK == SEQUENCE_MASK:
            self._next = taken - SEQUENCE_MASK + (1 << ID_TIME_SHIFT)
        else:
            self._next = taken + 1
        return taken


def handle_prefix(word: str, host: str) -> bytes:
    """What handles start with: `H:<host name>:`, or `<word>:` when the operator chose one."""
    prefix = word or f"H:{host}"
    return prefix.encode()[: MAX_PREFIX - 1] + b":"


def id_of(handle: bytes) -> int | None:
    """The id in a handle; None when there is none."""
    digits = handle.rpartition(b":")[2]
    if not digits.isdigit() or len(digits) > 19:
        return None
    return int(digits)
