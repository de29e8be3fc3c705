"""Alembic's environment: runs the revisions on the connection, or for the URL, that `gearmand_py.migrations` gives.

It leaves logging alone: that belongs to the program.
"""

from typing import Any

from alembic import context
from sqlalchemy import make_url

from gearmand_py.migrations import VERSION_TABLE
from gearmand_py.storage.schema import JOB_VIEW, metadata, view_ddl


def _configure(**target: Any) -> None:
    context.configure(target_metadata=metadata, version_table=VERSION_TABLE, **target)


def _run(dialect_name: str) -> None:
    with context.begin_transaction():
        context.execute(f"DROP VIEW IF EXISTS {JOB_VIEW}")
        context.run_migrations()
        context.execute(view_ddl(dialect_name))


def _online() -> None:
    # The caller began the transaction and commits it.
    connection = context.config.attributes["connection"]
    _configure(connection=connection)
    _run(connection.dialect.name)


def _offline() -> None:
    url = make_url(context.config.attributes["url"])
    dialect_name = url.get_backend_name()
    # Alembic writes no BEGIN and COMMIT for SQLite by itself, though its DDL is transactional.
    transactional = True if dialect_name == "sqlite" else None
    _configure(url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, transactional_ddl=transactional)
    _run(dialect_name)


if context.is_offline_mode():
    _offline()
else:
    _online()
