"""Group commit: the open batch goes to the storage, its outcome to the broker.

One task, one batch at a time, in order. There is no timer for rows that somebody waits for: when idle a batch commits
at once, when busy the next batch grows while this one is being synced. A batch that nobody waits for (deletes of
finished jobs) lingers a little to grow.

When the storage fails: `StorageUnavailable` is tried again, with backoff, until the outage has lasted `timeout`
seconds; `StorageRefused` is not. Then the batch's submitters are told, its deletes and updates go on their own if they
can, else wait in the next batch. Every later batch is a fresh try, so the journal recovers by itself.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from gearmand_py.server.batch import Batch
from gearmand_py.server.broker import Broker
from gearmand_py.storage.base import Changes, Storage, StorageError, StorageRefused, StorageUnavailable

log = logging.getLogger(__name__)

# Deletes alone: nobody waits, and a restart within this time runs a finished job once more at worst.
LINGER: Final = 0.005
FIRST_BACKOFF: Final = 0.05
LONGEST_BACKOFF: Final = 1.0
# Above these marks reading stops on the connections that submit background jobs, until the batch is taken. A batch of
# 20,000 rows is past the point where larger ones commit faster (docs/benchmarks.md).
HIGH_ROWS: Final = 20_000
HIGH_BYTES: Final = 32 * 1024 * 1024


class Outage:
    """Since when the storage fails, said once when it begins and once when it ends. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began: float | None = None
        self._unreachable_since: float | None = None
        self._rows_failed = False

    def failed(self, error: StorageError, changes: Changes) -> None:
        """A commit failed."""
        now = self._clock()
        if self._began is None:
            self._began = now
            log.error("background jobs cannot be stored: %s; foreground jobs go on", error)
        self._rows_failed = self._rows_failed or bool(changes.inserts)
        if isinstance(error, StorageRefused):
            self._unreachable_since = None
        elif self._unreachable_since is None:
            self._unreachable_since = now

    def succeeded(self, changes: Changes) -> bool:
        """A commit went through; is the storage as it should be? Deletes may go through where rows do not."""
        self._unreachable_since = None
        if self._rows_failed and not changes.inserts:
            return False
        if self._began is not None:
            log.warning("background jobs are stored again, after %.1f s", self._clock() - self._began)
            self._began = None
            self._rows_failed = False
        return True

    @property
    def unreachable_for(self) -> float:
        """Seconds since which it cannot be reached at all."""
        return 0.0 if self._unreachable_since is None else self._clock() - self._unreachable_since


class Journal:
    """`taken` and `settled` are called when a batch begins to be committed, and after its outcome."""

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
        self._taken = taken
        self._settled = settled
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._stopping = False
        self._outage = Outage(self._loop.time)
        self._backoff = 0.0
        self._gave_up = False  # the last batch's rows were not stored

    @property
    def full(self) -> bool:
        """The open batch is over its high mark."""
        batch = self._broker.batch
        return len(batch.inserts) + len(batch.adopted) >= HIGH_ROWS or batch.data_bytes >= HIGH_BYTES

    def wake(self) -> None:
        """Somebody waits for the open batch."""
        self._work.set()

    def linger(self) -> None:
        """The open batch has deletes that nobody waits for."""
        if self._lingering is None:
            self._lingering = self._loop.call_later(LINGER, self._work.set)

    async def run(self) -> None:
        """Commit batches until `stop`, and then once what is left."""
        while not self._stopping:
            await self._work.wait()
            self._work.clear()
            if self._lingering:
                self._lingering.cancel()
                self._lingering = None
            await self._settle(self._broker.take_batch())
        await self._settle(self._broker.take_batch())

    def stop(self) -> None:
        """Let `run` return once the open batch is settled. Nothing may be submitted any more."""
        self._stopping = True
        self._work.set()

    async def _settle(self, batch: Batch) -> None:
        self._taken()
        error = await self._commit(batch.changes(self._broker.node))
        if error is None:
            self._broker.committed(batch)
        else:
            await self._refuse(batch, error)
        self._settled()
        if error is not None and not self._stopping:
            await self._back_off()

    async def _commit(self, changes: Changes) -> StorageError | None:
        """Try until it is done, refused, or has taken too long."""
        if self._gave_up and (error := await self._probe(changes)):
            return error
        unknown = False
        while True:
            error = await self._attempt(changes)
            if error is not None:  # once unknown, no later failure makes it known
                unknown = error.unknown_outcome = unknown or error.unknown_outcome
            hopeless = isinstance(error, StorageRefused) or self._outage.unreachable_for > self._timeout
            if error is None or hopeless or self._stopping:
                return error
            await self._back_off()

    async def _probe(self, changes: Changes) -> StorageError | None:
        """After a batch was given up try the deletes first: while they fail no row is sent whose outcome is unknown."""
        error = await self._attempt(changes._replace(inserts=()))
        if error is not None:
            error.unknown_outcome = False
        return error

    async def _attempt(self, changes: Changes) -> StorageError | None:
        if not any(changes):
            return None
        try:
            await self._storage.commit(changes)
        except StorageError as error:
            return self._failed(error, changes)
        except Exception as error:  # a bug of ours or of a driver must cost a batch, not the server
            log.exception("the storage failed in a way it should not")
            return self._failed(StorageUnavailable(f"internal error: {error!r}"), changes)
        if self._outage.succeeded(changes):
            self._backoff = 0.0
            self._gave_up = False
        return None

    def _failed(self, error: StorageError, changes: Changes) -> StorageError:
        self._outage.failed(error, changes)
        return error

    async def _refuse(self, batch: Batch, error: StorageError) -> None:
        """Tell the submitters; the deletes and updates, which need no room, may go through where the rows did not."""
        self._gave_up = True
        changes = Changes(batch.deletes, list(batch.updates.values()), ())
        if not isinstance(error, StorageRefused) or await self._attempt(changes):
            self._broker.batch.inherit(batch)
        self._broker.refused(batch, str(error), unknown=error.unknown_outcome)

    async def _back_off(self) -> None:
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF) or FIRST_BACKOFF
        await asyncio.sleep(self._backoff)
