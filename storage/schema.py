"""The tables, whose names a prefix and a PostgreSQL schema may change: `gearman_job`; `gearman_node`, which says how
far each node's ids have come; and `gearman_import`, which says how far each import has come, and is no server's
business.

This is the schema as it is now; `gearmand_py.migrations` has the way there, and a test holds the two equal. The view
that shows the table to people is in `storage/view.py`.

Functions, unique keys and reducers are bytes, not text: a job server compares them exactly, and no collation may
fold `Resize` into `resize`. The primary key is the only index. Uniqueness is kept in memory, since an index on random
unique keys costs most of the speed and multiplies what is written.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
)
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY
from sqlalchemy.types import TypeEngine

from gearmand_py.storage.base import StorageError

JOB_TABLE: Final = "gearman_job"
JOB_VIEW: Final = "gearman_jobs"
IMPORT_TABLE: Final = "gearman_import"
NODE_TABLE: Final = "gearman_node"
# Alembic's usual name would collide with the application whose database we may share.
VERSION_TABLE: Final = "gearman_alembic_version"

# PostgreSQL cuts a longer name off without a word, and two names may become one.
_LONGEST_NAME: Final = 63
# The longest of ours is that of the version table's key, which Alembic makes.
_LONGEST_PREFIX: Final = _LONGEST_NAME - len(f"{VERSION_TABLE}_pkc")
_PREFIX: Final = re.compile(rf"[A-Za-z0-9_]{{0,{_LONGEST_PREFIX}}}")
_SCHEMA: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{_LONGEST_NAME - 1}}}")

# Every constraint gets a name that does not depend on the database, so that a migration can address it.
_NAMING: Final = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


@dataclass(frozen=True)
class Tables:
    """What one queue is called in its database. `schema` is PostgreSQL's; None leaves it to the search_path.

    Raises StorageError for a prefix or schema that does not make good names.
    """

    prefix: str = ""
    schema: str | None = None

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise StorageError(
                f"--table-prefix cannot be {self.prefix!r}: use letters, digits and underscores,"
                f" at most {_LONGEST_PREFIX} of them"
            )
        if self.schema is not None and not _SCHEMA.fullmatch(self.schema):
            raise StorageError(
                f"--database-schema cannot be {self.schema!r}: use letters, digits and underscores,"
                f" no digit first, at most {_LONGEST_NAME} of them"
            )

    @property
    def job_name(self) -> str:
        """The table of jobs, without its schema."""
        return self.prefix + JOB_TABLE

    @property
    def view_name(self) -> str:
        """The view of jobs, without its schema."""
        return self.prefix + JOB_VIEW

    @property
    def version_name(self) -> str:
        """Alembic's table, without its schema."""
        return self.prefix + VERSION_TABLE

    @property
    def import_name(self) -> str:
        """The table of imports, without its schema."""
        return self.prefix + IMPORT_TABLE

    @property
    def node_name(self) -> str:
        """The table of nodes, without its schema."""
        return self.prefix + NODE_TABLE

    @cached_property
    def metadata(self) -> MetaData:
        """Holds all tables."""
        metadata = MetaData(schema=self.schema, naming_convention=_NAMING)
        _job_table(self.job_name, metadata)
        _import_table(self.import_name, metadata)
        _node_table(self.node_name, metadata)
        return metadata

    @cached_property
    def job(self) -> Table:
        """The table of jobs."""
        return self._table(self.job_name)

    @cached_property
    def imports(self) -> Table:
        """The table of imports."""
        return self._table(self.import_name)

    @cached_property
    def nodes(self) -> Table:
        """The table of nodes."""
        return self._table(self.node_name)

    def _table(self, name: str) -> Table:
        return self.metadata.tables[f"{self.schema}.{name}" if self.schema else name]


def _short_bytes(length: int) -> TypeEngine[bytes]:
    """VARBINARY on MySQL, whose BLOB is made for long values; SQLite and PostgreSQL know one kind of bytes only."""
    return LargeBinary().with_variant(VARBINARY(length), "mysql", "mariadb")


# On SQLite only a key of the exact type INTEGER is the rowid; BIGINT would add an index.
_id = BigInteger().with_variant(Integer(), "sqlite")
_number = SmallInteger().with_variant(Integer(), "sqlite")
# MySQL's plain BLOB ends at 64 KiB.
_payload = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def _job_table(name: str, metadata: MetaData) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _id, autoincrement=False, comment="42 bits ms since 2024, 10 bits node, 11 bits sequence"),
        Column("function_name", _short_bytes(512), nullable=False, comment="exact bytes, case and all"),
        Column("unique_key", _short_bytes(64), comment="NULL: the client gave none"),
        Column("priority", SmallInteger, nullable=False, comment="0 high, 1 normal, 2 low"),
        Column("attempts", SmallInteger, nullable=False, comment="runs that ended without a result"),
        Column("node", SmallInteger, nullable=False, comment="the server that owns the job"),
        Column("run_at", BigInteger, nullable=False, comment="0 at once, epoch seconds delayed, -1 dead"),
        Column("reducer", _short_bytes(512), comment="NULL: an ordinary job"),
        Column("data", _payload, nullable=False, comment="the payload as the client sent it"),
        PrimaryKeyConstraint("id"),
        # A server's default engine may be one that keeps no promise.
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def _import_table(name: str, metadata: MetaData) -> Table:
    """One row a source. Its page of jobs and what this says of it are one transaction: nothing is imported twice."""
    return Table(
        name,
        metadata,
        Column("id", _id, autoincrement=False, comment="of the source's database and table"),
        Column("source", _short_bytes(512), nullable=False, comment="the same for people"),
        Column("source_rows", BigInteger, nullable=False, comment="when the import began"),
        Column("rows_done", BigInteger, nullable=False, comment="in the source's order"),
        Column("rows_imported", BigInteger, nullable=False, comment="jobs of ours by now"),
        Column("rows_present", BigInteger, nullable=False, comment="jobs that were in the queue already"),
        Column("rows_refused", BigInteger, nullable=False, comment="not to be had as jobs"),
        Column("last_id", BigInteger, nullable=False, comment="of the job imported last"),
        Column("fingerprint", BigInteger, nullable=False, comment="of all rows done"),
        Column("begun_at", BigInteger, nullable=False, comment="epoch seconds"),
        Column("finished_at", BigInteger, nullable=False, comment="epoch seconds, 0 not yet"),
        PrimaryKeyConstraint("id"),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def _node_table(name: str, metadata: MetaData) -> Table:
    """The rows of finished jobs are gone: without this a clock that was ahead would have their ids given again."""
    return Table(
        name,
        metadata,
        Column("node", _number, autoincrement=False, comment="as in the table of jobs"),
        Column("ids_below", BigInteger, nullable=False, comment="ids below this may have been given"),
        PrimaryKeyConstraint("node"),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


DEFAULT: Final = Tables()
