"""Alembic's environment: runs the revisions on the connection, or for the URL, that `gearmand_py.migrations` gives.

It leaves logging alone: that belongs to the program.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import context
from sqlalchemy import Connection, Dialect

from gearmand_py.storage.schema import Tables
from gearmand_py.storage.view import drop_view_ddl, view_ddl

tables: Final[Tables] = context.config.attributes["tables"]


def _configure(**target: Any) -> None:
    """The revisions find `prefix` and `schema` in the context's options."""
    context.configure(
        target_metadata=tables.metadata,
        version_table=tables.version_name,
        version_table_schema=tables.schema,
        prefix=tables.prefix,
        schema=tables.schema,
        **target,
    )


def _run() -> None:
    dialect = context.get_context().dialect
    with context.begin_transaction():
        if tables.schema is not None:
            context.execute(_schema_ddl(tables.schema, dialect))
        context.execute(drop_view_ddl(dialect, tables))
        context.run_migrations()
        context.execute(view_ddl(dialect, tables))


def _schema_ddl(schema: str, dialect: Dialect) -> str:
    """CREATE SCHEMA IF NOT EXISTS asks for the right to create one even if it is there."""
    quoted = dialect.identifier_preparer.quote_schema(schema)
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}')"
        f" THEN CREATE SCHEMA {quoted}; END IF; END $$"
    )


def _online() -> None:
    # The caller began the transaction and commits it.
    connection = context.config.attributes["connection"]
    _configure(connection=connection)
    if connection.dialect.name in {"mysql", "mariadb"}:
        with _without_notes(connection):
            _run()
    else:
        _run()


@contextmanager
def _without_notes(connection: Connection) -> Iterator[None]:
    """MySQL's "it was there already" and "it was not there" would be Python's warnings. A failure ends the session."""
    connection.exec_driver_sql("SET sql_notes = 0")
    yield
    connection.exec_driver_sql("SET sql_notes = DEFAULT")


def _offline() -> None:
    url = context.config.attributes["url"]
    # Alembic writes no BEGIN and COMMIT for SQLite by itself, though its DDL is transactional.
    transactional = True if url.get_backend_name() == "sqlite" else None
    _configure(url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, transactional_ddl=transactional)
    _run()


if context.is_offline_mode():
    _offline()
else:
    _online()
