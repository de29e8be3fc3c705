"""Takes over the queue of a C gearmand: judges its rows, numbers them, and stores them page by page.

Ids are given in the source's order, above all that were ever given, and below the clock wherever possible: imported
jobs run after those that were there and before those that come later. As many as the source has rows are reserved with
the first page, so a server that runs before an import goes on leaves them free.

An import that was cut short goes on where it was. Its next run reads the source from its first row again, to see that
it is the same one and which keys it has had, but writes no row that is done; see `storage/imports.py`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from gearmand_py.migrations import HEAD
from gearmand_py.server.config import Settings
from gearmand_py.server.database import bring_up_to_date, make_directory, make_storage, schema_state
from gearmand_py.server.ids import Ids
from gearmand_py.server.importing.rows import Key, NotAJob, fingerprint, key_of, wanted
from gearmand_py.storage.base import ID_NODE_SHIFT, ID_TIME_SHIFT, JobRecord, RowRefused, StorageError
from gearmand_py.storage.gearmand.queue import Row, Source
from gearmand_py.storage.imports import ImportRecord, Imports, Tally, begun, highest_id, keyed_jobs
from gearmand_py.storage.sql import SqlStorage

PATIENCE: Final = 300.0  # seconds that a page may take: nobody waits for an answer
# Reserved beyond what the source has rows: an interruption leaves some ids out, and a source may grow between runs. Up
# to 20 million more rows find ids that nobody else can have been given.
SPARE: Final = 10_000  # milliseconds

DUPLICATE: Final = "an earlier row has the same function and unique key"
PRESENT: Final = "a job with this function and unique key is in the queue already"


class SourceChanged(StorageError):
    """The source is not what it was when its import began."""


class Item(NamedTuple):
    """A row, and what is to become of it: a job, or nothing for a reason."""

    number: int  # from 1, in the source's order
    row: Row
    fingerprint: int  # of this row and all before it
    job: JobRecord | None
    reason: str = ""

    @property
    def refused(self) -> bool:
        """Neither a job nor one already."""
        return self.job is None and self.reason != PRESENT


class Watcher(Protocol):
    """Who is told how it goes."""

    def begin(self, rows: int) -> None:
        """So many rows there are."""

    def note(self, text: str) -> None:
        """A line for people."""

    def left_out(self, item: Item) -> None:
        """Hear of a row that becomes no job."""

    def advance(self, tally: Tally) -> None:
        """A page is done."""

    def stopped(self) -> bool:
        """Is it to end after this page?"""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an import."""

    record: ImportRecord
    before: Tally = field(default_factory=Tally)  # done by earlier runs
    rows_now: int = 0  # of the source, after it was read

    @property
    def finished(self) -> bool:
        """All rows are done."""
        return self.record.finished_at > 0


class Judge:
    """Says what is to become of each row. Rows come in order, also those that are done already."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._seen: set[Key] = set()
        self._present: set[Key] = set()

    async def look_into(self, storage: SqlStorage, node: int) -> None:
        """Learn which jobs are in the queue. Raises StorageError."""
        async for function, unique, data in keyed_jobs(storage, node):
            self._present.add(key_of(function, unique, data))
        self._present.discard(None)

    def judge(self, row: Row) -> JobRecord:
        """The job that the row is, still without id and node. Raises NotAJob."""
        job = wanted(row, self._now)
        key = job.key
        if key is not None:
            if key in self._seen:
                raise NotAJob(DUPLICATE)
            self._seen.add(key)
            if key in self._present:
                raise NotAJob(PRESENT)
        return JobRecord(0, job.function, job.unique or None, job.priority, 0, 0, job.run_at, None, job.data)


class Import:
    """One run over a source. A dry run has no `imports` to write to."""

    def __init__(
        self,
        source: Source,
        judge: Judge,
        watcher: Watcher,
        record: ImportRecord,
        ids: Ids,
        node: int = 0,
        imports: Imports | None = None,
    ) -> None:
        self.source = source
        self.judge = judge
        self.watcher = watcher
        self.record = record
        self.ids = ids
        self.node = node
        self.imports = imports
        self.tally = record.tally
        self._before = record.tally
        self._number = 0
        self._fingerprint = 0

    async def run(self) -> None:
        """Go through the source, to its end or until told to stop. Raises StorageError."""
        async for page in self.source.pages():
            items = [item for item in map(self._item, page) if item]
            await self._store(items)
            self.watcher.advance(self.tally)
            if self.watcher.stopped():
                return
        if self._number < self.tally.rows_done:
            raise changed(self.record, self._number)
        await self._finish()

    def _item(self, row: Row) -> Item | None:
        """What is to become of a row; None if that was done by an earlier run."""
        self._number += 1
        self._fingerprint = fingerprint(self._fingerprint, row)
        try:
            job = self.judge.judge(row)
        except NotAJob as error:
            item = Item(self._number, row, self._fingerprint, None, str(error))
        else:
            item = Item(self._number, row, self._fingerprint, job)
        return None if self._is_done() else self._numbered(item)

    def _is_done(self) -> bool:
        done = self.record.rows_done
        if self._number == done and self._fingerprint != self.record.fingerprint:
            raise changed(self.record, self.record.source_rows)
        return self._number <= done

    def _numbered(self, item: Item) -> Item:
        if item.job is None:
            return item
        return item._replace(job=item.job._replace(id=self.ids.take(), node=self.node))

    async def _store(self, items: Sequence[Item]) -> None:
        """One transaction; where the database refuses a row, as many as it takes to do without that one."""
        tally = after(self.tally, items)
        try:
            if self.imports and items:
                unfinished = self.record._replace(finished_at=0)
                bound = self.ids.to_reserve(clock(), span(self.record.source_rows) + SPARE)
                await self.imports.commit(unfinished, tally, [item.job for item in items if item.job], bound)
                self.ids.reserved(bound)
        except RowRefused as error:
            await self._store_parts(items, str(error))
            return
        self.tally = tally
        for item in items:
            if item.job is None:
                self.watcher.left_out(item)

    async def _store_parts(self, items: Sequence[Item], reason: str) -> None:
        """All but what stands alone and is refused."""
        half = len(items) // 2
        for part in (items[:half], items[half:]) if half else ([items[0]._replace(job=None, reason=reason)],):
            await self._store(part)

    async def _finish(self) -> None:
        if self.record.finished_at and self.tally == self._before:
            return  # it was complete before
        self.record = self.record._replace(finished_at=int(time.time()))
        if self.imports:
            await self.imports.commit(self.record, self.tally)

    async def report(self) -> Report:
        """What came of it. Raises StorageError."""
        record = self.record._replace(**self.tally._asdict())
        return Report(record, self._before, await self.source.count() if record.finished_at else record.source_rows)


def after(tally: Tally, items: Sequence[Item]) -> Tally:
    """How far it is when these are done too."""
    jobs = [item.job.id for item in items if item.job]
    refused = sum(item.refused for item in items)
    return Tally(
        tally.rows_done + len(items),
        tally.rows_imported + len(jobs),
        tally.rows_present + len(items) - len(jobs) - refused,
        tally.rows_refused + refused,
        jobs[-1] if jobs else tally.last_id,
        items[-1].fingerprint if items else tally.fingerprint,
    )


async def import_queue(settings: Settings, source: Source, watcher: Watcher, *, restart: bool) -> Report:
    """Import what is left of an open source. Raises StorageError."""
    rows = await source.count()
    make_directory(settings)
    async with make_storage(replace(settings, storage_timeout=PATIENCE)) as storage:
        await schema_state(storage, await storage.connection())
        if await bring_up_to_date(storage):
            watcher.note(f"the tables in {storage.description} are now at revision {HEAD}")
        imports = Imports(storage)
        record = await take_up(imports, source, rows, restart=restart)
        watcher.begin(rows)
        judge = Judge(int(time.time()))
        await judge.look_into(storage, settings.node)
        ids = await ids_for(storage, settings.node, record)
        work = Import(source, judge, watcher, record, ids, settings.node, imports)
        await work.run()
        return await work.report()


async def try_import(source: Source, watcher: Watcher) -> Report:
    """The same without a destination. Raises StorageError."""
    rows = await source.count()
    watcher.begin(rows)
    now = int(time.time())
    work = Import(source, Judge(now), watcher, begun(source.id, source.description, rows, now), Ids(0))
    await work.run()
    return await work.report()


async def take_up(imports: Imports, source: Source, rows: int, *, restart: bool) -> ImportRecord:
    """The record of the import to go on with, or of a new one where no row is done yet. Raises StorageError."""
    found = await imports.find(source.id)
    if found and found.rows_done and not restart:
        if rows < found.rows_done:
            raise changed(found, rows)
        return found._replace(source_rows=rows)
    record = begun(source.id, source.description, rows, int(time.time()))
    await imports.begin(record, again=found is not None)
    return record


async def ids_for(storage: SqlStorage, node: int, record: ImportRecord) -> Ids:
    """Gives ids above all of the queue; to an import that goes on, those behind its earlier ones if they are free."""
    ids = Ids(node)
    bound = await storage.ids_below(node)
    last = record.last_id
    end = last + (span(record.source_rows - record.rows_done) << ID_TIME_SHIFT)
    if last and not await highest_id(storage, node, (last + 1, end)):
        ids.observe(last)
        ids.reserved(bound)
    else:
        ids.go_on(bound)
        ids.observe(await highest_id(storage, node))
        ids.advance(clock() - span(record.source_rows))
    return ids


def clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def span(rows: int) -> int:
    """Milliseconds in which the ids of so many rows lie."""
    return (rows >> ID_NODE_SHIFT) + 2


def changed(record: ImportRecord, rows: int) -> SourceChanged:
    """The error for a source of which other rows were done than it has now."""
    counts = f"{record.rows_done:,} were done, {rows:,} are there" if rows < record.rows_done else "other rows now"
    far = "was complete" if record.finished_at else f"was cut short after {record.rows_done:,} rows"
    return SourceChanged(
        f"the import from {record.source.decode(errors='replace')} of {moment(record.begun_at)} {far}, and the source "
        f"has changed since ({counts}): stop the gearmand that uses it; --restart begins anew, and leaves out jobs "
        "whose function and unique key are in the queue by then"
    )


def moment(epoch: int) -> str:
    """A time for people, in their time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
