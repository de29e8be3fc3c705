"""Rows to exercise a storage with, and what a queue should hold after a batch: the contract of `commit` as a dict."""

from collections.abc import Sequence
from typing import Final

from gearmand_py.storage.base import RUN_AT_ONCE, Changes, JobRecord, Storage, Update

NOTHING: Final = Changes((), (), ())
ALL_AT_ONCE: Final = 1_000_000


def job(
    id: int,  # noqa: A002 - the table's word
    *,
    function: bytes = b"resize",
    unique: bytes | None = None,
    priority: int = 1,
    attempts: int = 0,
    node: int = 0,
    run_at: int = RUN_AT_ONCE,
    reducer: bytes | None = None,
    data: bytes = b"payload",
) -> JobRecord:
    """A row; ordinary where nothing is said."""
    return JobRecord(id, function, unique, priority, attempts, node, run_at, reducer, data)


def jobs(first: int, last: int) -> list[JobRecord]:
    """Rows with the ids from `first` to `last`, both included."""
    return [job(id_, data=b"%d" % id_) for id_ in range(first, last + 1)]


def insert(*records: JobRecord) -> Changes:
    """A batch that only inserts."""
    return Changes((), (), records)


def delete(*ids: int) -> Changes:
    """A batch that only deletes."""
    return Changes(ids, (), ())


def update(*updates: Update) -> Changes:
    """A batch that only updates."""
    return Changes((), updates, ())


async def everything(storage: Storage) -> list[JobRecord]:
    """All rows, by id."""
    return list(await storage.load(0, ALL_AT_ONCE))


async def ids(storage: Storage) -> list[int]:
    """The ids of all rows."""
    return [record.id for record in await everything(storage)]


def apply(changes: Changes, queue: dict[int, JobRecord]) -> None:
    """What a commit of `changes` makes of a queue, said without SQL."""
    for id_ in changes.deletes:
        queue.pop(id_, None)
    for id_, attempts, run_at in changes.updates:
        if id_ in queue:
            queue[id_] = queue[id_]._replace(attempts=attempts, run_at=run_at)
    for record in changes.inserts:
        queue.setdefault(record.id, record)


def by_id(queue: dict[int, JobRecord]) -> Sequence[JobRecord]:
    """The queue as `load` gives it."""
    return [queue[id_] for id_ in sorted(queue)]
