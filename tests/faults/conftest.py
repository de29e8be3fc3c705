"""Fixtures for faults of disks and of databases."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

import pytest
from sqlalchemy import URL

from tests.conftest import StartServer
from tests.databases.selection import SERVERS
from tests.databases.server import OwnedServer
from tests.databases.sources import own_server
from tests.faults.disks import Disk
from tests.faults.outages import Place, place_on
from tests.faults.story import Story

SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgresql": {},
    "mysql": {"innodb_data_file_path": "ibdata1:12M:autoextend:max:40M"},  # of one tablespace that a test fills
    "mariadb": {},
}
HERE: Final = Path(__file__).parent


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system of the test's own."""
    with Disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(scope="session", params=SERVERS)
def own(request: pytest.FixtureRequest) -> Iterator[OwnedServer]:
    """A database server to be killed and broken. A test leaves it running and whole."""
    with own_server(request.param, SETTINGS[request.param]) as server:
        yield server


@pytest.fixture
def place(own: OwnedServer) -> Iterator[Place]:
    """See Place."""
    with place_on(own) as place:
        yield place


class Tell(Protocol):
    """Starts a server at a place, and its story."""

    def __call__(
        self,
        place: Place,
        *arguments: str,
        timeout: int = 30,
        database: URL | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Story: ...


@pytest.fixture
def tell_of(start_server: StartServer) -> Iterator[Tell]:
    """See Tell. In the end no server may have shown a password, or left an error to nobody."""
    told: list[tuple[Place, set[str], Story]] = []
    with ExitStack() as stack:

        def tell(
            place: Place,
            *arguments: str,
            timeout: int = 30,
            database: URL | None = None,
            environment: Mapping[str, str] | None = None,
        ) -> Story:
            options = ("--storage-timeout", str(timeout), *arguments)
            server = start_server(*options, database=database or place.url, environment=environment)
            story = Story(server, stack)
            told.append((place, {place.password}, story))
            return story

        yield tell
    for place, passwords, story in told:
        assert "never retrieved" not in story.server.stderr
        for password in passwords | {place.password}:
            assert password not in story.server.stderr


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test of databases of which none is selected is left out, and not skipped."""
    empty = [item for item in items if item.path.is_relative_to(HERE) and "NOTSET" in item.name]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
