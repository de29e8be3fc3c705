"""Programs that tests need and a fresh machine may lack.

A test never skips for want of one: it is installed where that is possible, and where it is not the test fails and
names the package.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

APT_SECONDS: Final = 300


class Tool(NamedTuple):
    """A program, the Debian packages that bring it, and arguments with which it succeeds if nothing is missing."""

    packages: tuple[str, ...]
    probe: tuple[str, ...] = ()


TOOLS: Final = {
    "gcc": Tool(("gcc", "libc6-dev")),
    "gearadmin": Tool(("gearman-tools",)),
    "gearman": Tool(("gearman-tools",)),
    "gearmand": Tool(("gearman-job-server",)),
    "node": Tool(("nodejs",)),
    "npm": Tool(("npm",)),
    "perl": Tool(("perl", "libgearman-client-perl"), ("-MGearman::Client", "-MJSON::PP", "-MDigest::SHA", "-e", "1")),
    "pgbouncer": Tool(("pgbouncer",)),
    "pkill": Tool(("procps",)),
    "php": Tool(
        ("php-cli", "php-gd", "php-gearman"),
        ("-r", "exit(array_diff(['gd', 'gearman'], get_loaded_extensions()) ? 1 : 0);"),
    ),
    "strace": Tool(("strace",)),
    "systemd-analyze": Tool(("systemd",)),
    "systemd-socket-activate": Tool(("systemd",)),
}


@cache
def need(program: str) -> str:
    """The path of a program, which is installed first if it is missing; the test fails if it cannot be had."""
    tool = TOOLS.get(program, Tool((program,)))
    if path := find(program, tool):
        return path
    reason = install(program, tool)
    if path := find(program, tool):
        return path
    packages = " ".join(tool.packages)
    pytest.fail(f"this test needs {program}: apt-get install {packages}\n{reason}", pytrace=False)


def find(program: str, tool: Tool) -> str | None:
    """The path of a program that is here and passes its probe."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")  # not on the path of ordinary users
    if path and tool.probe:
        probe = subprocess.run([path, *tool.probe], capture_output=True, check=False, timeout=APT_SECONDS)
        return None if probe.returncode else path
    return path


@cache
def install(program: str, tool: Tool) -> str:
    """Try to install a program; returns why that failed, or nothing."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return "It is not installed by the test: that takes root on a Debian system."
    with (Path(tempfile.gettempdir()) / "gearmand-py-tests.apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several runs installs, the others then find it
        if find(program, tool):
            return ""
        updated = apt_get("update")  # may fail for a source that is not needed
        installed = apt_get("install", "--yes", "--no-install-recommends", *tool.packages)
        return updated + installed if installed else ""


def apt_get(*arguments: str) -> str:
    """Run apt-get; returns what it said if it failed, or nothing."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", "--quiet", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=APT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {arguments[0]} took more than {APT_SECONDS} s"
    return done.stdout if done.returncode else ""
