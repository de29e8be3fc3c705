"""Node.js packages that tests need, in the versions of a lock file, kept in the user's cache from run to run."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs
import pytest

from tests.harness.tools import need

DESCRIPTION: Final = ("package.json", "package-lock.json")
SECONDS: Final = 300


@cache
def modules(project: Path) -> Path:
    """The folder with the packages that a project's lock file names, for NODE_PATH; installed first if need be."""
    lock = (project / "package-lock.json").read_bytes()
    place = platformdirs.user_cache_path("gearmand-py-tests") / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as only_one:
        fcntl.flock(only_one, fcntl.LOCK_EX)
        if not place.exists():
            install(project, place)
    return place / "node_modules"


def install(project: Path, place: Path) -> None:
    """Install beside the place and rename, so that what is there is whole."""
    unfinished = place.with_suffix(f".{os.getpid()}")
    unfinished.mkdir()
    try:
        for name in DESCRIPTION:
            shutil.copy(project / name, unfinished)
        npm = [need("npm"), "ci", "--prefix", str(unfinished), "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(npm, capture_output=True, text=True, check=False, timeout=SECONDS)
        if done.returncode:
            pytest.fail(f"this test needs packages from npm:\n{' '.join(npm)}\n{done.stderr}", pytrace=False)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
