"""The storages: what a transaction of some rows costs on each database; DATABASES=sqlite for some."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

import pytest
from sqlalchemy import delete

from benchmarks.conftest import Measure
from gearmand_py.storage.base import Changes, JobRecord
from gearmand_py.storage.sql import SqlStorage
from tests.databases.selection import SELECTED
from tests.storage.databases import DATABASES, migrate
from tests.storage.records import job

DATA: Final = b"x" * 100
ROWS: Final = pytest.mark.parametrize("rows", [1, 100, 1000], ids=lambda rows: f"{rows:,} rows")
IDS: Final = count(1)


class Queue:
    """An open storage, and the loop that it lives on."""

    def __init__(self, storage: SqlStorage, runner: asyncio.Runner) -> None:
        self.storage = storage
        self._run = runner.run

    def commit(self, changes: Changes) -> None:
        """One transaction."""
        self._run(self.storage.commit(changes))

    def load(self, rows: int) -> None:
        """A page."""
        assert len(self._run(self.storage.load(0, rows))) == rows

    def clear(self) -> None:
        """No jobs."""
        self._run(self.storage.change(delete(self.storage.tables.job)))


@pytest.fixture(scope="module", params=SELECTED)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A storage on each database."""
    with DATABASES[request.param](tmp_path_factory.mktemp("queue")) as make, asyncio.Runner() as runner:
        runner.run(migrate(make))
        storage = make()
        runner.run(storage.open())
        yield Queue(storage, runner)
        runner.run(storage.close())


@pytest.fixture
def queue(opened: Queue) -> Queue:
    """Without jobs."""
    opened.clear()
    return opened


def new_rows(number: int) -> Sequence[JobRecord]:
    return [job(id_, unique=b"unique key %020d" % id_, data=DATA) for id_, _ in zip(IDS, range(number), strict=False)]


@ROWS
def test_insert(measure: Measure, queue: Queue, rows: int) -> None:
    measure(rows, lambda: (Changes((), (), new_rows(rows)),), queue.commit)


@ROWS
def test_delete(measure: Measure, queue: Queue, rows: int) -> None:
    def prepare() -> tuple[Changes]:
        records = new_rows(rows)
        queue.commit(Changes((), (), records))
        return (Changes([record.id for record in records], (), ()),)

    measure(rows, prepare, queue.commit)


@ROWS
def test_load(measure: Measure, queue: Queue, rows: int) -> None:
    queue.commit(Changes((), (), new_rows(rows)))
    measure(rows, lambda: (rows,), queue.load)
