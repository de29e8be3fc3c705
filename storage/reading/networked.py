"""Readers of databases behind a network: a session of their own, which holds nothing between calls.

It takes no lock of the queue's, and has all else that protects the session that commits: passwords, TLS, dead peers.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gearmand_py.storage.base import Entry, JobRecord, StorageError
from gearmand_py.storage.networked import GOODBYE_SECONDS, NetworkedStorage

# A scan may take this many times what a commit may: its time grows with the table.
SCAN_PATIENCE: Final = 20


class NetworkedReader(ABC):
    """`patience`: seconds that a read by primary key may take at most."""

    def __init__(self, storage: NetworkedStorage, patience: float) -> None:
        assert storage.node is not None
        self.storage = storage
        self.node = storage.node
        self.patience = patience
        self.scan_patience = SCAN_PATIENCE * patience
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    # ---- for a dialect

    @abstractmethod
    async def settle_session(self, driver: Any) -> None:
        """Set what a session that reads needs."""

    @abstractmethod
    async def highest(self) -> int:
        """The highest id."""

    @abstractmethod
    async def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    async def others(self) -> dict[int, int]:
        """How many rows other nodes have."""

    @abstractmethod
    async def entries(self, after: int, upto: int, limit: int) -> Sequence[Entry]:
        """A page by id."""

    @abstractmethod
    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """Those that are there."""

    @abstractmethod
    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """Those that are there."""

    @abstractmethod
    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """Functions and priorities with jobs to run."""

    @abstractmethod
    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """Rows by function and unique key."""

    # ---- the session

    @asynccontextmanager
    async def session(self, patience: float) -> AsyncIterator[Any]:
        """The driver's connection, made anew if it was lost. After a failure, and when it is cancelled, it is dropped:
        nobody knows what is still to come on it. Raises StorageError.
        """
        try:
            async with asyncio.timeout(patience):
                yield await self._connected()
        except StorageError:
            await self._disconnect()
            raise
        except Exception as error:
            await self._disconnect()
            raise self.storage.translate(error) from error
        except BaseException:
            await self._disconnect()
            raise

    async def _connected(self) -> Any:
        if self._driver is not None and self.storage.is_lost(self._driver):
            await self._disconnect()
        if self._driver is None:
            self._connection = connection = await self.storage.engine.connect()
            self._driver = (await connection.get_raw_connection()).driver_connection
            await self.storage.settle_session(connection)
            await connection.rollback()
            await self.settle_session(self._driver)
        return self._driver

    async def _disconnect(self) -> None:
        """Without a word to the other side, and without waiting for it."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if driver is not None:
            self.storage.cut(driver)
        if connection is not None:
            with suppress(Exception):  # whatever is wrong with it is why it goes
                await connection.invalidate()
                await connection.close()

    async def close(self) -> None:
        """End the session. Safe to call twice."""
        if self._driver is not None:
            with suppress(Exception):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self.storage.say_goodbye(self._driver)
        await self._disconnect()
