"""The queue in PostgreSQL: COPY for rows, one held asyncpg connection, and a way through transaction-pooling proxies.

COPY takes a fifth of the processor time of `INSERT ... SELECT FROM unnest(...)` on our side and half of it in the
database (docs/benchmarks.md), but does not know ON CONFLICT. Rows are there already only when a batch is repeated after
an unknown outcome: then COPY fails, and the batch is done again with the slower statement.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
from asyncpg import PostgresError
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    InterfaceError,
    InternalClientError,
    UniqueViolationError,
)
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gearmand_py.storage.base import Changes, JobRecord, RowRefused, StorageError, StorageRefused, StorageUnavailable
from gearmand_py.storage.networked import (
    APPLICATION,
    DEAD_PEER_SECONDS,
    Fault,
    Holder,
    NetworkedStorage,
    chain_of,
)
from gearmand_py.storage.reading.postgresql import PostgresReader
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import COLUMNS, statements

OLDEST: Final = 13
ARRAY_TYPES: Final = ("bigint", "bytea", "bytea", "smallint", "smallint", "smallint", "bigint", "bytea", "bytea")

# By SQLSTATE, the longest prefix that matches. A server that was told to stop, or fails over, is waited for.
FAULTS: Final = {
    "08": Fault(StorageUnavailable, "is the database running?", unknown=True),
    # A proxy has this for all that it refuses.
    "08P01": Fault(
        StorageUnavailable, "check user, password and database of --database, and the proxy's log", unknown=True
    ),
    "22": Fault(RowRefused, ""),
    "23": Fault(RowRefused, ""),
    "25006": Fault(
        StorageUnavailable,
        "this is a standby, or the user has default_transaction_read_only: point --database at the primary",
    ),
    "28": Fault(StorageUnavailable, "check the user in --database and the password; see --database-password-file"),
    "3D000": Fault(StorageUnavailable, "create it, or correct its name in --database"),
    "40": Fault(StorageUnavailable, "tried again"),
    "40003": Fault(StorageUnavailable, "tried again", unknown=True),
    "42501": Fault(StorageRefused, "grant the user of --database what it needs"),
    "42P01": Fault(StorageRefused, "was the table dropped? restore it; gearmand-py migrate tells more"),
    "53100": Fault(StorageUnavailable, "make room on the database's disk"),
    "53200": Fault(StorageUnavailable, "give the database more memory"),
    "53300": Fault(StorageUnavailable, "raise max_connections, or end some sessions"),
    "54": Fault(RowRefused, ""),
    "P0": Fault(RowRefused, ""),  # a trigger's RAISE EXCEPTION
    "55P03": Fault(StorageUnavailable, "another session holds a lock on the table: see pg_locks"),
    "57014": Fault(StorageUnavailable, "the statement was cancelled", unknown=True),
    "57": Fault(StorageUnavailable, "is the database being restarted?", unknown=True),
    "58": Fault(StorageUnavailable, "look at the database's log", unknown=True),
    "": Fault(StorageRefused, "look at the database's log", unknown=True),
}
# After these our session is of no use: another may reach a server that can write. And without a table it only stands in
# the way of `migrate`.
LOST: Final = ("08", "25006", "40003", "42P01", "57P", "58")

# Of the session that commits. The database notices that our host is gone, and frees the queue for another.
SESSION: Final = {
    "statement_timeout": "0",
    "tcp_keepalives_idle": str(DEAD_PEER_SECONDS),
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": str(DEAD_PEER_SECONDS),
}
SETTINGS: Final = text(
    "SELECT " + ", ".join(f"set_config('{name}', :{name}, false)" for name in ("lock_timeout", *SESSION))
)
STAY: Final = text(  # the settings are there since PostgreSQL 14 and 17
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')"
)
SESSION_LOCK: Final = text("SELECT pg_try_advisory_lock(:queue) AND pg_try_advisory_lock(:process)")
TRANSACTION_LOCK: Final = text(
    "SELECT pg_try_advisory_xact_lock(:queue) AND pg_try_advisory_xact_lock(:process)"
    " FROM (SELECT count(set_config(name, '0', true)) FROM pg_settings"
    " WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')) AS patience"
)
# The guard's last statement: the snapshot of a query would stay, and keep what was deleted from being cleared away.
NO_SNAPSHOT: Final = text("SET LOCAL statement_timeout = 0")
# What holds a queue has both its key and that of its process.
HOLDER: Final = text(
    """
    WITH advisory AS (
        SELECT pid, classid, objid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
        WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND datname = current_database()
    )
    SELECT pid, host(client_addr) AS client, EXISTS (
        SELECT FROM advisory AS own
        WHERE own.pid = held.pid AND own.classid = :process_high AND own.objid = :process_low
    ) AS ours
    FROM advisory AS held LEFT JOIN pg_stat_activity USING (pid)
    WHERE held.classid = :queue_high AND held.objid = :queue_low
    """
)
FENCE: Final = """
    SET LOCAL lock_timeout = '{wait}s';
    SET LOCAL statement_timeout = 0;
    SELECT pg_advisory_xact_lock({writer});
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = {guard}) THEN
            RAISE EXCEPTION 'the session that holds the queue is gone' USING ERRCODE = '57P01';
        END IF;
    END $$;
"""
DURABILITY: Final = text(
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
)
# A table that was not analysed since the database crashed is taken for one with few rows of this node: each page of
# 1,600,000 rows was then a scan and a sort of all of them, and a start took minutes.
IN_ORDER: Final = text("SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)")
UNLOGGED: Final = text("SELECT relpersistence = 'u' FROM pg_class WHERE oid = to_regclass(:name)")
RISKS: Final = {
    "fsync": "a crash of the database's host may destroy the queue: turn it on",
    "full_page_writes": "a crash of the database's host may destroy the queue: turn it on",
    "synchronous_commit": "jobs acknowledged last are lost when the database crashes: turn it on for this user, "
    "ALTER ROLE ... SET synchronous_commit = on",
}

Put = Callable[[Any, Sequence[JobRecord]], Awaitable[None]]


class PostgresStorage(NetworkedStorage):
    """A queue in a PostgreSQL schema.

    Behind a proxy that gives each transaction another session, a session cannot hold the queue. There a transaction
    that stays open on a second connection holds it, the guard, and each batch looks that it is still there.
    """

    system = "PostgreSQL"
    before_reading = IN_ORDER

    def __init__(self, url: URL, tables: Tables, **settings: Any) -> None:
        self._behind_proxy: bool | None = None  # not known before the first connection
        self._guard: AsyncConnection | None = None
        self._fence = ""  # what each transaction behind a proxy begins with
        self._queue_key = 0
        super().__init__(url, tables, **settings)

    # ---- connecting

    def make_engine(self) -> AsyncEngine:
        """Without what SQLAlchemy has a session remember: a proxy may change it between statements.

        At another isolation the guard's transaction would keep its first snapshot.
        """
        engine = super().make_engine().execution_options(isolation_level="READ COMMITTED")
        dialect: Any = engine.sync_engine.dialect
        dialect.setup_asyncpg_json_codec = dialect.setup_asyncpg_jsonb_codec = no_codec
        return engine

    def connect_arguments(self) -> dict[str, Any]:
        """SQLAlchemy's statements, all of them rare, are prepared without a name."""
        return {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

    async def connect_driver(self, **options: Any) -> Any:
        """Prepared statements are kept only where the session is ours alone."""
        ignore_orphans(asyncio.get_running_loop())
        options = {"server_settings": {"application_name": APPLICATION}, **options}
        if isinstance(options.get("host"), list):
            options.setdefault("target_session_attrs", "read-write")
        if self._behind_proxy is None:
            self._behind_proxy = await is_behind_proxy(options)
        if self._behind_proxy:
            options["statement_cache_size"] = 0
        return await asyncpg.connect(**options)

    def transport_of(self, driver: Any) -> Any:
        """The driver shows it to nobody; without it a dead peer is noticed later."""
        return getattr(driver, "_transport", None)

    def is_lost(self, driver: Any) -> bool:
        """Whether the connection was closed."""
        return bool(driver.is_closed())

    def cut(self, driver: Any) -> None:
        """Drop the connection."""
        driver.terminate()

    async def say_goodbye(self, driver: Any) -> None:
        """End the session."""
        await driver.close()

    async def settle_session(self, connection: AsyncConnection) -> None:
        """Refuse old servers; have the database notice when we are gone, and tell when it waits for a lock."""
        version: Any = connection.dialect.server_version_info
        self.system = f"PostgreSQL {'.'.join(map(str, version))}"
        if version < (OLDEST,):
            raise self.too_old("PostgreSQL", version, (OLDEST,))
        schema = await connection.scalar(text("SELECT coalesce(:it, current_schema())"), {"it": self.tables.schema})
        self._queue_key = signed(self.lock_key(schema))
        if not self._behind_proxy:
            await connection.execute(SETTINGS, {"lock_timeout": f"{self.lock_wait}s", **SESSION})
            await connection.execute(STAY)
            await connection.commit()  # else the settings go with the transaction

    # ---- the queue's lock

    async def try_lock(self, connection: AsyncConnection) -> bool:
        """Locks of the session; behind a proxy, of the guard's transaction."""
        keys = {"queue": self._queue_key, "process": signed(self._identity)}
        if not self._behind_proxy:
            return bool(await connection.scalar(SESSION_LOCK, keys))
        self._guard = guard = await self.engine.connect()  # from here on `disconnect` ends it
        if not await guard.scalar(TRANSACTION_LOCK, keys):
            self._guard = None
            await guard.close()
            return False
        session = await guard.scalar(text("SELECT pg_backend_pid()"))
        await guard.execute(NO_SNAPSHOT)
        self._fence = FENCE.format(guard=session, writer=self._queue_key ^ 1, wait=self.lock_wait)
        # A batch of the queue's last owner may still be on its way.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._queue_key ^ 1})
        return True

    async def holder(self, connection: AsyncConnection) -> Holder | None:
        """From the database's list of locks."""
        keys = {**oids("queue", self._queue_key), **oids("process", signed(self._identity))}
        row = (await connection.execute(HOLDER, keys)).first()
        return Holder(row.pid, f" from {row.client}" if row.client else "", row.ours) if row else None

    async def end_session(self, connection: AsyncConnection, session: int) -> None:
        """The same user may."""
        await connection.execute(text("SELECT pg_terminate_backend(:session)"), {"session": session})

    async def disconnect(self) -> None:
        """The guard goes too: it is taken anew with the next connection."""
        guard, self._guard = self._guard, None
        if guard is not None:
            with suppress(Exception):
                self.cut((await guard.get_raw_connection()).driver_connection)
                await guard.invalidate()
        await super().disconnect()

    # ---- writing

    async def transact(self, connection: AsyncConnection, changes: Changes) -> None:
        """One transaction, in one trip where that is enough."""
        driver = self._driver
        if driver.is_in_transaction():  # of a reader; what we write must not end with it
            await connection.rollback()
        try:
            try:
                await self._run(driver, changes, self._copy)
            except UniqueViolationError:  # some rows are there already
                await driver.execute("ROLLBACK")
                await self._run(driver, changes, self._merge)
        except PostgresError as error:
            if driver.is_closed() or longest_prefix(error.sqlstate, LOST):
                raise
            await driver.execute("ROLLBACK")
            raise self.translate(error) from error

    async def _run(self, driver: Any, changes: Changes, put: Put) -> None:
        script = "; ".join(statements(self.table, changes))
        rows = changes.inserts
        if self._fence or (script and rows):
            await driver.execute(f"BEGIN; {self._fence}{script}")
            if rows:
                await put(driver, rows)
            await driver.execute("COMMIT")
        elif rows:
            await put(driver, rows)
        else:
            await driver.execute(script or "SELECT 1")  # without BEGIN one transaction too

    async def _copy(self, driver: Any, rows: Sequence[JobRecord]) -> None:
        await driver.copy_records_to_table(
            self.tables.job.name, schema_name=self.tables.schema, columns=COLUMNS, records=rows
        )

    async def _merge(self, driver: Any, rows: Sequence[JobRecord]) -> None:
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(ARRAY_TYPES, 1))
        into = f"INSERT INTO {self.table} ({','.join(COLUMNS)})"
        statement = f"{into} SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
        await driver.execute(statement, *map(list, zip(*rows, strict=True)))

    # ---- looking

    def reader(self) -> PostgresReader:
        """Takes no lock."""
        return PostgresReader(self, self._patience)

    async def advice(self) -> list[str]:
        """Settings of the database on which the promise depends."""
        connection = await self.connection()
        settings = (await connection.execute(DURABILITY)).all()
        unlogged = await connection.scalar(UNLOGGED, {"name": self.table})
        await connection.rollback()
        risks = [f"{name} is off: {RISKS[name]}" for name, value in settings if value == "off"]
        if unlogged:
            risks.append(f"{self.table} is unlogged: a crash of the database empties it: ALTER TABLE ... SET LOGGED")
        return [f"{self.where}: {risk}" for risk in risks]

    # ---- errors

    def translate(self, error: Exception) -> StorageError:
        """PostgreSQL's SQLSTATE, in an operator's words."""
        for cause in chain_of(error):
            if isinstance(cause, StorageError):
                return cause
            if isinstance(cause, PostgresError):
                code = longest_prefix(cause.sqlstate or "", FAULTS)
                return FAULTS[code or ""].error(self.where, str(cause.args[0] if cause.args else cause))
            if isinstance(cause, InterfaceError | InternalClientError):  # the latter between a FATAL error and the end
                return StorageUnavailable(f"{self.where}: the connection was lost")
        return self.network_fault(error) or self.unexpected(error)


def ignore_orphans(loop: asyncio.AbstractEventLoop) -> None:
    """A COPY on a session that was just ended leaves a future to nobody; its error has been raised otherwise."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), ConnectionDoesNotExistError):
            loop.default_exception_handler(context)

    if loop.get_exception_handler() is None:
        loop.set_exception_handler(handle)


async def no_codec(_connection: Any) -> None:
    """We have no JSON."""


async def is_behind_proxy(options: dict[str, Any]) -> bool:
    """A proxy gives its clients made-up process numbers: these are for cancelling, which it does itself."""
    probe = await asyncpg.connect(**{**options, "statement_cache_size": 0})
    try:
        async with probe.transaction():
            return bool(await probe.fetchval("SELECT pg_backend_pid()") != probe.get_server_pid())
    finally:
        await probe.close()


def signed(key: bytes) -> int:
    """PostgreSQL's bigint of the first 8 bytes, even: the next odd number is the writer's."""
    return int.from_bytes(key[:8], "big", signed=True) & ~1


def oids(name: str, key: int) -> dict[str, int]:
    """The two halves in which pg_locks shows a key, as parameters."""
    return {f"{name}_high": (key >> 32) & 0xFFFFFFFF, f"{name}_low": key & 0xFFFFFFFF}


def longest_prefix(code: str | None, among: Iterable[str]) -> str | None:
    """The longest of `among` that an SQLSTATE begins with."""
    return max((prefix for prefix in among if (code or "").startswith(prefix)), key=len, default=None)
