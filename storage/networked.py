"""What databases behind a network share: a session that may be cut, and one server a queue by a lock of the session.

The lock lives in the session that commits: a commit that went through was made by the queue's owner. A killed server
frees it by itself. A session that was cut may live on in the database, and end its transaction later: no new one is
used before the lock is had, so nothing of the old one can land after what the new one did. Such a ghost is told by a
second lock with a name of this process alone, and ended.
"""

import asyncio
import socket
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gearmand_py.storage.base import Changes, RowRefused, StorageError, StorageInUse, StorageRefused, StorageUnavailable
from gearmand_py.storage.credentials import Password, tls_context
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import SqlStorage

APPLICATION: Final = "gearmand-py"
CONNECT_SECONDS: Final = 5.0
# A session ends a moment after its process was killed; a second server is told after this time.
LOCK_SECONDS: Final = 3.0
LOCK_POLL_SECONDS: Final = 0.05
GOODBYE_SECONDS: Final = 1.0
# The database's own patience with locks that others hold, so that the operator reads what it waits for. Where a commit
# may take less, it is a quarter of that.
LOCK_WAIT_SECONDS: Final = 5
# After this many seconds without an acknowledgement by the other host the connection counts as lost.
DEAD_PEER_SECONDS: Final = 5


class Holder(NamedTuple):
    """Who has the queue."""

    session: int
    where: str  # for people
    ours: bool  # a former session of this process


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error of a database means: its kind, what to do, and whether the transaction may have been committed."""

    kind: type[StorageError]
    remedy: str
    unknown: bool = False

    def error(self, where: str, message: str) -> StorageError:
        """The same as an exception for the journal and the operator."""
        failure = self.kind(f"{where}: {message}: {self.remedy}" if self.remedy else f"{where}: {message}")
        failure.unknown_outcome = self.unknown
        return failure


class NetworkedStorage(SqlStorage):
    """A queue in a database that is reached over a network.

    `password`: asked at each connection, so that it may change. `patience`: seconds that a commit may take at most.
    """

    system = ""  # PostgreSQL, MySQL, MariaDB

    def __init__(self, url: URL, tables: Tables, *, node: int, password: Password, patience: float) -> None:
        self.node = node
        self._scheme = url.get_backend_name()
        self._password = password
        self._patience = patience
        self.lock_wait = max(1, min(LOCK_WAIT_SECONDS, int(patience / 4)))  # whole seconds, as MySQL counts them
        self._first_try = min(patience, max(patience / 3, self.lock_wait + 0.5))  # so that a lock is told as one
        self._allowed = self._first_try
        self._identity = token_bytes(8)
        self._driver: Any = None  # the driver's side of the held connection
        super().__init__(url, tables)

    @property
    def where(self) -> str:
        """The database for people: host, port, name and user, nothing that may be secret."""
        hosts = {key: value for key, value in self.url.query.items() if key in ("host", "port")}
        return self.url._replace(password=None).set(query=hosts, drivername=self._scheme).render_as_string()

    @property
    def description(self) -> str:
        """The same, with what answered there."""
        return f"{self.where} ({self.system})" if self.system else self.where

    # ---- for a dialect

    def connect_arguments(self) -> dict[str, Any]:
        """What SQLAlchemy's side of a connection is told."""
        return {}

    @abstractmethod
    async def connect_driver(self, **options: Any) -> Any:
        """A connection of the driver, with what is common to all our sessions."""

    @abstractmethod
    def transport_of(self, driver: Any) -> Any:
        """The asyncio transport of a driver's connection; None if it cannot be found."""

    @abstractmethod
    def is_lost(self, driver: Any) -> bool:
        """Whether the other side has closed this connection, as far as it is known here."""

    @abstractmethod
    def cut(self, driver: Any) -> None:
        """Drop a driver's connection without a word to the other side, and without waiting."""

    @abstractmethod
    async def say_goodbye(self, driver: Any) -> None:
        """End a session in order."""

    @abstractmethod
    async def settle_session(self, connection: AsyncConnection) -> None:
        """Check what the server is, and set what only the session that commits needs."""

    @abstractmethod
    async def try_lock(self, connection: AsyncConnection) -> bool:
        """Take the queue's lock and the one of this process, if they are free."""

    @abstractmethod
    async def holder(self, connection: AsyncConnection) -> Holder | None:
        """Who has the queue's lock."""

    @abstractmethod
    async def end_session(self, connection: AsyncConnection, session: int) -> None:
        """Have the database end a session of ours."""

    @abstractmethod
    async def transact(self, connection: AsyncConnection, changes: Changes) -> None:
        """What `write` is in a `SqlStorage`."""

    # ---- connecting

    def make_engine(self) -> AsyncEngine:
        """An engine whose connections are made by `_connect`. Raises StorageError for a URL that makes none."""
        arguments = {"async_creator_fn": self._connect, **self.connect_arguments()}
        try:
            return create_async_engine(self.url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
        except (ArgumentError, ValueError) as error:
            raise StorageError(f"{self.where}: {error}: correct --database") from None

    async def _connect(self, **options: Any) -> Any:
        password = self._password()
        if password is not None:
            options["password"] = password
        context = tls_context(options)
        if context is not None:
            options["ssl"] = context
        async with asyncio.timeout(CONNECT_SECONDS):
            driver = await self.connect_driver(**options)
        notice_dead_peers(self.transport_of(driver))
        return driver

    async def connection(self) -> AsyncConnection:
        """The held connection, which holds the queue; made anew if it was lost. Raises StorageError."""
        if self._driver is not None and self.is_lost(self._driver):
            await self.disconnect()  # while nobody asked anything of it: nothing was interrupted
        if self._connection is None:
            async with self._session() as connection:
                await self._take_queue(connection)
            return connection
        return self._connection

    async def look(self) -> AsyncConnection:
        """Connect without taking the queue."""
        async with self._session() as connection:
            return connection

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        """A new session, fit for use after the block. Raises StorageError."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS + LOCK_SECONDS):
                connection = await super().connection()
                self._driver = (await connection.get_raw_connection()).driver_connection
                await self.settle_session(connection)
                yield connection
                await connection.rollback()
        except StorageError:
            await self.disconnect()
            raise
        except Exception as error:
            await self.disconnect()
            raise self.translate(error) from error

    async def _take_queue(self, connection: AsyncConnection) -> None:
        """Take the lock; a former session of ours is ended. Raises StorageInUse."""
        clock = asyncio.get_running_loop().time
        until = clock() + LOCK_SECONDS
        while not await self.try_lock(connection):
            holder = await self.holder(connection)
            if holder and holder.ours:
                await self.end_session(connection, holder.session)
            elif clock() > until:
                who = f": session {holder.session}{holder.where}" if holder else ""
                raise StorageInUse(
                    f"{self.where}: another server has the queue of node {self.node}{who}: "
                    "stop it, or give this one another --node or --table-prefix"
                )
            await connection.rollback()
            await asyncio.sleep(LOCK_POLL_SECONDS)

    async def disconnect(self) -> None:
        """Give up the held connection at once; a database that hangs is not waited for."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if driver is not None:
            self.cut(driver)
        if connection is not None:
            with suppress(Exception):  # whatever is wrong with it is why it goes
                await connection.invalidate()
                await connection.close()

    async def close(self) -> None:
        """Let go of the queue. Safe to call twice, and when open() failed."""
        if self._driver is not None:
            with suppress(Exception):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self.say_goodbye(self._driver)
        await self.disconnect()
        await self.engine.dispose()

    # ---- writing

    async def write(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction, within a part of the `patience`.

        A session without an answer may be dead while others are not, so there is time for another. A database that is
        alive and slow gets more with each try.
        """
        allowed = self._allowed
        self._allowed = min(2 * allowed, self._patience)
        async with asyncio.timeout(allowed):
            await self.transact(connection, changes)
        self._allowed = self._first_try

    # ---- errors

    def network_fault(self, error: BaseException) -> StorageError | None:
        """What a failure of the network, not of the database, means."""
        for cause in chain_of(error):
            match cause:
                case socket.gaierror():
                    return StorageUnavailable(f"{self.where}: {cause.strerror}: check the host's name in --database")
                case PermissionError(filename=str(file)):  # a driver looks for certificates in the home directory
                    return StorageError(f"{self.where}: cannot read {file}: make it readable, or give {MODE_IN_URL}")
                case ConnectionRefusedError():
                    return StorageUnavailable(f"{self.where}: connection refused: is the database running there?")
                case TimeoutError():
                    return StorageUnavailable(f"{self.where}: no answer: {HANGS}")
                case ssl.SSLError():
                    return StorageUnavailable(f"{self.where}: {cause}: see sslmode and sslrootcert in --database")
                case ConnectionError() if "SSL upgrade" in str(cause):
                    return StorageUnavailable(
                        f"{self.where}: the other side offers no TLS: is it {self.system}? see sslmode in --database"
                    )
                case RuntimeError() if "the handler is closed" in str(cause):  # uvloop's word for a broken pipe
                    return StorageUnavailable(f"{self.where}: the connection was lost: is the database running there?")
                case OSError():
                    return StorageUnavailable(
                        f"{self.where}: {cause.strerror or cause}: is the database running there?"
                    )
        return None

    def unexpected(self, error: Exception) -> StorageError:
        """Whatever nobody thought of."""
        cause = list(chain_of(error))[-1]
        if isinstance(cause, OverflowError):
            return RowRefused(f"{self.where}: a number is too large: {cause}")
        if isinstance(cause, TypeError) and "unexpected keyword argument" in str(cause):
            return StorageError(f"{self.where}: the driver knows no parameter {str(cause).split()[-1]} of --database")
        return StorageRefused(f"{self.where}: {type(cause).__name__}: {cause}")

    def too_old(self, name: str, found: Sequence[int], needed: Sequence[int]) -> StorageError:
        """The server's version is not enough."""
        versions = [".".join(map(str, version)) for version in (found, needed)]
        return StorageError(f"{self.where}: {name} {versions[0]} is too old: {versions[1]} or later is needed")

    def lock_key(self, *scope: object) -> bytes:
        """16 bytes that stand for one queue; `scope` is what tells it from others in the reach of the lock."""
        name = "\0".join(map(str, (APPLICATION, *scope, self.tables.prefix, self.node)))
        return blake2b(name.encode(), digest_size=16).digest()


MODE_IN_URL: Final = "?sslmode=require or ?sslmode=disable in --database"
HANGS: Final = "is the database overloaded, stopped or cut off?"


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what SQLAlchemy wrapped in it, and what caused it."""
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__


def notice_dead_peers(transport: Any) -> None:
    """Have the kernel give up a connection whose other end is gone; its own patience is a quarter of an hour."""
    connection = transport.get_extra_info("socket") if transport else None
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", DEAD_PEER_SECONDS), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if option := getattr(socket, name, None):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, option, seconds)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):
        connection.setsockopt(socket.IPPROTO_TCP, option, DEAD_PEER_SECONDS * 1000)
