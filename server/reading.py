"""Tasks that read rows, each with a reader (a connection) of its own; a failing one is told of once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from gearmand_py.storage.base import Reader, StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE: Final = 0.5  # seconds before a failed read is tried again


class Reading:
    """Starts and ends the tasks. `make_reader` gives one that is not connected."""

    def __init__(self, make_reader: Callable[[], Reader]) -> None:
        self._make_reader = make_reader
        self._tasks: set[asyncio.Task[None]] = set()
        self.trouble = ""  # why rows cannot be read just now
        self.broken = asyncio.Event()  # a task has ended that should not

    def run(self, work: Callable[[Reader], Awaitable[None]]) -> asyncio.Task[None]:
        """Start a task that reads."""
        task = asyncio.create_task(self._with_reader(work), name="reading")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _with_reader(self, work: Callable[[Reader], Awaitable[None]]) -> None:
        reader = self._make_reader()
        try:
            await work(reader)
        except Exception:  # a bug of ours, or of a driver: half a server would be worse than none
            log.exception("reading rows failed in a way it should not")
            self.broken.set()
        finally:
            with suppress(Exception):
                await reader.close()

    async def stop(self) -> None:
        """Read nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def surely(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read, as often as it takes."""
        while (found := await self.once(read)) is None:
            await self.pause()
        return found

    async def once(self, read: Callable[[], Awaitable[T]]) -> T | None:
        """Read; None if that failed."""
        try:
            found = await read()
        except StorageError as error:
            self._tell(error)
            return None
        except Exception as error:  # of the system or a driver: no reason to stop reading
            log.debug("reading rows failed", exc_info=True)
            self._tell(error)
            return None
        if self.trouble:
            log.warning("waiting jobs are read again")
            self.trouble = ""
        return found

    @staticmethod
    async def pause() -> None:
        """Before a failed read is tried again."""
        await asyncio.sleep(PAUSE)

    def _tell(self, error: Exception) -> None:
        if not self.trouble:
            log.error("waiting jobs cannot be read: %s; those in memory go on", error)
        self.trouble = str(error)
