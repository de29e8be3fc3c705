"""What all SQL databases share: the engine, one held connection, and loading rows by primary key."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.storage.base import Changes, JobRecord, StorageError
from gearmand_py.storage.schema import gearman_job


class SqlStorage(ABC):
    """A `Storage` over SQLAlchemy. One connection is held: pool checkouts cost more than a small transaction.

    A dialect says how to make the engine, how to write a batch, and what its driver's errors mean.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine: AsyncEngine = self.make_engine()
        self._connection: AsyncConnection | None = None

    @property
    def description(self) -> str:
        """Where jobs are stored, for people; never a password."""
        return self.url.render_as_string(hide_password=True)

    # ---- for a dialect

    @abstractmethod
    def make_engine(self) -> AsyncEngine:
        """The engine for `self.url`; nothing is connected yet."""

    @abstractmethod
    def translate(self, error: Exception) -> StorageError:
        """What a driver's error means for the journal and for the operator."""

    @abstractmethod
    async def write(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction, durable when this returns. A StorageError says that the connection is still good; after
        any other exception it is replaced.
        """

    # ---- the Storage protocol

    async def open(self) -> None:
        """Connect. Raises StorageError."""
        await self.connection()

    async def look(self) -> AsyncConnection:
        """Connect without taking the queue, to read beside a running server. Raises StorageError."""
        return await self.connection()

    async def connection(self) -> AsyncConnection:
        """The held connection, made anew if it was lost. Raises StorageError."""
        if self._connection is None:
            try:
                self._connection = await self.engine.connect()
            except (SQLAlchemyError, OSError) as error:
                raise self.translate(error) from error
        return self._connection

    async def load(self, after: int, limit: int) -> Sequence[JobRecord]:
        """At most `limit` rows with an id above `after`, by id. Raises StorageError."""
        query = select(gearman_job).where(gearman_job.c.id > after).order_by(gearman_job.c.id).limit(limit)
        connection = await self.connection()
        try:
            rows = (await connection.execute(query)).all()
            await connection.rollback()  # a read transaction left open would keep old rows alive
        except SQLAlchemyError as error:
            raise self.translate(error) from error
        return [JobRecord(*row) for row in rows]

    async def commit(self, changes: Changes) -> None:
        """Return once `changes` are on disk. Raises StorageRefused or StorageUnavailable."""
        connection = await self.connection()
        try:
            await self.write(connection, changes)
        except StorageError:
            raise
        except Exception as error:
            await self.disconnect()
            raise self.translate(error) from error

    async def disconnect(self) -> None:
        """Give up the held connection; the next use makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError, OSError):  # it may be thrown away because it is broken
                await connection.close()

    async def close(self) -> None:
        """Let go of the queue. Safe to call twice, and when open() failed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
