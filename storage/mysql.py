"""The queue in MySQL or MariaDB: a batch as a few statements in one packet, over aiomysql or asyncmy.

Numbers stand in the statements as they are and short bytes as hexadecimal literals: safe by construction, and several
times faster than the driver's escaping. A row that is there already meets `ON DUPLICATE KEY UPDATE id = id`: IGNORE
would also let a value through that was cut short.
"""

import asyncio
import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, Final

from pymysql.constants import CLIENT
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.storage.base import Changes, JobRecord, RowRefused, StorageError, StorageRefused, StorageUnavailable
from gearmand_py.storage.networked import (
    APPLICATION,
    Fault,
    Holder,
    NetworkedStorage,
    chain_of,
)
from gearmand_py.storage.reading.mysql import MysqlReader
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import COLUMNS, statements

OLDEST_MYSQL: Final = (8, 0)
OLDEST_MARIADB: Final = (10, 6)

ROWS_PER_STATEMENT: Final = 1000
# Up to this size a packet is worth filling. Larger rows go alone, up to the server's max_allowed_packet.
PACKET_BYTES: Final = 1024 * 1024
# A hexadecimal literal is twice its bytes; large payloads are escaped instead, which seldom makes them longer.
LONGEST_HEX: Final = 1024
# A payload is escaped by so many bytes at a time, and a batch with one of several such pieces is put into words in a
# thread, so that the loop can go on in between.
PIECE: Final = 256 * 1024

GONE: Final = Fault(StorageUnavailable, "is the database running?", unknown=True)
BUSY: Final = Fault(StorageUnavailable, "another session holds a lock on the table: see SHOW PROCESSLIST")
FULL: Final = Fault(StorageUnavailable, "make room on the database's disk", unknown=True)
DENIED: Final = Fault(StorageUnavailable, "check the user in --database and the password; see --database-password-file")
STANDBY: Final = Fault(StorageUnavailable, "this is a replica: point --database at the primary")
NO_DATABASE: Final = Fault(StorageUnavailable, "create it, or correct its name in --database")
FORBIDDEN: Final = Fault(StorageRefused, "grant the user of --database what it needs")
CROWDED: Final = Fault(StorageUnavailable, "raise max_connections, or end some sessions")
TOO_LARGE: Final = Fault(RowRefused, "raise max_allowed_packet of the database, or lower --max-packet-size")
BAD_ROW: Final = Fault(RowRefused, "")
UNKNOWN: Final = Fault(StorageRefused, "look at the database's log", unknown=True)

# By error number; those above 2000 are the driver's own, above 1900 MariaDB's, above 4000 MySQL's newer ones.
FAULTS: Final = {
    **dict.fromkeys((1053, 1077, 1078, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927), GONE),
    **dict.fromkeys((2000, 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2027, 2055, 4031), GONE),
    **dict.fromkeys((1205, 1213), BUSY),
    **dict.fromkeys((1021, 1026, 1030, 1114, 1180, 3), FULL),
    **dict.fromkeys((1045, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 4151), DENIED),
    **dict.fromkeys((1290, 1792, 1836), STANDBY),
    1049: NO_DATABASE,
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), FORBIDDEN),
    **dict.fromkeys((1040, 1203, 1226), CROWDED),
    1146: Fault(StorageRefused, "was the table dropped? restore it; gearmand-py migrate tells more"),
    1153: TOO_LARGE,
    **dict.fromkeys((1048, 1264, 1265, 1366, 1406), BAD_ROW),
    **dict.fromkeys((1644, 3819, 4025), BAD_ROW),  # a trigger's SIGNAL, a CHECK of MySQL, of MariaDB
}
# After these the transaction can be rolled back and the session used again. One that lacks a right never gets it, and
# one that has no table stands in the way of `migrate`.
STILL_GOOD: Final = frozenset({1205, 1213, 1048, 1264, 1265, 1366, 1406, 1021, 1114, 1644, 3819, 4025})

# Strict: a value is never cut to fit. In some character sets a backslash may be the second half of a character, and
# would escape nothing; in this one it never is. Our session says something every 10 seconds (IDLE in journal.py): when
# our host has vanished the queue is free after a minute.
SESSION: Final = {
    # The further ones are not for us: without them MySQL warns in each session.
    "sql_mode": "'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
    "character_set_client": "utf8mb4",
    "wait_timeout": 60,
}
SERVER: Final = text("SELECT version(), database(), @@max_allowed_packet")
LOCK: Final = text("SELECT get_lock(:queue, 0) = 1 AND get_lock(:process, 0) = 1")
HOLDER: Final = text("SELECT is_used_lock(:queue) AS session, is_used_lock(:process) AS own")
HOLDERS_HOST: Final = text("SELECT host FROM information_schema.processlist WHERE id = :session")
DURABILITY: Final = text("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@log_bin, @@sync_binlog")
ENGINE: Final = text(
    "SELECT engine FROM information_schema.tables WHERE table_schema = database() AND table_name = :name"
)

LAST_ONES: Final = "the jobs acknowledged last may be lost"


class MysqlStorage(NetworkedStorage):
    """A queue in a database of a MySQL or MariaDB server."""

    system = ""
    if_there = "ON DUPLICATE KEY UPDATE"

    def __init__(self, url: URL, tables: Tables, **settings: Any) -> None:
        self._locks: dict[str, str] = {}
        self._largest_packet = 0
        super().__init__(url, tables, **settings)
        self._insert = f"INSERT INTO {self.table} ({','.join(COLUMNS)}) VALUES "

    # ---- connecting

    def make_engine(self) -> AsyncEngine:
        """SQLAlchemy's dialect of MySQL for both: it finds out by itself which one answers."""
        self.url = self.url.set(drivername=f"mysql+{self.url.get_driver_name()}")
        return super().make_engine()

    async def connect_driver(self, **options: Any) -> Any:
        """aiomysql, or the driver that the URL names."""
        driver = importlib.import_module(self.url.get_driver_name())
        options["client_flag"] = options.get("client_flag", 0) | CLIENT.MULTI_STATEMENTS
        if password := options.get("password"):  # the drivers encode it as latin1; to the server it is UTF-8
            options["password"] = password.encode().decode("latin1")
        connection = await driver.connect(**{"program_name": APPLICATION, **options})
        if options.get("ssl") and not getattr(connection, "_secure", True):
            connection.close()
            raise StorageError(
                f"{self.where}: the database offers no TLS: set it up there, or change sslmode in --database"
            )
        return connection

    def transport_of(self, driver: Any) -> Any:
        """Neither driver shows it; without it a dead peer is noticed later."""
        return getattr(driver, "_transport", None) or getattr(getattr(driver, "_writer", None), "transport", None)

    def is_lost(self, driver: Any) -> bool:
        """Whether the end of the stream was read; asyncmy has no reader."""
        reader = getattr(driver, "_reader", None)
        return bool(reader.at_eof() if reader else getattr(driver, "_stream_broken", False))

    def cut(self, driver: Any) -> None:
        """Drop the connection."""
        if transport := self.transport_of(driver):
            transport.abort()
        driver.close()

    async def say_goodbye(self, driver: Any) -> None:
        """End the session."""
        await driver.ensure_closed()

    async def settle_session(self, connection: AsyncConnection) -> None:
        """Refuse old servers; be strict; tell when we wait for a lock."""
        version, database, self._largest_packet = (await connection.execute(SERVER)).one()
        name, oldest = ("MariaDB", OLDEST_MARIADB) if "MariaDB" in version else ("MySQL", OLDEST_MYSQL)
        self.system = f"{name} {version.partition('-')[0]}"
        numbers = tuple(int(part) for part in version.partition("-")[0].split("."))
        if numbers < oldest:
            raise self.too_old(name, numbers, oldest)
        self._locks = {
            "queue": f"{APPLICATION} {self.lock_key(database).hex()}",
            "process": f"{APPLICATION} {self._identity.hex()}",
        }
        waits = dict.fromkeys(("innodb_lock_wait_timeout", "lock_wait_timeout"), self.lock_wait)
        settings = ", ".join(f"SESSION {name} = {value}" for name, value in {**SESSION, **waits}.items())
        await connection.exec_driver_sql(f"SET {settings}")

    # ---- the queue's lock

    async def try_lock(self, connection: AsyncConnection) -> bool:
        """Locks of the session."""
        return bool(await connection.scalar(LOCK, self._locks))

    async def holder(self, connection: AsyncConnection) -> Holder | None:
        """From the server's own list of locks and sessions."""
        session, own = (await connection.execute(HOLDER, self._locks)).one()
        if session is None:
            return None
        host = await connection.scalar(HOLDERS_HOST, {"session": session})
        return Holder(session, f" from {host}" if host else "", session == own)

    async def end_session(self, connection: AsyncConnection, session: int) -> None:
        """The same user may. It may also have ended by itself."""
        with suppress(SQLAlchemyError):
            await connection.exec_driver_sql(f"KILL {session}")

    # ---- writing

    async def transact(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction, in one packet where it fits."""
        first = [statement.encode() for statement in statements(self.table, changes)]
        try:
            script = chain([b"BEGIN"], first, self._inserts(changes.inserts), [b"COMMIT"])
            await self._run(script, large=any(len(row.data) > PACKET_BYTES for row in changes.inserts))
        except Exception as error:
            if not isinstance(error, RowRefused) and number_of(error) not in STILL_GOOD:
                raise
            await self._run([b"ROLLBACK"])
            failure = self.translate(error)
            if failure is error:
                raise
            raise failure from error

    async def _run(self, script: Iterable[bytes], *, large: bool = False) -> None:
        """Packet by packet: a large batch does not keep the loop from others while it is put into words."""
        following = partial(next, packets(script, min(PACKET_BYTES, self._largest_packet)), None)
        async with self._driver.cursor() as cursor:
            while packet := await asyncio.to_thread(following) if large else following():
                await cursor.execute(packet)
                while await cursor.nextset():
                    pass

    def _inserts(self, rows: Sequence[JobRecord]) -> Iterator[bytes]:
        """Raises RowRefused for a row that no packet can hold."""
        for at in range(0, len(rows), ROWS_PER_STATEMENT):
            yield from self._insert_of(rows[at : at + ROWS_PER_STATEMENT])

    def _insert_of(self, rows: Sequence[JobRecord]) -> Iterator[bytes]:
        """One statement, or several if it would be too large."""
        if len(rows) > 1 and sum([len(row.data) for row in rows]) > PACKET_BYTES // 2:
            statement = None
        else:
            statement = b"".join((self._insert.encode(), values(rows), b" ON DUPLICATE KEY UPDATE id=id"))
        if statement and len(statement) < self._largest_packet:
            yield statement
        elif len(rows) == 1:
            raise TOO_LARGE.error(
                self.where, f"a job of {len(rows[0].data)} bytes does not fit into {self._largest_packet}"
            )
        else:
            half = len(rows) // 2
            yield from self._insert_of(rows[:half])
            yield from self._insert_of(rows[half:])

    # ---- looking

    def reader(self) -> MysqlReader:
        """Takes no lock."""
        return MysqlReader(self, self._patience)

    async def advice(self) -> list[str]:
        """Settings of the database on which the promise depends."""
        connection = await self.connection()
        flush, doublewrite, binlog, sync_binlog = (await connection.execute(DURABILITY)).one()
        engine = await connection.scalar(ENGINE, {"name": self.tables.job_name})
        await connection.rollback()
        risks = (
            (engine != "InnoDB", f"{engine}, the table's engine, keeps no promise: ALTER TABLE ... ENGINE=InnoDB"),
            (flush != 1, f"innodb_flush_log_at_trx_commit is {flush}: {LAST_ONES} in a crash: set it to 1"),
            (binlog and sync_binlog != 1, f"sync_binlog is {sync_binlog}: {LAST_ONES} in a power cut: set it to 1"),
            (str(doublewrite) in {"0", "OFF"}, "innodb_doublewrite is off: a power cut may destroy the queue"),
        )
        return [f"{self.where}: {risk}" for there, risk in risks if there]

    # ---- errors

    def translate(self, error: Exception) -> StorageError:
        """MySQL's error numbers, in an operator's words."""
        for cause in chain_of(error):
            if isinstance(cause, StorageError):
                return cause
            number = number_of(cause)
            if number in CLIENT_SIDE and (fault := self.network_fault(error)):
                return fault
            if number:
                return FAULTS.get(number, UNKNOWN).error(self.where, str(cause.args[-1]))
        return self.network_fault(error) or self.unexpected(error)


CLIENT_SIDE: Final = range(2000, 3000)


def number_of(error: BaseException) -> int:
    """The error number of a driver's exception; 0 when it is none. The two drivers have trees of their own."""
    is_ours = type(error).__module__.partition(".")[0] in ("pymysql", "asyncmy", "aiomysql")
    return int(error.args[0]) if is_ours and error.args and isinstance(error.args[0], int) else 0


def values(rows: Sequence[JobRecord]) -> bytes:
    """Rows as literals."""
    if max([len(row.data) for row in rows]) <= LONGEST_HEX:
        return ",".join(
            [
                f"({id_},x'{function.hex()}',{literal(unique)},{priority},{attempts},{node},{run_at},{literal(reducer)},"
                f"x'{data.hex()}')"
                for id_, function, unique, priority, attempts, node, run_at, reducer, data in rows
            ]
        ).encode()
    return b",".join([row_of_any_size(row) for row in rows])


def literal(value: bytes | None) -> str:
    """Short bytes, or NULL."""
    return "NULL" if value is None else f"x'{value.hex()}'"


def row_of_any_size(row: JobRecord) -> bytes:
    """The same, with the payload escaped."""
    pieces = [
        bytes(row.data[at : at + PIECE]).replace(b"\\", b"\\\\").replace(b"'", b"\\'")
        for at in range(0, len(row.data), PIECE)
    ]
    numbers = f"{row.priority},{row.attempts},{row.node},{row.run_at}"
    columns = f"({row.id},{literal(row.function)},{literal(row.unique)},{numbers},{literal(row.reducer)},_binary'"
    return b"".join((columns.encode(), *pieces, b"')"))  # a join of bytes lets others run meanwhile


def packets(script: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Statements joined to packets of at most `limit` bytes, except for a statement that is longer by itself."""
    packet: list[bytes] = []
    size = 0
    for statement in script:
        if packet and size + len(statement) + len(packet) >= limit:
            yield b";".join(packet)
            packet, size = [], 0
        packet.append(statement)
        size += len(statement)
    yield b";".join(packet)
