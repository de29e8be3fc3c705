"""A place for one queue on any of the databases, for tests that do not mind which."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL

from tests.databases.kinds import Rows
from tests.databases.sources import shared_server


class Queue(NamedTuple):
    """The URL for a server, and a way to look into the tables beside it."""

    kind: str
    url: URL
    query: Callable[[str], Rows]

    @property
    def length(self) -> int:
        """How many jobs the table holds."""
        return int(self.query("SELECT count(*) FROM gearman_job")[0][0])


@contextmanager
def new_queue(kind: str, folder: Path) -> Iterator[Queue]:
    """An empty database: a file in `folder`, or one in the session's server."""
    if kind == "sqlite":
        file = folder / "queue.db"
        yield Queue(kind, URL.create("sqlite", database=str(file)), lambda statement: query_file(file, statement))
        return
    server = shared_server(kind)
    url = server.create_database()
    try:
        yield Queue(kind, url, lambda statement: server.execute(statement, url.database))
    finally:
        server.drop_database(url)


def query_file(file: Path, statement: str) -> Rows:
    """The same for SQLite."""
    with closing(sqlite3.connect(file)) as database:
        return [tuple(row) for row in database.execute(statement)]
