"""gearmand's queue in PostgreSQL, MySQL or MariaDB."""

import importlib
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.gearmand.queue import ROWS_A_PAGE, WHEN, Page, Row, Source, about_source, is_full, quoted, size
from gearmand_py.storage.networked import NetworkedStorage

LOOPBACK: Final = {"127.0.0.1": "localhost", "::1": "localhost", None: "localhost", "": "localhost"}
PORTS: Final = {"postgresql": 5432, "mysql": 3306}


class NetworkedSource(Source):
    """A table in a database server. Count and rows are of one moment, in a transaction that only reads.

    Connections are made as the storages make them, with TLS and passwords, but to servers of any version.
    """

    def __init__(self, storage: NetworkedStorage, table: str | None) -> None:
        super().__init__(storage.url, table)
        self._storage = storage
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    @property
    def where(self) -> str:
        """Host, port, name and user."""
        return self._storage.where

    @property
    def address(self) -> tuple[object, ...]:
        """Whoever connects, and by whatever name of this host."""
        kind = self.url.get_backend_name()
        query = {key: value for key, value in self.url.query.items() if key in ("host", "port", "unix_socket")}
        port = self.url.port or PORTS[kind]
        return kind, LOOPBACK.get(self.url.host, self.url.host), port, self.url.database, sorted(query.items())

    async def connect(self) -> None:
        """Connect, and begin a transaction in which nothing changes."""
        self._connection = await self._storage.engine.connect()
        await self._connection.rollback()
        self._driver = (await self._connection.get_raw_connection()).driver_connection
        await self.begin()

    @abstractmethod
    async def begin(self) -> None:
        """Begin the transaction, or another one, which sees what has come since."""

    async def close(self) -> None:
        """Cut the connection: there is nothing to end in order, and perhaps a result half read."""
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if driver is not None:
            self._storage.cut(driver)
        if connection is not None:
            await connection.invalidate()
            await connection.close()
        await self._storage.close()

    def translate(self, error: Exception) -> StorageError:
        """In the words of the storage for such a database."""
        return about_source(self._storage.translate(error))


class PostgresSource(NetworkedSource):
    """Rows in the order of their transactions: gearmand has one for each, and the heap puts small rows into gaps. Those
    of one transaction, such as a restored backup's, come in the order of the heap.

    Where they are, and how long their payloads, is asked first: what goes beyond a page is not fetched.
    """

    default_table = "queue"

    async def begin(self) -> None:
        """One snapshot; nothing here ends it for being slow."""
        await self._driver.execute("ROLLBACK")
        await self._driver.execute(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PATIENCE}")

    async def columns(self) -> Sequence[str]:
        """Named exactly, or as gearmand writes it into its SQL: unquoted, which PostgreSQL reads in lower case."""
        for name in (".".join(map(quoted, self.table.split("."))), self.table.lower()):
            found = await self._driver.fetch(FIND_TABLE, name)
            if found:
                self.table = f"{found[0]['nspname']}.{found[0]['relname']}"
                return [row["attname"] for row in found]
        return ()

    async def tables(self) -> Sequence[str]:
        """Those that are not the database's own."""
        return [row["name"] for row in await self._driver.fetch(ALL_TABLES)]

    @property
    def _quoted(self) -> str:
        return ".".join(map(quoted, self.table.split(".", 1)))

    async def count_rows(self) -> int:
        """In the snapshot."""
        return int(await self._driver.fetchval(f"SELECT count(*) FROM {self._quoted}"))

    async def read_pages(self) -> AsyncIterator[Page]:
        """By xmin, the number of the transaction; numbers wrap around, ages do not."""
        columns = "ctid::text AS place, coalesce(octet_length(data), 0)"
        places = f"SELECT {columns} FROM {self._quoted} ORDER BY age(xmin) DESC, ctid"
        page: list[str] = []
        taken = 0
        async for place, length in self._driver.cursor(places, prefetch=ROWS_A_PAGE):
            page.append(place)
            taken += length
            if is_full(len(page), taken):
                yield await self._fetch(page)
                page, taken = [], 0
        if page:
            yield await self._fetch(page)
        await self.begin()

    async def _fetch(self, places: Sequence[str]) -> Page:
        """Text in the database's own encoding: gearmand's session has the same, and sends what clients sent."""
        encoded = "convert_to({}, getdatabaseencoding())"
        columns = [encoded.format("unique_key"), encoded.format("function_name"), "priority", "data"]
        columns.append(WHEN if self.has_when else "0")
        query = f"SELECT ctid::text AS place, {', '.join(columns)} FROM {self._quoted}"
        rows = await self._driver.fetch(f"{query} WHERE ctid = ANY($1::text[]::tid[])", places)
        found = {place: Row(*rest) for place, *rest in rows}
        return [found[place] for place in places]


# The last one is there since PostgreSQL 17.
PATIENCE: Final = """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
FIND_TABLE: Final = """
    SELECT nspname::text, relname::text, attname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    WHERE pg_class.oid = to_regclass($1)
"""
ALL_TABLES: Final = """
    SELECT CASE WHEN pg_table_is_visible(c.oid) THEN relname::text ELSE nspname || '.' || relname END AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname !~ '^(pg_|information_schema$)'
"""


class MysqlSource(NetworkedSource):
    """Rows in the order of InnoDB's hidden key, which is that of their insertion: no column has it, so the whole table
    is one result, of which not more than a page is in memory.
    """

    def __init__(self, storage: NetworkedStorage, table: str | None) -> None:
        super().__init__(storage, table)
        self._charsets: set[str | None] = set()

    async def begin(self) -> None:
        """One snapshot. The server is to wait while a page is being stored."""
        await self._all("SET SESSION net_write_timeout = 3600, SESSION character_set_results = 'utf8mb4'")
        await self._all("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    async def columns(self) -> Sequence[str]:
        """Their character sets too."""
        found = await self._all(FIND_COLUMNS, (self.table,))
        self._charsets = {charset for _, charset in found}
        return [name for name, _ in found]

    async def tables(self) -> Sequence[str]:
        """Of this database."""
        return [name for (name,) in await self._all("SHOW TABLES")]

    @property
    def _quoted(self) -> str:
        return "`" + self.table.replace("`", "``") + "`"

    async def count_rows(self) -> int:
        """In the snapshot."""
        return int((await self._all(f"SELECT count(*) FROM {self._quoted}"))[0][0])

    async def read_pages(self) -> AsyncIterator[Page]:
        """One long result. The cursor is not closed where it is left early: that would read the rest."""
        columns = ["priority", "data", WHEN if self.has_when else "0", *self._names]
        cursor = await self._driver.cursor(streaming_cursor(self._storage)).__aenter__()
        await cursor.execute(f"SELECT {', '.join(columns)} FROM {self._quoted}")
        page: Page = []
        taken = 0
        while found := await cursor.fetchone():
            page.append(self._row(*found))
            taken += size(page[-1])
            if is_full(len(page), taken):
                yield page
                page, taken = [], 0
        if page:
            yield page
        await self.begin()

    @property
    def _names(self) -> list[str]:
        """Key and function as they are stored, converted to UTF-8, or first the one and then the other."""
        stored, converted = (
            [form.format(name) for name in ("unique_key", "function_name")]
            for form in ("CAST({} AS BINARY)", "CAST(CONVERT({} USING utf8mb4) AS BINARY)")
        )
        if self._charsets <= AS_THEY_ARE:
            return stored
        return converted if self._charsets & NO_ASCII else [*stored, *converted]

    def _row(self, priority: Any, data: bytes | None, when: Any, *names: bytes | None) -> Row:
        """The low 32 bits of a time are what gearmand writes, into a column that has a sign."""
        unique, function = map(as_sent, names[:2], names[2:]) if names[2:] else names
        return Row(unique, function, priority, data, when + 2**32 if isinstance(when, int) and when < 0 else when)

    async def _all(self, query: str, bound: Iterable[object] | None = None) -> list[Any]:
        async with self._driver.cursor() as cursor:
            await cursor.execute(query, bound)
            return list(await cursor.fetchall())


FIND_COLUMNS: Final = (
    "SELECT lower(column_name), character_set_name FROM information_schema.columns"
    " WHERE table_schema = database() AND table_name = %s ORDER BY ordinal_position"
)
# Of columns that hold no text, and of text that is what gearmand's session speaks.
AS_THEY_ARE: Final = frozenset({None, "utf8mb4", "utf8mb3", "utf8", "binary", "ascii"})
NO_ASCII: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32"})


def as_sent(stored: bytes | None, converted: bytes | None) -> bytes | None:
    """A name in a column of Latin-1 or the like. A session of gearmand that spoke UTF-8 had it converted; one that
    spoke Latin-1 had a client's UTF-8 stored as it was.
    """
    try:
        (stored or b"").decode()
    except UnicodeDecodeError:
        return converted
    return stored


def streaming_cursor(storage: NetworkedStorage) -> Any:
    """The cursor of either driver that reads rows as they are asked for."""
    return importlib.import_module(f"{storage.url.get_driver_name()}.cursors").SSCursor
