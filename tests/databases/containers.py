"""Servers in containers, through testcontainers."""

import gc
import os
import secrets
import socket
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import docker.errors
import requests.exceptions
from sqlalchemy import URL
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from tests.databases.kinds import KINDS, flags
from tests.databases.ports import HOST, free_port
from tests.databases.selection import Unavailable
from tests.databases.server import OwnedServer

NAME: Final = "gearmand-py-tests"  # in the names and labels of containers
STOP_SECONDS: Final = 60
# The container runtime gives up on a freeze where a process is just being made; the next try succeeds.
FREEZES: Final = 5
CANNOT_FREEZE: Final = "unable to freeze"
# There are look-alikes of MySQL's images that take their own, empty mark of initialised data for none, and start anew
# from nothing. The official ones have no such file.
KEEP_DATA: Final = "mark=/var/lib/mysql/.initialised; [ ! -e $mark ] || echo yes >$mark"
ENGINE_ERRORS: Final = (docker.errors.DockerException, requests.exceptions.RequestException)


@cache
def check_engine() -> None:
    """Raise Unavailable if no Docker engine answers; do without testcontainers' reaper where its image is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves a socket open when nobody answers
        refusal = _ask_engine()
        gc.collect()
    if refusal:
        raise Unavailable(f"no Docker engine answers: {refusal}")


def _ask_engine() -> str | None:
    try:
        client = DockerClient().client
    except ENGINE_ERRORS as error:
        return str(error)
    try:
        remove_leftovers(client)
        client.images.get(testcontainers_config.ryuk_image)
    except docker.errors.ImageNotFound:
        testcontainers_config.ryuk_disabled = True
    finally:
        client.close()
    return None


def remove_leftovers(client: docker.DockerClient) -> None:
    """Remove the containers of test runs on this machine that were killed."""
    for container in client.containers.list(all=True, ignore_removed=True, filters={"label": NAME}):
        host, _, pid = container.labels[NAME].partition("/")
        if host == socket.gethostname() and not Path(f"/proc/{pid}").exists():
            with suppress(docker.errors.APIError):  # another run removes it
                container.remove(force=True, v=True)


def owner() -> str:
    """The label of this run's containers."""
    return f"{socket.gethostname()}/{os.getpid()}"


class ContainerServer(OwnedServer):
    """A server in a container of its own, on a port of the host that stays its own over restarts."""

    def __init__(self, kind: str, settings: Mapping[str, str], data: Path | None = None) -> None:
        check_engine()
        what = KINDS[kind]
        image = os.environ.get(f"GEARMAND_TEST_{kind.upper()}_IMAGE") or what.image
        password = secrets.token_hex(8)
        port = free_port()
        self._container = container = DockerContainer(image, name=f"{NAME}-{kind}-{os.getpid()}-{port}")
        container.with_bind_ports(what.port, port)
        container.with_envs(**dict.fromkeys(what.variables, password))
        container.with_command([what.program, *flags(kind, settings)])
        container.with_kwargs(labels={NAME: owner()})
        if data:
            container.with_volume_mapping(data, what.stored, "rw")
            container.with_env("PGDATA", f"{what.stored}/own/data")
        self._create(image)
        host = container.get_container_host_ip().replace("localhost", HOST)
        url = URL.create(kind, what.administrator, password, host, port, what.database)
        super().__init__(kind, f"container {image}", url)
        self._start_first()

    def _create(self, image: str) -> None:
        try:
            self._container.start()
        except ENGINE_ERRORS as error:
            self.close()
            raise Unavailable(f"{image} does not start: {error}") from error

    def _start_first(self) -> None:
        try:
            self.start()
            self._docker.exec_run(["sh", "-c", KEEP_DATA])
        except BaseException:
            self.close()
            raise

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _state(self) -> str:
        self._docker.reload()
        return str(self._docker.status)

    @property
    def is_running(self) -> bool:
        return self._state() in {"running", "paused"}

    @property
    def log(self) -> str:
        return str(self._docker.logs(tail=100).decode(errors="backslashreplace"))

    def _launch(self) -> None:
        self._docker.start()  # does nothing if it runs

    def _end(self, signal: str) -> None:
        self._docker.kill(signal)
        self._docker.wait(timeout=STOP_SECONDS)

    def kill(self) -> None:
        self.thaw()  # a paused container cannot be killed
        self._end("SIGKILL")

    def stop(self) -> None:
        self.thaw()
        self._end(KINDS[self.kind].stop_signal.name)

    def freeze(self) -> None:
        for tries_left in reversed(range(FREEZES)):
            try:
                self._docker.pause()
            except docker.errors.APIError as error:
                if not (tries_left and CANNOT_FREEZE in str(error)):
                    raise
            else:
                return

    def thaw(self) -> None:
        if self._state() == "paused":
            self._docker.unpause()

    def close(self) -> None:
        """Remove the container and its volumes, if it came to be."""
        self._container.stop()
