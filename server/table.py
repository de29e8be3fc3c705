"""What reads the table while a server runs: rows from before the start, what the index wants, what packets need."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gearmand_py.server.front import Front
from gearmand_py.server.loader import Loader
from gearmand_py.server.reading import Reading
from gearmand_py.server.streaming import Streaming
from gearmand_py.storage.base import Reader

log = logging.getLogger(__name__)

# Seconds that a start waits for the rows to be known. What is known by then needs no scans, and is told in the log.
AT_ONCE: Final = 0.4


class TableReader:
    """Reads for the broker of a front, which is told where to ask for rows."""

    def __init__(self, make_reader: Callable[[], Reader], front: Front) -> None:
        self._make_reader = make_reader
        self._front = front
        self._broker = front.broker
        self._reading = Reading(make_reader)
        self._streaming: Streaming | None = None
        front.loader = Loader(self._reading, self._broker, begin=front.begin, end=front.end)

    async def take_up(self) -> None:
        """Begin to take up the rows there are. Raises StorageError."""
        reader = self._make_reader()
        try:
            upto = await reader.highest()
        finally:
            await reader.close()
        assert self._front.loader is not None
        self._front.loader.start()
        self._reading.run(self._tell_of_others)
        if upto:
            await self._stream(upto)

    async def _stream(self, upto: int) -> None:
        front = self._front
        assert front.loader is not None
        self._broker.ids.observe(upto)
        front.begin()
        streaming = Streaming(
            self._reading,
            self._broker,
            upto,
            begin=front.begin,
            end=front.end,
            finished=front.loader.let_workers_go_on,
        )
        self._streaming = front.streaming = streaming
        streaming.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(AT_ONCE):
                await streaming.done.wait()
                await front.loader.quiet.wait()
        if not streaming.done.is_set():
            streaming.start_scans()

    async def _tell_of_others(self, reader: Reader) -> None:
        for node, count in (await self._reading.surely(reader.others)).items():
            rows = counted(count, "job")
            log.warning("%s of node %d left alone: a server with --node %d runs them", rows, node, node)

    @property
    def broken(self) -> asyncio.Event:
        """Rows are not read any more, by a fault of ours."""
        return self._reading.broken

    @property
    def found(self) -> str:
        """The jobs that were there, for people."""
        stored = counted(self._broker.stored, "job")
        if self._streaming and not self._streaming.done.is_set():
            return f"more than {stored}"
        return stored

    async def stop(self) -> None:
        """Read nothing more."""
        await self._reading.stop()


def counted(number: int, word: str) -> str:
    """1 job, 2 jobs"""
    return f"{number} {word}{'' if number == 1 else 's'}"
