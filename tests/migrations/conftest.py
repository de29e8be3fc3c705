"""Fixtures for tests of migrations."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gearmand_py import migrations
from tests.databases.selection import SELECTED
from tests.migrations.databases import empty_database

# What only these have is tested where they are.
collect_ignore = [
    *([] if "postgresql" in SELECTED else ["test_postgresql.py"]),
    *([] if {"mysql", "mariadb"} & set(SELECTED) else ["test_mysql.py"]),
]

MakeEngine = Callable[..., AsyncEngine]


@pytest.fixture(params=SELECTED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def new_engine(kind: str, tmp_path: Path) -> AsyncIterator[MakeEngine]:
    """Each call gives an engine, for another empty database if it names none."""
    async with AsyncExitStack() as stack:

        def make(url: URL | None = None, **options: Any) -> AsyncEngine:
            engine = create_async_engine(url or stack.enter_context(empty_database(kind, tmp_path)), **options)
            stack.push_async_callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def engine(new_engine: MakeEngine) -> AsyncEngine:
    return new_engine()


@pytest.fixture
async def migrated(engine: AsyncEngine) -> AsyncEngine:
    await migrations.upgrade(engine)
    return engine
