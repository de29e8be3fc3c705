"""The one table, `gearman_job`, and the view `gearman_jobs` that shows it to people.

This is the schema as it is now; `gearmand_py.migrations` has the way there, and a test holds the two equal.

Functions, unique keys and reducers are bytes, not text: a job server compares them exactly, and no collation may
fold `Resize` into `resize`. The primary key is the only index. Uniqueness is kept in memory, since an index on random
unique keys costs most of the speed and multiplies what is written.
"""

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

from gearmand_py.storage.base import DEAD, ID_EPOCH_MS, ID_TIME_SHIFT, RUN_AT_ONCE

JOB_TABLE: Final = "gearman_job"
JOB_VIEW: Final = "gearman_jobs"

# Every constraint gets a name that does not depend on the database, so that a migration can address it.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _short_bytes(length: int) -> TypeEngine[bytes]:
    """VARBINARY on MySQL, whose BLOB is made for long values; SQLite and PostgreSQL know one kind of bytes only."""
    return LargeBinary().with_variant(VARBINARY(length), "mysql", "mariadb")


# On SQLite only a key of the exact type INTEGER is the rowid; BIGINT would add an index.
_id = BigInteger().with_variant(Integer(), "sqlite")
# MySQL's plain BLOB ends at 64 KiB.
_payload = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")

gearman_job = Table(
    JOB_TABLE,
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
)


def view_ddl(dialect_name: str) -> str:
    """The statement that makes the view `gearman_jobs`, as it is now, on a database without it.

    Columns: id, function_name, unique_key (text), priority (high, normal, low), state (waiting, delayed, dead),
    attempts, node, submitted_at and run_at (UTC), age_seconds, data_bytes. Raises NotImplementedError for a database
    that has no view yet.
    """
    if dialect_name != "sqlite":
        raise NotImplementedError(f"no view {JOB_VIEW} for {dialect_name}")
    return _SQLITE_VIEW


def _sqlite_text(column: str) -> str:
    """Bytes as text that every client can read, whatever the bytes are.

    SQLite lets a cast to TEXT keep bytes that are not UTF-8, and a client that decodes strictly (Python's) then fails
    on the whole listing. char(unicode(c)) always is valid. It is slow, so it is kept for names beyond plain ASCII.
    """
    text = f"CAST({column} AS TEXT)"
    return f"""CASE WHEN {text} GLOB '*[^ -~]*' THEN (
        WITH RECURSIVE readable (i, done) AS (
            SELECT 1, ''
            UNION ALL
            SELECT i + 1, done || char(unicode(substr({text}, i, 1))) FROM readable WHERE i <= length({text})
        )
        SELECT done FROM readable ORDER BY i DESC LIMIT 1
    ) ELSE {text} END"""


_SQLITE_NOW: Final = "CAST(strftime('%s', 'now') AS INTEGER)"
_SQLITE_SUBMITTED_MS: Final = f"((id >> {ID_TIME_SHIFT}) + {ID_EPOCH_MS})"
_SQLITE_VIEW: Final = f"""CREATE VIEW {JOB_VIEW} AS
SELECT
    id,
    {_sqlite_text("function_name")} AS function_name,
    {_sqlite_text("unique_key")} AS unique_key,
    CASE priority WHEN 0 THEN 'high' WHEN 1 THEN 'normal' WHEN 2 THEN 'low' END AS priority,
    CASE WHEN run_at = {DEAD} THEN 'dead' WHEN run_at > {_SQLITE_NOW} THEN 'delayed' ELSE 'waiting' END AS state,
    attempts,
    node,
    strftime('%Y-%m-%d %H:%M:%f', {_SQLITE_SUBMITTED_MS} / 1000.0, 'unixepoch') AS submitted_at,
    CASE WHEN run_at > {RUN_AT_ONCE} THEN datetime(run_at, 'unixepoch') END AS run_at,
    {_SQLITE_NOW} - {_SQLITE_SUBMITTED_MS} / 1000 AS age_seconds,
    length(data) AS data_bytes
FROM {JOB_TABLE}"""
