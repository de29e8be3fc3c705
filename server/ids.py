"""Job ids and handles: given in time order, found again after a restart.

An id is 42 bits of milliseconds since 2024, 10 bits of node and 11 bits of sequence (storage/base.py). A handle is
`H:<host name>:<id>`; it is looked up by its id alone, so it outlives a restart and a change of host name.
"""

from typing import Final

from gearmand_py.storage.base import ID_NODE_SHIFT, ID_TIME_SHIFT, id_floor

SEQUENCE_MASK: Final = (1 << ID_NODE_SHIFT) - 1
# libgearman keeps a handle in 64 bytes with its terminator; 20 of them are for the number and its colon.
MAX_PREFIX: Final = 43


class Ids:
    """Gives ids that only grow, whatever the clock does."""

    __slots__ = ("_next", "_node")

    def __init__(self, node: int) -> None:
        self._node = node
        self._next = (node << ID_NODE_SHIFT) + 1  # 0 is no id: `load` asks for what is above one

    def advance(self, milliseconds: int) -> None:
        """Let ids follow the wall clock; a clock that went back is ignored."""
        self._next = max(self._next, id_floor(milliseconds, self._node))

    def observe(self, highest: int) -> None:
        """Never give an id at or below one that is already in the table."""
        if highest >= self._next:
            self._next = ((highest >> ID_TIME_SHIFT) + 1 << ID_TIME_SHIFT) | self._node << ID_NODE_SHIFT

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
