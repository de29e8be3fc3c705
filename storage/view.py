"""The view `gearman_jobs`, which shows the table to people: words for codes, text for bytes, times for numbers.

Its columns are the same on every database: id, function_name, unique_key, priority (high, normal, low), state (waiting,
delayed, dead), attempts, node, submitted_at and run_at (UTC), age_seconds, data_bytes. No row breaks it, whatever bytes
and times are in it: a time beyond the year 9999 is NULL, as drivers know none such.

The statements have no percent sign and no colon before a word: these mean parameters to drivers and to SQLAlchemy.
"""

from typing import Final

from sqlalchemy import Dialect

from gearmand_py.storage.base import DEAD, ID_EPOCH_MS, ID_TIME_SHIFT, RUN_AT_ONCE
from gearmand_py.storage.schema import Tables

_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31 23:59:59


def view_ddl(dialect: Dialect, tables: Tables) -> str:
    """The statement that makes the view, as it is now, on a database without it."""
    select = _SELECTS[dialect.name]
    preparer = dialect.identifier_preparer
    return f"CREATE VIEW {_view(dialect, tables)} AS\n{select}FROM {preparer.format_table(tables.job)}"


def drop_view_ddl(dialect: Dialect, tables: Tables) -> str:
    """The statement that drops the view, if there is one."""
    return f"DROP VIEW IF EXISTS {_view(dialect, tables)}"


def _view(dialect: Dialect, tables: Tables) -> str:
    return dialect.identifier_preparer.format_table(tables.job, name=tables.view_name)


_PRIORITY: Final = "CASE priority WHEN 0 THEN 'high' WHEN 1 THEN 'normal' WHEN 2 THEN 'low' END"


def _state(now: str) -> str:
    return f"CASE WHEN run_at = {DEAD} THEN 'dead' WHEN run_at > {now} THEN 'delayed' ELSE 'waiting' END"


def _select(
    *, function: str, unique: str, priority: str, state: str, submitted_at: str, run_at: str, age: str, data_bytes: str
) -> str:
    """The columns by their SQL; `run_at` for values from 1 to `_LAST_SECOND`."""
    return f"""SELECT
    id,
    {function} AS function_name,
    {unique} AS unique_key,
    {priority} AS priority,
    {state} AS state,
    attempts,
    node,
    {submitted_at} AS submitted_at,
    CASE WHEN run_at > {RUN_AT_ONCE} AND run_at <= {_LAST_SECOND} THEN {run_at} END AS run_at,
    {age} AS age_seconds,
    {data_bytes} AS data_bytes
"""


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


def _sqlite_select() -> str:
    now = "CAST(strftime('%s', 'now') AS INTEGER)"
    submitted_ms = f"((id >> {ID_TIME_SHIFT}) + {ID_EPOCH_MS})"
    return _select(
        function=_sqlite_text("function_name"),
        unique=_sqlite_text("unique_key"),
        priority=_PRIORITY,
        state=_state(now),
        submitted_at=f"strftime('%Y-%m-%d %H:%M:%f', {submitted_ms} / 1000.0, 'unixepoch')",
        run_at="datetime(run_at, 'unixepoch')",
        age=f"{now} - {submitted_ms} / 1000",
        data_bytes="length(data)",
    )


# What encode(..., 'hex') and HEX() make of UTF-8 without NUL, which PostgreSQL's text cannot hold: RFC 3629, section 4,
# with two digits a byte, so that the pattern cannot get out of step with the bytes.
_ASCII: Final = "0[1-9a-f]|[1-7][0-9a-f]"
_TAIL: Final = "[89ab][0-9a-f]"
_UTF8: Final = "|".join(
    (
        _ASCII,
        f"(c[2-9a-f]|d[0-9a-f]){_TAIL}",
        f"e0[ab][0-9a-f]{_TAIL}",
        f"e[1-9abcef]({_TAIL}){{2}}",
        f"ed[89][0-9a-f]{_TAIL}",
        f"f0[9ab][0-9a-f]({_TAIL}){{2}}",
        f"f[1-3]({_TAIL}){{3}}",
        f"f48[0-9a-f]({_TAIL}){{2}}",
    )
)


def _postgresql_text(column: str) -> str:
    """Text where it is some, else PostgreSQL's escapes: a backslash and three octal digits.

    convert_from() fails on bytes that are no text, and in a database that is not UTF-8 on characters that it does not
    have. There only ASCII is taken for text.
    """
    pattern = f"CASE getdatabaseencoding() WHEN 'UTF8' THEN '^({_UTF8})*$' ELSE '^({_ASCII})*$' END"
    return f"""CASE WHEN encode({column}, 'hex') ~ {pattern}
        THEN convert_from({column}, getdatabaseencoding()) ELSE encode({column}, 'escape') END"""


def _postgresql_select() -> str:
    """Times have a time zone, and a client shows them in its own. octet_length() does not read what is out of line."""
    now = "floor(extract(epoch FROM statement_timestamp()))::bigint"
    submitted_ms = f"((id >> {ID_TIME_SHIFT}) + {ID_EPOCH_MS})"
    return _select(
        function=_postgresql_text("function_name"),
        unique=_postgresql_text("unique_key"),
        priority=_PRIORITY,
        state=_state(now),
        submitted_at=f"timestamptz 'epoch' + {submitted_ms} * interval '1 millisecond'",
        run_at="to_timestamp(run_at)",
        age=f"{now} - {submitted_ms} / 1000",
        data_bytes="octet_length(data)",
    )


def _mysql_text(column: str) -> str:
    """UTF-8 where it is some, else Latin-1, which has a character for each byte.

    Of other bytes MySQL makes NULL and MariaDB question marks, with a warning each.
    """
    hexadecimal = f"CONVERT(HEX({column}) USING utf8mb4)"
    return _mysql_exact(f"""CASE WHEN {hexadecimal} REGEXP _utf8mb4'^(00|{_UTF8.upper()})*+$'
        THEN CONVERT({column} USING utf8mb4) ELSE CONVERT({column} USING latin1) END""")


def _mysql_exact(text: str) -> str:
    """Compared as the bytes are, not as words; without a character set of its own a text has that of whoever looks, and
    some sets cannot be compared with others.
    """
    return f"CONVERT({text} USING utf8mb4) COLLATE utf8mb4_bin"


def _mysql_select() -> str:
    """Times are UTC whatever the session's time zone. `id >> 21` and UNIX_TIMESTAMP() are unsigned: a difference below
    zero, after a clock was set back, would be an error.
    """
    now = "CAST(UNIX_TIMESTAMP() AS SIGNED)"
    submitted_ms = f"(id DIV {1 << ID_TIME_SHIFT} + {ID_EPOCH_MS})"
    epoch = "TIMESTAMP '1970-01-01 00:00:00'"
    return _select(
        function=_mysql_text("function_name"),
        unique=_mysql_text("unique_key"),
        priority=_mysql_exact(_PRIORITY),
        state=_mysql_exact(_state(now)),
        submitted_at=f"CAST({epoch} + INTERVAL {submitted_ms} * 1000 MICROSECOND AS DATETIME(3))",
        run_at=f"CAST({epoch} + INTERVAL run_at SECOND AS DATETIME(3))",
        age=f"{now} - {submitted_ms} DIV 1000",
        data_bytes="LENGTH(data)",
    )


_SELECTS: Final = {
    "sqlite": _sqlite_select(),
    "postgresql": _postgresql_select(),
    "mysql": _mysql_select(),
    "mariadb": _mysql_select(),
}
