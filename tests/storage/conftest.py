"""Fixtures for tests of storages."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import delete

from gearmand_py.storage.sql import SqlStorage
from tests.storage.databases import DATABASES, StorageFactory, migrate


@pytest.fixture(scope="session", params=DATABASES)
def queue(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFactory]:
    """Makes storages on one queue, which has its tables: to make them for each test would take most of its time."""
    with DATABASES[request.param](tmp_path_factory.mktemp("queue")) as make:
        asyncio.run(migrate(make))
        yield make


@pytest.fixture
async def make_storage(queue: StorageFactory) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has no jobs."""
    yield queue
    storage = queue()
    async with storage.engine.begin() as connection:
        for table in (storage.tables.job, storage.tables.nodes):
            await connection.execute(delete(table))
    await storage.close()


@pytest.fixture
async def storage(make_storage: StorageFactory) -> AsyncIterator[SqlStorage]:
    """An open storage without jobs."""
    async with make_storage() as storage:
        yield storage
