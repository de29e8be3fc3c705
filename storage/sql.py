"""What all SQL databases share: the engine, one held connection, and loading rows by primary key."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Executable, Select, TextClause, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.storage.base import Changes, JobRecord, Reader, StorageError, Update, node_of
from gearmand_py.storage.schema import Tables

# The order of JobRecord, which a test holds equal to the table's.
COLUMNS: Final = ("id", "function_name", "unique_key", "priority", "attempts", "node", "run_at", "reducer", "data")
# In one DELETE. MySQL's optimizer gives up on ranges, and reads the whole table, above some ten thousand.
IDS_PER_STATEMENT: Final = 1000


def statements(table: str, changes: Changes) -> list[str]:
    """A batch without its inserts as SQL for a database that is not in our process; all in it are numbers."""
    ids = changes.deletes
    script = [
        f"DELETE FROM {table} WHERE id IN ({','.join(map(str, ids[at : at + IDS_PER_STATEMENT]))})"
        for at in range(0, len(ids), IDS_PER_STATEMENT)
    ]
    return [*script, *updates_in(table, changes.updates), *changes.also]


def updates_in(table: str, updates: Iterable[Update]) -> Iterator[str]:
    """Rows with the same new state by one statement: a worker with 10,000 jobs that goes leaves them all alike."""
    alike = defaultdict[tuple[int, int], list[int]](list)
    for id_, attempts, run_at in {update.id: update for update in updates}.values():  # the last of a row holds
        alike[attempts, run_at].append(id_)
    for (attempts, run_at), ids in alike.items():
        for at in range(0, len(ids), IDS_PER_STATEMENT):
            which = ",".join(map(str, ids[at : at + IDS_PER_STATEMENT]))
            yield f"UPDATE {table} SET attempts = {attempts}, run_at = {run_at} WHERE id IN ({which})"


class SqlStorage(ABC):
    """A `Storage` over SQLAlchemy. One connection is held: pool checkouts cost more than a small transaction.

    A dialect says how to make the engine, how to write a batch, and what its driver's errors mean.
    """

    embedded = False  # the database is ours alone, and so is its schema
    before_reading: TextClause | None = None  # said at the beginning of a transaction that reads
    node: int | None = None  # whose rows are ours; None: all that there are
    if_there = "ON CONFLICT (node) DO UPDATE SET"  # what an INSERT does to a row of that key

    def __init__(self, url: URL, tables: Tables) -> None:
        self.url = url
        self.tables = tables
        self.engine: AsyncEngine = self.make_engine()
        quoted = self.engine.dialect.identifier_preparer.format_table  # for our own SQL
        self.table = quoted(tables.job)
        self._nodes = quoted(tables.nodes)
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

    @abstractmethod
    def reader(self) -> Reader:
        """A reader of the same queue, on a connection of its own."""

    async def advice(self) -> Sequence[str]:
        """What of the database's settings puts acknowledged jobs at risk, each with its remedy. Raises StorageError."""
        return ()

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
            except StorageError:
                raise
            except Exception as error:
                raise self.translate(error) from error
        return self._connection

    async def load(self, after: int, limit: int) -> Sequence[JobRecord]:
        """At most `limit` rows with an id above `after`, by id. Raises StorageError."""
        job = self.tables.job
        query = select(job).where(job.c.id > after).order_by(job.c.id).limit(limit)
        if self.node is not None:
            query = query.where(job.c.node == self.node)
        return [JobRecord(*row) for row in await self.read(query)]

    async def ids_below(self, node: int) -> int:
        """Ids of this node below this may have been given, whatever became of their rows. Raises StorageError."""
        nodes = self.tables.nodes
        found = await self.read(select(nodes.c.ids_below).where(nodes.c.node == node))
        return int(found[0][0]) if found else 0

    def _mark(self, bound: int) -> str:
        """What makes `ids_below` so."""
        into = f"INSERT INTO {self._nodes} (node, ids_below) VALUES ({node_of(bound)}, {bound})"
        return f"{into} {self.if_there} ids_below = {bound}"

    async def read(self, query: Select[Any]) -> Sequence[Any]:
        """The rows of a query. Raises StorageError."""
        connection = await self.connection()
        try:
            if self.before_reading is not None:
                await connection.execute(self.before_reading)
            rows: Sequence[Any] = (await connection.execute(query)).all()
            await connection.rollback()  # a read transaction left open would keep old rows alive
        except SQLAlchemyError as error:
            raise self.translate(error) from error
        return rows

    async def change(self, statement: Executable) -> None:
        """A transaction of one statement that is of no batch. Raises StorageError."""
        connection = await self.connection()
        try:
            await connection.execute(statement)
            await connection.commit()
        except SQLAlchemyError as error:
            raise self.translate(error) from error

    async def commit(self, changes: Changes) -> None:
        """Return once `changes` are on disk. Raises StorageError."""
        if changes.ids_below:
            changes = changes._replace(also=(*changes.also, self._mark(changes.ids_below)), ids_below=0)
        try:
            connection = await self.connection()
        except StorageError as error:
            error.unknown_outcome = False  # nothing was sent
            raise
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
