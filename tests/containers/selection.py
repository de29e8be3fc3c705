"""Whether containers are tested: that takes a Docker engine, which not every machine has."""

import os
import shutil
import subprocess
from functools import cache
from typing import Final

from tests.databases.selection import SERVERS, SOURCES

NEEDED: Final = (("version", "--format", "{{.Server.Version}}"), ("compose", "version"), ("buildx", "version"))
ANSWER_SECONDS: Final = 30


@cache
def left_out() -> str | None:
    """Why these tests are left out; None if they are not. Whoever asks for containers by name gets them or errors."""
    if not SERVERS:
        return "DATABASES names no database server"
    if "containers" not in SOURCES:
        return "GEARMAND_TEST_SOURCES does not name them"
    if os.environ.get("GEARMAND_TEST_SOURCES"):
        return None
    return missing()


def missing() -> str | None:
    """What there is not of the docker command, its plugins and the engine."""
    if not shutil.which("docker"):
        return "there is no docker command"
    for words in NEEDED:
        try:
            done = subprocess.run(
                ["docker", *words], capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"docker {words[0]} does not answer"
        if done.returncode:
            return f"docker {words[0]}: {done.stderr.strip()}"
    return None
