"""The start: the rows of the table are streamed into the index while the server serves. What that means for new jobs is
in replay.py.

Three readers: one goes through all rows by primary key; one finds out, with a scan, which functions have rows at all;
and one looks, with a scan too, for the unique keys that are submitted meanwhile, all that wait at a time.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from gearmand_py.server.broker import Broker
from gearmand_py.server.loader import Waiter
from gearmand_py.server.reading import Reading
from gearmand_py.server.replay import Replay, TableKey
from gearmand_py.storage.base import Entry, Reader

log = logging.getLogger(__name__)

# Rows that are taken in at one go: some 3 milliseconds in which nobody else is served.
PAGE: Final = 2000
KEYS_A_SCAN: Final = 2000
GATHER: Final = 0.01  # seconds in which submissions join a scan
YOUTH: Final = 1.0  # seconds in which workers wait for stored jobs instead of being told that there are none
SAY_EVERY: Final = 5.0  # seconds between two lines about how far it is


class Streaming:
    """`begin` and `end` are called around what changes the broker, `finished` in between when all rows are known."""

    def __init__(
        self,
        reading: Reading,
        broker: Broker,
        upto: int,
        *,
        begin: Callable[[], None],
        end: Callable[[], None],
        finished: Callable[[], None],
    ) -> None:
        self.replay = Replay(broker.index, upto)
        self.done = asyncio.Event()
        self._reading = reading
        self._begin = begin
        self._end = end
        self._finished = finished
        self._clock = asyncio.get_running_loop().time
        self._scans: list[asyncio.Task[None]] = []
        self._missed = asyncio.Event()
        self._searching: list[tuple[Waiter, Collection[TableKey]]] = []
        self._searched: list[Waiter] = []  # by the scan that runs
        self._waiting: list[Waiter] = []  # for the end

    def start(self) -> None:
        """Begin to stream."""
        self._reading.run(self._stream)

    def start_scans(self) -> None:
        """It takes a while: scan for what new jobs have to know."""
        for work in (self._look_for_functions, self._count, self._search):
            self._scans.append(self._reading.run(work))
        asyncio.get_running_loop().call_later(YOUTH, self._grow_old)

    def _grow_old(self) -> None:
        """Workers do not wait for it any more: there may be other jobs for them before it ends."""
        self.replay.young = False
        self._begin()
        self._finished()
        self._end()

    def look_up(self, keys: Collection[TableKey], waiter: Waiter) -> None:
        """Find out which of these rows there are, and call `unpark`; without keys, once all rows are known."""
        if keys and self._scans:
            self._searching.append((waiter, keys))
            self._missed.set()
        else:
            self._waiting.append(waiter)

    # ---- the rows

    async def _stream(self, reader: Reader) -> None:
        replay, began = self.replay, self._clock()
        say_at = began + SAY_EVERY
        while replay.position < replay.upto:
            entries = await self._reading.surely(partial(reader.entries, replay.position, replay.upto, PAGE))
            if not entries:
                break
            self._begin()
            replay.streamed(entries)
            self._end()
            if self._clock() >= say_at:
                say_at += SAY_EVERY
                log.info("taking up stored jobs while serving: %s", replay.progress)
        if self._scans:
            log.info("all %d stored jobs are taken up, after %.1f s", replay.rows, self._clock() - began)
        self._finish()

    def _finish(self) -> None:
        for scan in self._scans:
            scan.cancel()
        self._begin()
        self.replay.finish()
        for waiter in (*self._searched, *(waiter for waiter, _ in self._searching), *self._waiting):
            waiter.unpark()
        self._finished()
        self._end()
        self.done.set()

    # ---- scans

    async def _look_for_functions(self, reader: Reader) -> None:
        backlog = await self._reading.surely(partial(reader.backlog, 0, self.replay.upto))
        self._begin()
        self.replay.backlog_is(backlog)
        self._end()

    async def _count(self, reader: Reader) -> None:
        self.replay.total = await self._reading.surely(reader.count)

    async def _find(self, reader: Reader, keys: list[TableKey], after: int) -> list[Entry]:
        found: list[Entry] = []
        for at in range(0, len(keys), KEYS_A_SCAN):
            some = keys[at : at + KEYS_A_SCAN]
            found += await self._reading.surely(partial(reader.find, some, after, self.replay.upto))
        return found

    async def _search(self, reader: Reader) -> None:
        while True:
            await self._missed.wait()
            self._missed.clear()
            await asyncio.sleep(GATHER)
            searching, self._searching = self._searching, []
            self._searched = [waiter for waiter, _ in searching]
            keys = {key for _, wanted in searching for key in wanted}
            after = self.replay.position
            found = await self._find(reader, list(keys), after)
            self._begin()
            self.replay.learned(keys, found)
            for waiter in self._searched:
                waiter.unpark()
            self._searched = []
            self._end()
