"""Fixtures for tests of imports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command.running import GearmandPy
from tests.databases.queues import Queue, new_queue
from tests.databases.selection import SELECTED
from tests.importing.legacy import Legacy, legacy


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command; what was started ends with the test, which fails if any of it printed a traceback."""
    command = GearmandPy()
    yield command
    command.close()


@pytest.fixture(params=SELECTED)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Legacy]:
    """A database for a queue of gearmand's, on each of the kinds."""
    with legacy(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def file_source(tmp_path: Path) -> Iterator[Legacy]:
    """The same as a SQLite file."""
    with legacy("sqlite", tmp_path) as made:
        yield made


@pytest.fixture(params=SELECTED)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty database for our queue, on each of the kinds."""
    with new_queue(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def file_queue(tmp_path: Path) -> Iterator[Queue]:
    """The same as a SQLite file."""
    with new_queue("sqlite", tmp_path) as made:
        yield made
