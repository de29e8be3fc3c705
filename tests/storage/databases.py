"""The databases that the exercise runs on. A further one is a function here and its entry in DATABASES."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import URL

from gearmand_py.migrations import upgrade
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.urls import storage_for
from tests.databases.selection import SELECTED, SERVERS
from tests.databases.sources import shared_server
from tests.storage.pgbouncer import pgbouncer

LARGEST_PACKET: Final = 128 * 1024 * 1024


class StorageFactory(Protocol):
    """Each call gives another storage on the same queue, not opened."""

    def __call__(self, **settings: Any) -> SqlStorage: ...


@contextmanager
def sqlite(folder: Path) -> Iterator[StorageFactory]:
    """A file of its own."""
    yield partial(storage_for, f"sqlite:///{folder / 'queue.db'}")


@contextmanager
def on_server(kind: str, driver: str, _folder: Path) -> Iterator[StorageFactory]:
    """A database of its own in the session's server."""
    with database_in(kind) as url:
        yield partial(storage_for, text_of(url.set(drivername=kind + driver)))


@contextmanager
def through_pgbouncer(_folder: Path) -> Iterator[StorageFactory]:
    """A database of its own in the session's server, behind a proxy that gives each transaction another session."""
    with database_in("postgresql") as url, pgbouncer(url) as proxied:
        yield partial(storage_for, text_of(proxied))


@contextmanager
def database_in(kind: str) -> Iterator[URL]:
    """An empty database in the session's server of that kind."""
    server = shared_server(kind)
    if kind != "postgresql":  # MariaDB's default of 16 MiB is less than the largest job of the exercise
        server.execute(f"SET GLOBAL max_allowed_packet = {LARGEST_PACKET}")
    url = server.create_database()
    try:
        yield url
    finally:
        server.drop_database(url)


def text_of(url: URL) -> str:
    """The URL with its password."""
    return url.render_as_string(hide_password=False)


# Each makes a database that is empty, in or beside the given directory, and takes it away again.
DATABASES: Final[dict[str, Callable[[Path], AbstractContextManager[StorageFactory]]]] = {
    **({"sqlite": sqlite} if "sqlite" in SELECTED else {}),
    **{kind: partial(on_server, kind, "") for kind in SERVERS},
    **({"postgresql+pgbouncer": through_pgbouncer} if "postgresql" in SERVERS else {}),
    **{f"{kind}+asyncmy": partial(on_server, kind, "+asyncmy") for kind in SERVERS if kind != "postgresql"},
}


async def migrate(make_storage: StorageFactory) -> None:
    """Bring an empty database to the newest schema."""
    async with make_storage() as storage:
        await upgrade(storage.engine, storage.tables)
