"""Docker, by its command: single containers of the session's image, and what a session leaves behind."""

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import pytest

from tests.databases.ports import HOST, free_port
from tests.harness.process import Process

REPOSITORY: Final = "gearmand-py-tests"
LISTENING: Final = rb"listening on 0\.0\.0\.0:4730"
SECONDS: Final = 60.0  # of one docker command that neither builds nor waits for a database
# What an operator who trusts nobody adds to `docker run`, and the compose file has.
HARDENED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# Of our environment only what docker itself needs: the compose file reads many variables.
KEPT: Final = re.compile(r"PATH|HOME|USER|LANG|TMPDIR|DOCKER_\w+|BUILDX_\w+|XDG_\w+|(?i:\w+_proxy)")


class Ended:
    """What came of a docker command."""

    def __init__(self, command: Sequence[str], done: "subprocess.CompletedProcess[str]") -> None:
        self.command = command
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr

    def output(self) -> str:
        """What it printed, if it succeeded, without the last line end."""
        if self.status:
            self.fail(f"ended with exit code {self.status}")
        return self.stdout.removesuffix("\n")

    def fail(self, reason: str) -> NoReturn:
        pytest.fail(
            f"docker {' '.join(self.command)}\n{reason}\n--- stdout\n{self.stdout[-4000:]}\n"
            f"--- stderr\n{self.stderr[-8000:]}"
        )


def docker(*words: str, at: Path | None = None, stdin: str = "", seconds: float = SECONDS) -> Ended:
    """Run a docker command to its end, in the directory `at`."""
    environment = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    try:
        done = subprocess.run(
            ["docker", *words],
            cwd=at,
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"docker {' '.join(words)}\ndid not end within {seconds} s")
    return Ended(words, done)


class Container:
    """A container of the image that serves on a port of this machine. `options` are those of `docker run`."""

    def __init__(self, image: str, *words: str, options: Sequence[str] = HARDENED) -> None:
        self.port = free_port()
        published = f"--publish={HOST}:{self.port}:4730"
        self.id = docker("create", f"--label={REPOSITORY}={image}", published, *options, image, *words).output()
        self._process: Process | None = None

    def start(self) -> Process:
        """Start it; returns the process through which its output comes, and its exit code."""
        self._process = Process(["docker", "start", "--attach", self.id])
        return self._process

    def serve(self) -> Process:
        """Start it, and wait until it listens."""
        process = self.start()
        process.expect_error(LISTENING)
        return process

    def stop(self) -> int:
        """`docker stop`: SIGTERM; returns the exit code, 137 if it had to be killed."""
        docker("stop", self.id).output()
        assert self._process
        return self._process.wait()

    def kill(self) -> None:
        """kill -9"""
        docker("kill", "--signal=KILL", self.id).output()
        assert self._process
        self._process.wait()

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.id).output()
        if self._process:
            self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


def session_name() -> str:
    """This run's: the tag of its image, and part of the name of its compose project."""
    return f"{this_machine()}-{os.getpid()}"


def this_machine() -> str:
    """Its name, in letters that Docker takes everywhere."""
    return re.sub(r"[^a-z0-9]", "-", socket.gethostname().lower())


def remove_leftovers() -> None:
    """Take away what test runs on this machine that were killed have left."""
    for name in docker("image", "ls", REPOSITORY, "--format={{.Tag}}").output().split():
        machine, _, pid = name.rpartition("-")
        if machine == this_machine() and not Path(f"/proc/{pid}").exists():
            with suppress(pytest.fail.Exception):  # another run does it
                remove_all_of(name)


def remove_all_of(name: str) -> None:
    """Take away whatever a session has made; the image last, by which all of it is found."""
    image, project = f"{REPOSITORY}:{name}", f"{REPOSITORY}-{name}"
    docker("compose", f"--project-name={project}", "down", "--volumes", "--remove-orphans").output()
    remove_labelled(image, ["ps", "--all"], ["rm", "--force", "--volumes"])
    remove_labelled(image, ["volume", "ls"], ["volume", "rm"])
    # Compose builds anew, with labels of its own, and takes the name away from what had it.
    for label in (f"{REPOSITORY}={image}", f"com.docker.compose.project={project}"):
        prune_images(label)
    docker("image", "rm", "--force", image).output()


def prune_images(label: str) -> None:
    """The engine does it for one at a time, and refuses it to the others: the processes of a run end together."""
    until = time.monotonic() + SECONDS
    while (pruned := docker("image", "prune", "--force", f"--filter=label={label}")).status:
        if "already running" not in pruned.stderr or time.monotonic() > until:
            pruned.output()


def remove_labelled(image: str, listing: Sequence[str], removal: Sequence[str]) -> None:
    found = docker(*listing, "--quiet", f"--filter=label={REPOSITORY}={image}").output().split()
    if found:
        docker(*removal, *found).output()


def image_config(image: str) -> dict[str, Any]:
    """What the image says of itself."""
    config: dict[str, Any] = json.loads(docker("image", "inspect", "--format={{json .Config}}", image).output())
    return config
