"""Queues of a C gearmand for tests: its table, on any of the databases, with rows of the test's choice."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import URL

from gearmand_py.storage.gearmand.queue import Row
from tests.databases.kinds import Rows
from tests.databases.sources import shared_server
from tests.migrations.databases import postgresql_database

COLUMNS: Final = {
    "sqlite": "unique_key TEXT, function_name TEXT, priority INTEGER, data BLOB",
    "postgresql": "unique_key VARCHAR(64), function_name VARCHAR(255), priority INTEGER, data BYTEA",
    "mysql": "unique_key VARCHAR(64), function_name VARCHAR(255), priority INT, data LONGBLOB",
}
WHEN: Final = ", when_to_run INTEGER"
CONSTRAINTS: Final = {
    "sqlite": ", PRIMARY KEY (unique_key, function_name)",
    "postgresql": ", UNIQUE (unique_key, function_name)",
    "mysql": ", UNIQUE KEY (unique_key, function_name)",
}
TABLES: Final = {"sqlite": "gearman_queue", "postgresql": "queue", "mysql": "gearman_queue"}
ROWS_A_STATEMENT: Final = 5000


def job(
    unique: bytes | None,
    function: bytes | None = b"f",
    priority: int | None = 1,
    data: bytes | None = b"payload",
    when: int | None = 0,
) -> Row:
    """A row."""
    return Row(unique, function, priority, data, when)


def sqlite_literal(value: bytes, *, is_text: bool) -> str:
    return f"CAST(x'{value.hex()}' AS TEXT)" if is_text else f"x'{value.hex()}'"


def postgresql_literal(value: bytes, *, is_text: bool) -> str:
    binary = f"'\\x{value.hex()}'::bytea"
    return f"convert_from({binary}, getdatabaseencoding())" if is_text else binary


def mysql_literal(value: bytes, *, is_text: bool) -> str:
    return f"x'{value.hex()}'"


LITERALS: Final = {"sqlite": sqlite_literal, "postgresql": postgresql_literal, "mysql": mysql_literal}


class Legacy(NamedTuple):
    """A database with, or for, a queue of gearmand's."""

    kind: str
    url: URL
    execute: Callable[[str], Rows]

    @property
    def family(self) -> str:
        """MariaDB is spoken to as MySQL."""
        return "mysql" if self.kind == "mariadb" else self.kind

    @property
    def text(self) -> str:
        """The URL with its password, for --from."""
        return self.url.render_as_string(hide_password=False)

    @property
    def table(self) -> str:
        """Its default name."""
        return TABLES[self.family]

    def make(self, *rows: Row, table: str = "", constraint: bool = True, when: bool = True, options: str = "") -> None:
        """The table with these rows, in their order."""
        columns = COLUMNS[self.family] + (WHEN if when else "") + (CONSTRAINTS[self.family] if constraint else "")
        self.execute(f"CREATE TABLE {table or self.table} ({columns}) {options}")
        self.add(rows, table=table, when=when)

    def add(self, rows: Sequence[Row], *, table: str = "", when: bool = True) -> None:
        """Rows as gearmand adds them."""
        for at in range(0, len(rows), ROWS_A_STATEMENT):
            values = ", ".join(f"({self._values(row, when)})" for row in rows[at : at + ROWS_A_STATEMENT])
            self.execute(f"INSERT INTO {table or self.table} VALUES {values}")

    def _values(self, row: Row, when: bool) -> str:
        unique, function, data = (
            "NULL" if value is None else LITERALS[self.family](value, is_text=is_text)
            for value, is_text in ((row.unique, True), (row.function, True), (row.data, False))
        )
        numbers = [str(number) if number is not None else "NULL" for number in (row.priority, row.when)]
        return ", ".join([unique, function, numbers[0], data, *numbers[1:][:when]])

    @property
    def length(self) -> int:
        """How many rows are in the table."""
        return int(self.execute(f"SELECT count(*) FROM {self.table}")[0][0])


@contextmanager
def legacy(kind: str, folder: Path, *, encoding: str = "SQL_ASCII") -> Iterator[Legacy]:
    """An empty database for a queue; one of PostgreSQL takes any bytes for text."""
    if kind == "sqlite":
        file = folder / f"gearmand-{secrets.token_hex(4)}.db"
        yield Legacy(kind, URL.create("sqlite", database=str(file)), lambda statement: in_file(file, statement))
        return
    server = shared_server(kind)
    url = postgresql_database(server, encoding) if kind == "postgresql" else server.create_database()
    try:
        yield Legacy(kind, url, lambda statement: server.execute(statement, url.database))
    finally:
        server.drop_database(url)


def in_file(file: Path, statement: str) -> Rows:
    """Run one statement, committed at once."""
    with closing(sqlite3.connect(file)) as database, database:
        return [tuple(row) for row in database.execute(statement)]
