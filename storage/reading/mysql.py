"""Reading the table in MySQL or MariaDB: pages are joined in the database, for the driver in Python takes three times
as long over rows (docs/benchmarks.md).

What GROUP_CONCAT joins is cut at a limit without an error. A page whose parts do not fit together is read again row by
row; so are payloads that are large, and gain nothing from being joined.
"""

import warnings
from collections.abc import Collection, Sequence
from typing import Any, Final

from gearmand_py.storage.base import BY_PAYLOAD, DEAD, RUN_AT_ONCE, Entry, JobRecord, records
from gearmand_py.storage.networked import NetworkedStorage
from gearmand_py.storage.reading.networked import NetworkedReader
from gearmand_py.storage.reading.pages import CutShort, Page, conditions, items, with_payloads
from gearmand_py.storage.sql import COLUMNS, IDS_PER_STATEMENT

# Payloads up to this size are joined: at most 4 MiB a statement, less where max_allowed_packet is small.
JOINED_BYTES: Final = 4096
IDLE_SECONDS: Final = 3600  # after this the database ends a session that may be nobody's

ENTRY: Final = "id, function_name, unique_key, priority, attempts, run_at, length(data) AS size"
PLAIN: Final = "id, function_name, unique_key, priority, attempts, run_at, size"
REST: Final = "priority, attempts, run_at, size, hex(function_name)"
REDUCER: Final = "coalesce(hex(reducer), 'N')"
PAGE: Final = """
    count(*), group_concat(id, ',' SEPARATOR ''), group_concat(coalesce(hex(unique_key), 'N'), ',' SEPARATOR ''),
    group_concat(concat_ws(';', {rest}), ',' SEPARATOR '')
"""
PAIRS: Final = "count(*), group_concat(hex(function_name), ';', priority, ',' SEPARATOR '')"
NOT_ALLOWED: Final = 1227  # MySQL lets an ordinary user set some settings only
# A value that was cut is noticed, and the page read by the row.
warnings.filterwarnings("ignore", message=r"(?i)row \d+ was cut by group_concat")
TIME_LIMITS: Final = {"MariaDB": "max_statement_time = {seconds}", "MySQL": "max_execution_time = {seconds}000"}


class MysqlReader(NetworkedReader):
    """Reads by either driver. What is joined comes as one row."""

    def __init__(self, storage: NetworkedStorage, patience: float) -> None:
        super().__init__(storage, patience)
        self._largest_joined = JOINED_BYTES

    async def settle_session(self, driver: Any) -> None:
        """Each statement is a transaction; joined values may be as long as any value."""
        await driver.autocommit(True)
        for statement in ("START TRANSACTION READ WRITE", "ROLLBACK"):  # a replica, which may lack rows, refuses
            await all_of(driver, statement)
        ((largest,),) = await all_of(driver, "SELECT @@max_allowed_packet")
        self._largest_joined = min(JOINED_BYTES, largest // (4 * IDS_PER_STATEMENT))
        limit = TIME_LIMITS[self.storage.system.partition(" ")[0]].format(seconds=int(self.scan_patience) + 1)
        settings = [f"group_concat_max_len = {largest}", f"wait_timeout = {IDLE_SECONDS}", limit]
        await all_of(driver, "SET " + ", ".join(f"SESSION {setting}" for setting in settings))
        try:  # no warnings, which a driver would ask for and print
            await all_of(driver, "SET SESSION max_error_count = 0")
        except Exception as error:
            if error.args[:1] != (NOT_ALLOWED,):
                raise

    # ---- what is asked

    async def highest(self) -> int:
        """From the end of the primary key."""
        found = await self._ask(f"SELECT id FROM {self._ours} ORDER BY id DESC LIMIT 1", self.patience)
        return int(found[0][0]) if found else 0

    async def count(self) -> int:
        """A scan."""
        return int((await self._ask(f"SELECT count(*) FROM {self._ours}", self.scan_patience))[0][0])

    async def others(self) -> dict[int, int]:
        """A scan."""
        query = f"SELECT node, count(*) FROM {self.storage.table} WHERE node <> {self.node} GROUP BY node"
        return {int(node): int(count) for node, count in await self._ask(query, self.scan_patience)}

    async def entries(self, after: int, upto: int, limit: int) -> Sequence[Entry]:
        """In order."""
        which = f"id > {after} AND id <= {upto} ORDER BY id LIMIT {limit}"
        return sorted(await self._entries(which, self.patience))  # as a rule they are

    async def entries_of(self, ids: Sequence[int]) -> Sequence[Entry]:
        """By primary key."""
        return [entry for which in conditions(ids) for entry in await self._entries(which, self.patience)]

    async def rows(self, ids: Sequence[int]) -> Sequence[JobRecord]:
        """By primary key."""
        found: list[JobRecord] = []
        for which in conditions(ids):
            async with self.session(self.patience) as driver:
                found += await self._rows(driver, which)
        return found

    async def backlog(self, after: int, upto: int) -> set[tuple[bytes, int]]:
        """A scan. There may be thousands of functions, so they are joined too."""
        which = f"id > {after} AND id <= {upto} AND run_at = {RUN_AT_ONCE}"
        found = f"FROM (SELECT DISTINCT function_name, priority FROM {self._ours} AND {which}) AS found"
        async with self.session(self.scan_patience) as driver:
            ((rows, names),) = await all_of(driver, f"SELECT {PAIRS} {found}")
            try:
                pairs = [item.split(";") for item in items(names, rows)]
            except CutShort:
                return set(await all_of(driver, f"SELECT function_name, priority {found}"))
        return {(bytes.fromhex(function), int(priority)) for function, priority in pairs}

    async def find(self, keys: Collection[tuple[bytes, bytes]], after: int, upto: int) -> Sequence[Entry]:
        """A scan."""
        if not keys:
            return ()
        wanted = ",".join([f"(x'{function.hex()}',x'{unique.hex()}')" for function, unique in keys])
        alive = f"id > {after} AND id <= {upto} AND run_at <> {DEAD}"
        return await self._entries(f"{alive} AND (function_name, unique_key) IN ({wanted})", self.scan_patience)

    # ---- how

    @property
    def _ours(self) -> str:
        return f"{self.storage.table} WHERE node = {self.node}"

    async def _ask(self, query: str, patience: float) -> Sequence[Any]:
        async with self.session(patience) as driver:
            return await all_of(driver, query)

    async def _entries(self, which: str, patience: float) -> list[Entry]:
        source = f"FROM (SELECT {ENTRY} FROM {self._ours} AND {which}) AS page"
        async with self.session(patience) as driver:
            page = Page._make((await all_of(driver, f"SELECT {PAGE.format(rest=REST)} {source}"))[0])
            try:
                found = page.entries
            except CutShort:
                found = [Entry._make((*row, None)) for row in await all_of(driver, f"SELECT {PLAIN} {source}")]
            keyed = [entry.id for entry in found if entry.unique == BY_PAYLOAD]
            payloads = {row.id: row.data for which in conditions(keyed) for row in await self._rows(driver, which)}
        return with_payloads(found, payloads) if keyed else found

    async def _rows(self, driver: Any, which: str) -> Sequence[JobRecord]:
        """Small payloads joined, large ones by the row."""
        source = f"FROM (SELECT {ENTRY}, reducer, data FROM {self._ours} AND {which}) AS page"
        small = f"group_concat(if(size <= {self._largest_joined}, data, x'') SEPARATOR '')"
        ((*texts, data),) = await all_of(driver, f"SELECT {PAGE.format(rest=f'{REST}, {REDUCER}')}, {small} {source}")
        try:
            found, large = self._apart(Page._make(texts), data or b"")
        except CutShort:
            return await self._singly(driver, which)
        for others in conditions(large):
            found += await self._singly(driver, others)
        return found

    def _apart(self, page: Page, data: bytes) -> tuple[list[JobRecord], list[int]]:
        """The rows whose payloads are joined in `data`, and the ids of the others. Raises CutShort."""
        found: list[JobRecord] = []
        large: list[int] = []
        start = 0
        node = self.node
        for id_, key, (function, priority, attempts, run_at, size, reducer) in page.parts():
            if size > self._largest_joined:
                large.append(id_)
                continue
            end = start + size
            payload = data[start:end]
            found.append(JobRecord(id_, function, key, priority, attempts, node, run_at, reducer, payload))
            start = end
        if start != len(data):
            raise CutShort
        return found, large

    async def _singly(self, driver: Any, which: str) -> Sequence[JobRecord]:
        rows = await all_of(driver, f"SELECT {','.join(COLUMNS)} FROM {self._ours} AND {which}")
        return records(rows)


async def all_of(driver: Any, statement: str) -> Sequence[Any]:
    """The rows of a statement."""
    async with driver.cursor() as cursor:
        await cursor.execute(statement)
        rows: Sequence[Any] = await cursor.fetchall()
    return rows
