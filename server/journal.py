"""Group commit: the open batch goes to the storage, its outcome to the broker.

One task, one batch at a time, in order. There is no timer for rows that somebody waits for: when idle a batch commits
at once, when busy the next batch grows while this one is being synced. A batch that nobody waits for (deletes of
finished jobs) lingers a little to grow.

When the storage fails: after `StorageUnavailable` the batch is tried again, with backoff, until it has waited `timeout`
seconds; what is submitted meanwhile makes further batches, each with its own time, committed together with the first.
After `StorageRefused` nobody waits. When a batch is given up its submitters are told, and its deletes and updates go on
their own if they can, else with the next batch. Every later batch is a fresh try, so the journal recovers by itself.

`RowRefused` is one row's own fault: the batch is halved until that row stands alone. Only its submitters are told.

`StorageInUse` ends the journal, and with it the server: another one has taken the queue.

Rows whose ids are not below the bound that the database has for them take a higher one along (ids.py).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from gearmand_py.server.batch import Batch
from gearmand_py.server.broker import Broker
from gearmand_py.storage.base import (
    Changes,
    JobRecord,
    RowRefused,
    Storage,
    StorageError,
    StorageInUse,
    StorageRefused,
    StorageUnavailable,
    Update,
)

log = logging.getLogger(__name__)

# Deletes alone: nobody waits, and a restart within this time runs a finished job once more at worst.
LINGER: Final = 0.005
# When nothing was committed for so long, an empty batch is: that a database is gone is told before somebody needs it,
# and a session that says nothing is not taken for dead.
IDLE: Final = 10.0
FIRST_BACKOFF: Final = 0.05
LONGEST_BACKOFF: Final = 1.0
# Above these marks reading stops on the connections that submit background jobs, until the batch is taken. A batch of
# 20,000 rows is past the point where larger ones commit faster (docs/benchmarks.md).
HIGH_ROWS: Final = 20_000
HIGH_BYTES: Final = 32 * 1024 * 1024
# A submission waits for the batch before its own and for that. So where rows take long the mark is lower: as many as
# are written in this time, in seconds, but no fewer than make good use of a sync.
WRITING: Final = 0.06
LEAST_ROWS: Final = 1000
FIRST_ROWS: Final = 2000  # before it is known how long they take; the next batch but one may be the largest
SMALL: Final = 100  # rows, of a batch that takes as long as none


class Outage:
    """Since when the storage fails, said when it begins and when it ends, and once for each reason in between.

    `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._rows_failed = False
        self._reasons: set[str] = set()

    def failed(self, error: StorageError, changes: Changes) -> None:
        """A commit failed."""
        if self._began is None:
            self._began = self._clock()
            log.error("background jobs cannot be stored: %s; foreground jobs go on", error)
        elif str(error) not in self._reasons:
            log.warning("background jobs still cannot be stored: %s", error)
        self._reasons.add(str(error))
        # A delete whose sync failed may be done all the same: then doing it again proves nothing.
        in_doubt = isinstance(error, StorageRefused) and error.unknown_outcome
        self._rows_failed = self._rows_failed or bool(changes.inserts) or in_doubt

    def succeeded(self, changes: Changes) -> bool:
        """A commit went through; is the storage as it should be? Deletes may go through where rows do not."""
        if self._rows_failed and not changes.inserts:
            return False
        if self._began is not None:
            log.warning("background jobs are stored again, after %.1f s", self._clock() - self._began)
            self._began = None
            self._rows_failed = False
            self._reasons.clear()
        return True


@dataclass(slots=True)
class Taken:
    """A batch on its way: until when (event loop's seconds) it is tried, and whether it may be stored already."""

    batch: Batch
    deadline: float
    unknown: bool = False


class Pace:
    """How many rows may gather while a batch is committed, by how long the last ones took."""

    def __init__(self) -> None:
        self.most = FIRST_ROWS
        self._small = 0.0  # seconds that a small batch takes: more rows do not make it longer by that

    def note(self, rows: int, seconds: float) -> None:
        """So many were committed in that time."""
        if rows <= SMALL:
            self._small += (seconds - self._small) / 8
            return
        a_row = max(seconds - self._small, 0.0) / rows
        fitting = max(WRITING, self._small) / a_row if a_row else inf
        self.most = int(min(max((self.most + min(fitting, HIGH_ROWS)) / 2, LEAST_ROWS), HIGH_ROWS))


class Journal:
    """`taken` and `settled` are called when a batch begins to be committed, and after its outcome.

    `timeout`: seconds that a submission waits for a storage that is away.
    """

    def __init__(
        self,
        storage: Storage,
        broker: Broker,
        *,
        taken: Callable[[], None],
        settled: Callable[[], None],
        timeout: float,
    ) -> None:
        self._storage = storage
        self._broker = broker
        self._on_taken = taken
        self._on_settled = settled
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._idle = False  # since the last look
        self._stopping = False
        self._outage = Outage(self._loop.time)
        self._backoff = 0.0
        self._gave_up = False  # since the storage was last as it should be
        self._taken: list[Taken] = []  # the oldest first; more than one only while the storage is away
        self._pace = Pace()
        self._rows = 0  # in these while the storage is away
        self._bytes = 0

    @property
    def full(self) -> bool:
        """What waits is over its high mark."""
        batch = self._broker.batch
        return (
            len(batch.inserts) + len(batch.adopted) + len(batch.updates) + self._rows >= self._pace.most
            or batch.data_bytes + self._bytes >= HIGH_BYTES
        )

    def wake(self) -> None:
        """Somebody waits for the open batch."""
        self._work.set()

    def linger(self) -> None:
        """The open batch has deletes that nobody waits for."""
        if self._lingering is None:
            self._lingering = self._loop.call_later(LINGER, self._work.set)

    async def run(self) -> None:
        """Commit batches until `stop`, and then once what is left. Raises StorageInUse."""
        self._look_whether_idle()
        try:
            while not self._stopping:
                await self._work.wait()
                self._work.clear()
                if self._lingering:
                    self._lingering.cancel()
                    self._lingering = None
                await self._settle()
            await self._settle()
        finally:
            self._looking.cancel()

    def _look_whether_idle(self) -> None:
        if self._idle:
            self._work.set()
        self._idle = True
        self._looking = self._loop.call_later(IDLE, self._look_whether_idle)

    def stop(self) -> None:
        """Let `run` return once the open batch is settled. Nothing may be submitted any more."""
        self._stopping = True
        self._work.set()

    # ---- batches

    async def _settle(self) -> None:
        """Commit the open batch; while the storage is away, together with what comes meanwhile."""
        self._idle = self._broker.batch.empty
        self._take()
        self._on_taken()
        began = self._loop.time()
        while error := await self._commit():
            await self._give_up(error)
            self._on_settled()
            if self._stopping:
                return
            await self._back_off()
            self._take()
            self._count()
            began = self._loop.time()
        self._rows = self._bytes = 0
        if len(self._taken) == 1:
            batch = self._taken[0].batch
            self._pace.note(len(batch.inserts) + len(batch.updates), self._loop.time() - began)
        for taken in self._taken:
            self._broker.committed(taken.batch)
        self._taken.clear()
        self._on_settled()

    def _take(self) -> None:
        self._taken.append(Taken(self._broker.take_batch(), self._loop.time() + self._timeout))

    def _count(self) -> None:
        """What waits for the storage counts for the high mark."""
        batches = [taken.batch for taken in self._taken]
        self._rows = sum(len(batch.inserts) + len(batch.adopted) + len(batch.updates) for batch in batches)
        self._bytes = sum(batch.data_bytes for batch in batches)
        if not self.full:
            self._on_taken()

    async def _commit(self) -> StorageError | None:
        """Try once to commit all that is taken in one transaction.

        After a batch was given up the deletes go first: until they are through no row is sent whose outcome is
        unknown, so an outage of a week does not leave rows to be deleted by every client that tried.
        """
        changes = merged([taken.batch.changes(self._broker.node) for taken in self._taken])
        if self._gave_up and changes.deletes and (error := await self._attempt(changes._replace(inserts=()))):
            error.unknown_outcome = False
            return error
        if changes.inserts and (bound := self._broker.ids.to_reserve(int(self._broker.wall * 1000))):
            changes = changes._replace(ids_below=bound)
        error = await self._attempt(changes)
        if isinstance(error, RowRefused):
            error = await self._sift(changes)
        return error

    async def _sift(self, changes: Changes) -> StorageError | None:
        """Store all rows but those that the database does not take; the submitters of these are told."""
        parts = halves(changes)
        while parts:
            part = parts.pop()
            error = await self._attempt(part)
            if not isinstance(error, RowRefused):
                if error is not None:
                    error.unknown_outcome = True  # some parts are stored
                    return error
            elif not part.inserts:
                return StorageRefused(str(error))
            elif len(part.inserts) > 1:
                parts += halves(part)
            else:
                log.warning("a job was refused: %s", error)
                self._broker.refused_row(part.inserts[0].id, str(error))
                parts.append(part._replace(inserts=()))
        return None

    async def _give_up(self, error: StorageError) -> None:
        """Refuse the batches that waited long enough, or all if waiting does not help."""
        now = self._loop.time()
        for taken in self._taken:
            taken.unknown = taken.unknown or error.unknown_outcome  # once unknown, no later failure makes it known
        hopeless = self._stopping or isinstance(error, StorageRefused)
        while self._taken and (hopeless or now >= self._taken[0].deadline):
            await self._refuse(self._taken.pop(0), error)

    async def _refuse(self, taken: Taken, error: StorageError) -> None:
        """Tell the submitters; the deletes and updates, which need no room, may go through where the rows did not."""
        self._gave_up = True
        batch = taken.batch
        changes = Changes(batch.deletes, list(batch.updates.values()), ())
        if not isinstance(error, StorageRefused) or (any(changes) and await self._attempt(changes)):
            heir = self._taken[0].batch if self._taken else self._broker.batch  # the next: a later update is to win
            heir.inherit(batch)
        self._broker.refused(batch, str(error), unknown=taken.unknown)

    # ---- the storage

    async def _attempt(self, changes: Changes) -> StorageError | None:
        try:
            await self._storage.commit(changes)
        except StorageInUse:
            raise
        except RowRefused as error:
            return error
        except StorageError as error:
            self._outage.failed(error, changes)
            return error
        except Exception as error:  # a bug of ours or of a driver must cost a batch, not the server
            log.exception("the storage failed in a way it should not")
            failure = StorageUnavailable(f"internal error: {error!r}")
            self._outage.failed(failure, changes)
            return failure
        self._broker.ids.reserved(changes.ids_below)
        if self._outage.succeeded(changes):
            self._backoff = 0.0
            self._gave_up = False
        return None

    async def _back_off(self) -> None:
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF) or FIRST_BACKOFF
        await asyncio.sleep(self._backoff)


def merged(batches: list[Changes]) -> Changes:
    """Batches, oldest first, as one: a row that a later one deletes is not inserted."""
    if len(batches) == 1:
        return batches[0]
    gone: set[int] = set()
    deletes: list[int] = []
    updates: dict[int, Update] = {}
    inserts: list[JobRecord] = []
    for changes in reversed(batches):
        inserts[:0] = [record for record in changes.inserts if record.id not in gone]
        gone.update(changes.deletes)
    for changes in batches:
        deletes += changes.deletes
        updates.update((update.id, update) for update in changes.updates)
    return Changes(deletes, list(updates.values()), inserts)


def halves(changes: Changes) -> list[Changes]:
    """Two parts of a batch, the first one, with the deletes and updates, last. One row, or none, is not divided."""
    middle = len(changes.inserts) // 2
    if not middle:
        return [changes]
    first, second = changes.inserts[:middle], changes.inserts[middle:]
    return [Changes((), (), second), changes._replace(inserts=first)]
