"""What the server asks of a database: commit batches, read rows. And the errors a database may answer with.

The interface knows batches only; a single row is a batch of one. `JobRecord` is the row as it lies in the table,
apart from the bookkeeping that the server keeps around a job while it lives.

Errors, all `StorageError`; the text of each is made for the operator (what, where, remedy):

    StorageError
    ├── StorageInUse      another server holds this queue
    ├── SchemaTooOld      `gearmand-py migrate` is due
    ├── SchemaTooNew      the database was migrated by a newer program
    ├── StorageRefused    the database said no and will again until somebody acts: disk full, read-only, corrupt
    ├── RowRefused        one of the rows cannot be stored, now or later; the others could
    └── StorageUnavailable  it may work in a moment: locked, connection lost, restarting
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

# An id is 42 bits of milliseconds since 2024, 10 bits of node, 11 bits of sequence: time-ordered, so it is the submit
# time, the FIFO order and the handle in one.
ID_EPOCH_MS: Final = 1_704_067_200_000
ID_TIME_SHIFT: Final = 21
ID_NODE_SHIFT: Final = 11
MAX_NODE: Final = 1023

RUN_AT_ONCE: Final = 0
DEAD: Final = -1  # as run_at: attempts ran out; kept for people, never run by itself
BY_PAYLOAD: Final = b"-"  # as unique key: jobs with the same payload are one


# A large payload is a read-only view of the bytes it came in: cutting it out would be a copy.
Payload = bytes | memoryview


class StorageError(Exception):
    """The queue's database did not do what was asked.

    `unknown_outcome`: the failed commit may be found done after all.
    """

    unknown_outcome = False


class StorageInUse(StorageError):
    """Another server holds this queue."""


class SchemaTooOld(StorageError):
    """The tables are missing or older than this program."""


class SchemaTooNew(StorageError):
    """The tables were made by a newer program."""


class StorageRefused(StorageError):
    """The database refuses writes until somebody acts."""


class RowRefused(StorageError):
    """A row of the batch is too large, or not what the database takes; nothing was stored."""


class StorageUnavailable(StorageError):
    """The database cannot be reached just now; trying again may help."""

    unknown_outcome = True


class JobRecord(NamedTuple):
    """A row of gearman_job, in the order of its columns."""

    id: int
    function: bytes
    unique: bytes | None
    priority: int  # 0 high, 1 normal, 2 low
    attempts: int  # how often a worker took it and went away
    node: int  # which server owns the row
    run_at: int  # epoch seconds, RUN_AT_ONCE or DEAD
    reducer: bytes | None
    data: Payload


# A row of a tuple with all columns. `JobRecord` itself, and its `_make`, cost a call in Python.
new_record: Final[Callable[[tuple[Any, ...]], JobRecord]] = partial(tuple.__new__, JobRecord)


def records(rows: Iterable[tuple[Any, ...]]) -> list[JobRecord]:
    """Rows with all columns, as a driver gives them."""
    return list(map(new_record, rows))


class Entry(NamedTuple):
    """What an index keeps of a row."""

    id: int
    function: bytes
    unique: bytes | None
    priority: int
    attempts: int
    run_at: int
    size: int  # bytes of the payload
    data: Payload | None  # the payload where `unique` is BY_PAYLOAD


class Update(NamedTuple):
    """What may change in a row that is already there."""

    id: int
    attempts: int
    run_at: int


class Changes(NamedTuple):
    """One transaction: deletes first, then updates, then inserts, and `also`, statements that bind nothing.

    `ids_below`: from now on ids of its node (an id has it in it) below this may have been given; 0 leaves it as it is.

    Safe to repeat after an unknown outcome: a delete or update of a row that is gone and an insert of an id that is
    there change nothing.
    """

    deletes: Sequence[int]
    updates: Sequence[Update]
    inserts: Sequence[JobRecord]
    also: Sequence[str] = ()
    ids_below: int = 0


class Storage(Protocol):
    """One server's queue in one database. Not for use from several tasks at a time."""

    @property
    def description(self) -> str:
        """Where jobs are stored, for people; never a password."""

    async def open(self) -> None:
        """Connect and take the queue for this server alone. Raises StorageError."""

    async def load(self, after: int, limit: int) -> Sequence[JobRecord]:
        """At most `limit` rows with an id above `after`, by id. Raises StorageError."""

    def reader(self) -> "Reader | None":
        """A reader of the queue, not connected yet; None where nothing is stored. The caller closes it first."""

    async def commit(self, changes: Changes) -> None:
        """Return once `changes` are on disk. Without changes, once it is known that the storage is there.

        Raises RowRefused, StorageRefused or StorageUnavailable: then all or nothing holds. Raises StorageInUse when
        another server has taken the queue meanwhile.
        """

    async def close(self) -> None:
        """Let go of the queue. Safe to call twice, and when open() failed."""


class Reader(Protocol):
    """Reads our node's rows on a connection of its own, beside the storage that commits. For one task at a time.

    Every call may raise StorageError; the next one connects anew. So it does after a call that was cancelled. Between
    calls nothing is held in the database.
    """

    async def highest(self) -> int:
        """The highest id, 0 when there is none. Goes back by primary key to the last row of our node."""

    async def count(self) -> int:
        """How many rows there are, by a scan."""

    async def others(self) -> dict[int, int]:
        """How many rows of the table belong to other nodes, by their number, by a scan."""

    async def entries(self, after: int, upto: int, limit: int) -> Sequence[Entry]:
        """The first `limit` rows with after < id <= upto, by id."""

    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """Those that are there, in any order."""

    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """The same with their payloads, which must all fit into memory."""

    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """Functions and priorities of the rows with after < id <= upto that are to run at once, by a scan."""

    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """Rows with after < id <= upto that are not dead and have one of these functions and keys, by a scan."""

    async def close(self) -> None:
        """Disconnect. Safe to call twice. Comes before the storage's own, which has SQLite clear its log away."""


def node_of(id_: int) -> int:
    """Which node has given an id."""
    return id_ >> ID_NODE_SHIFT & MAX_NODE


def id_floor(milliseconds: int, node: int) -> int:
    """The lowest id that `node` gives at this wall-clock time (milliseconds since 1970)."""
    return (milliseconds - ID_EPOCH_MS) << ID_TIME_SHIFT | node << ID_NODE_SHIFT
