"""Reading the table in PostgreSQL. Its driver takes rows apart in C.

Each call is a transaction, behind a proxy in a session of any settings. What it needs is said at its beginning.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from gearmand_py.storage.base import BY_PAYLOAD, DEAD, RUN_AT_ONCE, Entry, JobRecord, records
from gearmand_py.storage.reading.networked import NetworkedReader
from gearmand_py.storage.sql import COLUMNS

ENTRY: Final = f"""
    id, function_name, unique_key, priority, attempts, run_at, octet_length(data),
    CASE WHEN unique_key = '\\x{BY_PAYLOAD.hex()}' THEN data END
"""
OURS: Final = "node = $1 AND id > $2 AND id <= $3"

# A standby may lack rows: it refuses a transaction that may write. A plan that was made when the table was empty would
# stay that of an empty one, so each is made anew; none is worth compiling. Nothing here needs a sort: where it was not
# known how few functions there are, one of 5,000,000 rows took 4 of 6 seconds.
BEGIN: Final = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL statement_timeout = {milliseconds};
    SET LOCAL lock_timeout = '{lock_wait}s';
    SET LOCAL plan_cache_mode = force_custom_plan;
    SET LOCAL jit = off;
    SET LOCAL enable_sort = off;
"""
# A table that was not analysed since the database crashed is taken for one with few rows of this node: each page of
# 1,600,000 rows was then a scan and a sort of all of them.
BY_ID: Final = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"

LARGEST_ID: Final = 2**63 - 1


class PostgresReader(NetworkedReader):
    """Reads by asyncpg."""

    async def settle_session(self, driver: Any) -> None:
        """What is set here would be lost behind a proxy."""

    async def highest(self) -> int:
        """From the end of the primary key."""
        query = f"SELECT id FROM {self.storage.table} WHERE node = $1 ORDER BY id DESC LIMIT 1"
        rows = await self._by_id(query, self.node)
        return int(rows[0][0]) if rows else 0

    async def count(self) -> int:
        """In parallel, where the database may."""
        rows = await self._scan(f"SELECT count(*) FROM {self.storage.table} WHERE node = $1", self.node)
        return int(rows[0][0])

    async def others(self) -> dict[int, int]:
        """In parallel, where the database may."""
        query = f"SELECT node, count(*) FROM {self.storage.table} WHERE node <> $1 GROUP BY node"
        return {int(node): int(count) for node, count in await self._scan(query, self.node)}

    async def entries(self, after: int, upto: int, limit: int) -> Sequence[Entry]:
        """In order."""
        query = f"SELECT {ENTRY} FROM {self.storage.table} WHERE {OURS} ORDER BY id LIMIT $4"
        return as_entries(await self._by_id(query, self.node, after, upto, limit))

    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """By primary key."""
        return as_entries(await self._of(ENTRY, ids))

    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """By primary key."""
        return records(await self._of(",".join(COLUMNS), ids))

    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """GROUP BY, which PostgreSQL does in parallel."""
        where = f"{OURS} AND run_at = {RUN_AT_ONCE} GROUP BY function_name, priority"
        query = f"SELECT function_name, priority FROM {self.storage.table} WHERE {where}"
        return {(row[0], row[1]) for row in await self._scan(query, self.node, after, upto)}

    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """Each row's key is looked up in a hash table, in parallel where the database may."""
        wanted = "SELECT * FROM unnest($4::bytea[], $5::bytea[])"
        where = f"{OURS} AND run_at <> {DEAD} AND (function_name, unique_key) IN ({wanted})"
        query = f"SELECT {ENTRY} FROM {self.storage.table} WHERE {where}"
        names = [[key[part] for key in keys] for part in (0, 1)]
        return as_entries(await self._scan(query, self.node, after, upto, *names))

    async def _of(self, columns: str, ids: Sequence[int]) -> Sequence[Any]:
        """What somebody takes for an id need not be one."""
        query = f"SELECT {columns} FROM {self.storage.table} WHERE id = ANY($1::bigint[]) AND node = $2"
        known = [id_ for id_ in ids if 0 <= id_ <= LARGEST_ID]
        return await self._ask(BY_ID, self.patience, query, known, self.node) if known else ()

    async def _by_id(self, query: str, *bound: Any) -> Sequence[Any]:
        return await self._ask(BY_ID, self.patience, query, *bound)

    async def _scan(self, query: str, *bound: Any) -> Sequence[Any]:
        return await self._ask("", self.scan_patience, query, *bound)

    async def _ask(self, settings: str, patience: float, query: str, *bound: Any) -> Sequence[Any]:
        begin = BEGIN.format(milliseconds=int(1000 * patience), lock_wait=self.storage.lock_wait)
        async with self.session(patience) as driver:
            await driver.execute(begin + settings)
            rows: Sequence[Any] = await driver.fetch(query, *bound)
            await driver.execute("ROLLBACK")
        return rows


def as_entries(rows: Sequence[Any]) -> Sequence[Entry]:
    """The driver's rows in their own form."""
    return [Entry._make(row) for row in rows]
