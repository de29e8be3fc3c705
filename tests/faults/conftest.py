"""Fixtures for faults of disks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disks import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system of the test's own."""
    with Disk(tmp_path / "disk") as disk:
        yield disk
