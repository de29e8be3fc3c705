"""Every input that led somewhere, once again: no promise is broken."""

from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.targets import TARGETS

CORPUS: Final = Path(__file__).with_name("corpus")
INPUTS: Final = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_that_was_kept(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_each_target_has_inputs() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
