"""How far each import has come, as the table `gearman_import` has it.

A page of jobs and what the table says of it are one transaction: after an interruption at any point, and whatever a
server did with the jobs since, the next run knows which rows are done.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from sqlalchemy import case, func, insert, select, update

from gearmand_py.storage.base import DEAD, Changes, JobRecord
from gearmand_py.storage.sql import SqlStorage

ROWS_A_PAGE: Final = 10_000
LONGEST_SOURCE: Final = 512
BY_DATA: Final = b"-"  # the unique key of jobs that are told from others by their data


class Tally(NamedTuple):
    """How far an import has come."""

    rows_done: int = 0  # in the source's order
    rows_imported: int = 0
    rows_present: int = 0  # whose function and unique key were in the queue already
    rows_refused: int = 0
    last_id: int = 0  # of the job imported last
    fingerprint: int = 0  # of all rows done, 63 bits


class ImportRecord(NamedTuple):
    """A row of gearman_import, in the order of its columns."""

    id: int
    source: bytes
    source_rows: int
    rows_done: int
    rows_imported: int
    rows_present: int
    rows_refused: int
    last_id: int
    fingerprint: int
    begun_at: int  # epoch seconds
    finished_at: int  # 0: not yet

    @property
    def tally(self) -> Tally:
        """How far it has come."""
        return Tally(*self[3:9])


def begun(id_: int, description: str, rows: int, now: int) -> ImportRecord:
    """The record of an import that has done nothing yet."""
    source = description.encode(errors="replace")[:LONGEST_SOURCE]
    return ImportRecord(id_, source, rows, *Tally(), now, 0)


class Imports:
    """The records in the tables of a queue."""

    def __init__(self, storage: SqlStorage) -> None:
        self._storage = storage
        self._table = storage.tables.imports
        self._name = storage.engine.dialect.identifier_preparer.format_table(self._table)

    async def find(self, id_: int) -> ImportRecord | None:
        """What is known of a source. Raises StorageError."""
        found = await self._storage.read(select(self._table).where(self._table.c.id == id_))
        return ImportRecord(*found[0]) if found else None

    async def begin(self, record: ImportRecord, *, again: bool) -> None:
        """Put it into the table, in place of an older one if there is one. Raises StorageError."""
        values = record._asdict()
        statement = update(self._table).where(self._table.c.id == values["id"]) if again else insert(self._table)
        await self._storage.change(statement.values(values))

    async def commit(
        self, record: ImportRecord, tally: Tally, jobs: Sequence[JobRecord] = (), ids_below: int = 0
    ) -> None:
        """Store jobs, and that the source of this record is done so far. Raises StorageError.

        `ids_below` is that of Changes.
        """
        numbers = {**tally._asdict(), "source_rows": record.source_rows, "finished_at": record.finished_at}
        settings = ", ".join(f"{name} = {value}" for name, value in numbers.items())
        await self._storage.commit(
            Changes((), (), jobs, (f"UPDATE {self._name} SET {settings} WHERE id = {record.id}",), ids_below)
        )


async def highest_id(storage: SqlStorage, node: int, within: tuple[int, int] = (0, 2**63 - 1)) -> int:
    """The highest id of a node's jobs among those from the first to the last of `within`; 0 if there is none."""
    job = storage.tables.job
    found = await storage.read(select(func.max(job.c.id)).where(job.c.node == node, job.c.id.between(*within)))
    return int(found[0][0] or 0)


async def keyed_jobs(storage: SqlStorage, node: int) -> AsyncIterator[tuple[bytes, bytes, bytes]]:
    """Function, unique key and, if that is `-`, data of each job that a new one could join. Raises StorageError."""
    job = storage.tables.job
    data = case((job.c.unique_key == BY_DATA, job.c.data), else_=None)
    keyed = select(job.c.id, job.c.function_name, job.c.unique_key, data).order_by(job.c.id).limit(ROWS_A_PAGE)
    keyed = keyed.where(job.c.node == node, job.c.unique_key.is_not(None), job.c.run_at != DEAD)
    last = 0
    while page := await storage.read(keyed.where(job.c.id > last)):
        for _, function, unique, payload in page:
            yield function, unique, payload or b""
        last = page[-1][0]
