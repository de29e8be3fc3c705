"""Reads rows while the server runs: those that the index wants ahead of need, and those that packets wait for.

Two tasks fill the heads of queues, so that large payloads of one do not keep others waiting; a third reads for packets.
Nothing here is on the way of a job that is in memory. What cannot be read is tried again for ever.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from gearmand_py.server.broker import Broker
from gearmand_py.server.reading import Reading
from gearmand_py.server.turns import let_in
from gearmand_py.storage.base import JobRecord, Reader

log = logging.getLogger(__name__)

FILLERS: Final = 2


class Waiter(Protocol):
    """Whose packets wait for rows."""

    def unpark(self) -> None:
        """What was missing has been read, and can be found now. For one who does not wait any more it is nothing."""


async def nothing() -> Sequence[JobRecord]:
    """No rows, in a turn of the loop of its own: jobs that are in memory come in pages too."""
    await asyncio.sleep(0)
    return ()


class Loader:
    """`begin` and `end` are called around what changes the broker."""

    def __init__(self, reading: Reading, broker: Broker, *, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._reading = reading
        self._broker = broker
        self._index = broker.index
        self._begin = begin
        self._end = end
        self._wanted = asyncio.Event()
        self._missed = asyncio.Event()
        self._misses: list[tuple[Waiter, Sequence[int]]] = []
        self._workers: dict[Waiter, None] = {}  # whose next job is on its way
        self._busy = 0
        self.quiet = asyncio.Event()  # all that is wanted is read
        self.quiet.set()

    def start(self) -> None:
        """Read from now on."""
        for _ in range(FILLERS):
            self._reading.run(self._fill)
        self._reading.run(self._look_up)

    # ---- ahead of need

    def wake(self) -> None:
        """The index wants rows."""
        self.quiet.clear()
        self._wanted.set()

    def await_head(self, worker: Waiter) -> None:
        """Call `unpark` once jobs have come."""
        self._workers[worker] = None

    def let_workers_go_on(self) -> None:
        """Jobs have come, or none will."""
        workers, self._workers = self._workers, {}
        for worker in workers:
            worker.unpark()

    async def _fill(self, reader: Reader) -> None:
        while True:
            await self._wanted.wait()
            fetch = self._index.next_fetch()
            if fetch is None:
                self._wanted.clear()
                if not self._busy:
                    self.quiet.set()
                continue
            ids = fetch.ids
            self._busy += 1
            rows = await self._reading.once(partial(reader.rows, ids)) if ids else await nothing()
            self._busy -= 1
            self._begin()
            if rows is None:
                self._index.put_back(fetch)
                self._end()
                await self._reading.pause()
                continue
            gone = self._broker.arrived(fetch, rows)
            self.let_workers_go_on()
            self._end()
            if self._broker.underway:
                let_in()
            if gone:
                log.warning("%d waiting jobs are gone: somebody else has deleted their rows", gone)

    # ---- for packets

    def look_up(self, ids: Sequence[int], waiter: Waiter) -> None:
        """Read these rows, let them visit the index, and call `unpark`."""
        self._misses.append((waiter, ids))
        self._missed.set()

    async def _look_up(self, reader: Reader) -> None:
        while True:
            await self._missed.wait()
            self._missed.clear()
            misses, self._misses = self._misses, []
            ids = list({id_: None for _, missing in misses for id_ in missing})
            self._broker.looking_up(ids)
            entries = await self._reading.surely(partial(reader.entries_of, ids))
            self._begin()
            self._index.visit(entries, ids)
            for waiter, _ in misses:
                waiter.unpark()
            self._index.dismiss()
            self._index.looked_up()
            self._end()
