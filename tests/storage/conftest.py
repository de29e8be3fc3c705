"""Fixtures for tests of storages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gearmand_py.storage.sql import SqlStorage
from tests.storage.databases import DATABASES, StorageFactory, migrate


@pytest.fixture(params=DATABASES)
async def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has its tables and no jobs."""
    with DATABASES[request.param](tmp_path) as make:
        await migrate(make)
        yield make


@pytest.fixture
async def storage(make_storage: StorageFactory) -> AsyncIterator[SqlStorage]:
    """An open storage without jobs."""
    async with make_storage() as storage:
        yield storage
