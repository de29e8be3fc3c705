"""Fixtures for the examples."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A checkout to follow a README in."""
    with ExitStack() as opened:
        yield Checkout(tmp_path, opened)
