"""Fixtures for faults of disks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disks import Disk

# Room for SQLite's log at the length where it is written back, and for some jobs.
SIZE = 8 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system of the test's own."""
    with Disk(tmp_path / "disk", SIZE) as disk:
        yield disk
