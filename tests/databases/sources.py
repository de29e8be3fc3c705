"""Where servers come from: a URL in the environment, containers, programs of this machine, in this order."""

import atexit
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tests.databases.kinds import KINDS, REFUSALS
from tests.databases.selection import SOURCES, Unavailable
from tests.databases.server import DatabaseServer, OwnedServer


class Wishes(NamedTuple):
    """What a test wants of its own server: settings by their names in the product, and where the data go."""

    settings: Mapping[str, str]
    data: Path | None


NONE: Final = Wishes({}, None)


def variable(kind: str) -> str:
    """The environment variable with the URL of a server."""
    return f"GEARMAND_TEST_{kind.upper()}_URL"


def from_url(kind: str) -> DatabaseServer:
    """The server that the environment names."""
    try:
        url = administrator(kind, make_url(os.environ[variable(kind)]))
        server = DatabaseServer(kind, variable(kind), url)
        version = server.version
    except (ArgumentError, *REFUSALS) as error:
        raise Unavailable(f"{variable(kind)} leads to no server: {error}") from error
    if not version.startswith(KINDS[kind].title):
        raise Unavailable(f"{variable(kind)} leads to {version}")
    return server


def administrator(kind: str, url: URL) -> URL:
    """The URL without the name of a driver, and with a database where one is needed to connect."""
    return url.set(drivername=kind, database=url.database or KINDS[kind].database)


def from_containers(kind: str, wishes: Wishes) -> OwnedServer:
    """A new container."""
    from tests.databases.containers import ContainerServer

    return ContainerServer(kind, wishes.settings, wishes.data)


def from_machine(kind: str, wishes: Wishes) -> OwnedServer:
    """A program of this machine, or of its distribution's packages."""
    from tests.databases.local import start_local

    return start_local(kind, wishes.settings, wishes.data)


def not_from_url(kind: str, wishes: Wishes) -> OwnedServer:
    """Why there is no server to start."""
    if os.environ.get(variable(kind)):
        raise Unavailable(f"the server of {variable(kind)} is not one to kill")
    raise Unavailable(f"{variable(kind)} is not set")


OWNED: Final[Mapping[str, Callable[[str, Wishes], OwnedServer]]] = {
    "url": not_from_url,
    "containers": from_containers,
    "local": from_machine,
}

_shared: Final[dict[str, DatabaseServer]] = {}
_reasons: Final[dict[tuple[str, str], str]] = {}  # by kind and source: what failed once is not tried again
_used: Final[dict[str, dict[str, None]]] = {}  # by kind: where its servers came from, in order


def shared_server(kind: str) -> DatabaseServer:
    """The session's server: started at first use, gone at the end. The test fails if none can be had."""
    if kind not in _shared:
        _shared[kind] = _from_environment(kind) or _start(kind, NONE)
        _note(_shared[kind])
    return _shared[kind]


@contextmanager
def own_server(kind: str, settings: Mapping[str, str] | None = None, data: Path | None = None) -> Iterator[OwnedServer]:
    """A server of the test's own, with further settings and its data in a directory of the caller's choice."""
    with _start(kind, Wishes(settings or {}, data)) as server:
        _note(server)
        yield server


def _from_environment(kind: str) -> DatabaseServer | None:
    """The server of the URL; one that is given and does not work is an error, not a reason to look elsewhere."""
    if "url" not in SOURCES or not os.environ.get(variable(kind)):
        return None
    try:
        return from_url(kind)
    except Unavailable as error:
        pytest.fail(str(error), pytrace=False)


def _start(kind: str, wishes: Wishes) -> OwnedServer:
    reasons = []
    for source in SOURCES:
        try:
            return _start_from(source, kind, wishes)
        except Unavailable as error:
            reasons.append(f"{source}: {error}")
    pytest.fail(explain(kind, reasons), pytrace=False)


def _start_from(source: str, kind: str, wishes: Wishes) -> OwnedServer:
    if reason := _reasons.get((kind, source)):
        raise Unavailable(reason)
    try:
        return OWNED[source](kind, wishes)
    except Unavailable as error:
        if wishes == NONE:  # else it may be these that it cannot do
            _reasons[kind, source] = str(error)
        raise


def explain(kind: str, reasons: list[str]) -> str:
    """Why there is no server, and what would help."""
    title, image = KINDS[kind].title, KINDS[kind].image
    remedies = [
        f"set {variable(kind)} to the URL of an administrator of a server (for tests that kill none)",
        f"start Docker, with access to the image {image} or to the one named in GEARMAND_TEST_{kind.upper()}_IMAGE",
        f"install {title} on this machine; on Debian its packages are fetched when a mirror can be reached",
        f"leave {title} out: DATABASES=sqlite",
    ]
    text = [f"this test needs a {title} server; looked in {', '.join(SOURCES)} (GEARMAND_TEST_SOURCES)", *reasons]
    return "\n- ".join(text) + "\nAny of these helps:\n- " + "\n- ".join(remedies)


def _note(server: DatabaseServer) -> None:
    _used.setdefault(server.kind, {})[f"{server.source}, {server.version}"] = None


def used() -> list[str]:
    """What the tests ran on, a line for each database."""
    return [f"{kind}: {'; '.join(servers)}" for kind, servers in _used.items()]


@atexit.register
def close_shared() -> None:
    """Take the session's servers away."""
    while _shared:
        _, server = _shared.popitem()
        if isinstance(server, OwnedServer):
            server.close()
