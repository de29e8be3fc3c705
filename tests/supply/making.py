"""The Makefile's targets for the lock files, in a directory of their own."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.harness.tools import need
from tests.supply.locks import LOCKS, ROOT

SECONDS: Final = 120


def make(folder: Path, target: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """What became of a target, made with the environment that runs the tests."""
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(ROOT / name, folder)
    command = [need("make"), "--old-file=setup", f"VENV={sys.prefix}", target, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
