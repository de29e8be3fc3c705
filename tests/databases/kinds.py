"""What differs between PostgreSQL, MySQL and MariaDB for whoever starts and administers a server."""

import asyncio
import re
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import asyncpg
import pymysql
from sqlalchemy import URL

CONNECT_SECONDS: Final = 60  # as for a statement: on a loaded machine either may take many
STATEMENT_SECONDS: Final = 60
DROPS: Final = 5  # of one database

# All that a server that is not up, or not yet, makes of an attempt to connect.
REFUSALS: Final = (OSError, EOFError, asyncpg.PostgresError, asyncpg.InterfaceError, pymysql.MySQLError)

Rows = list[tuple[Any, ...]]


def in_postgresql(url: URL, statement: str) -> Rows:
    """Run one statement, in a thread: the caller may be in an event loop."""

    async def run() -> Rows:
        dsn = url.render_as_string(hide_password=False)
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def in_mysql(url: URL, statement: str) -> Rows:
    """Run one statement in MySQL or MariaDB."""
    options: dict[str, Any] = url.translate_connect_args(username="user") | dict(url.query)
    limits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": STATEMENT_SECONDS}
    with pymysql.connect(**options, **limits, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def drop_in_postgresql(url: URL, name: str) -> None:
    """Its connections are ended with it; the server waits 5 s for that, which is not enough where all stands still."""
    for tries_left in reversed(range(DROPS)):
        try:
            in_postgresql(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        except asyncpg.ObjectInUseError:
            if not tries_left:
                raise
        else:
            return


def drop_in_mysql(url: URL, name: str) -> None:
    """Its connections are ended first: an open transaction would keep the statement waiting."""
    connected = in_mysql(url, f"SELECT id FROM information_schema.processlist WHERE db = '{name}'")
    for (connection,) in connected:
        try:
            in_mysql(url, f"KILL {connection}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                raise
    in_mysql(url, f"DROP DATABASE IF EXISTS `{name}`")


class Kind(NamedTuple):
    """A product: how it is asked, and how its server is configured and stopped.

    The variables set the administrator's password in its official image, `stored` is where that keeps its data.
    """

    title: str
    execute: Callable[[URL, str], Rows]
    drop: Callable[[URL, str], None]
    version: str  # a statement
    administrator: str
    database: str | None
    image: str
    program: str
    port: int
    stored: str
    variables: tuple[str, ...]
    flag: Callable[[str, str], tuple[str, ...]]
    settings: Mapping[str, str] = {}
    stop_signal: signal.Signals = signal.SIGTERM


def dashed(name: str, value: str) -> tuple[str, ...]:
    """A setting as an argument of mysqld or mariadbd."""
    return (f"--{name.replace('_', '-')}={value}",)


SMALL: Final = {"innodb_buffer_pool_size": "64M", "skip_name_resolve": "ON"}

KINDS: Final = {
    "postgresql": Kind(
        title="PostgreSQL",
        execute=in_postgresql,
        drop=drop_in_postgresql,
        version="SHOW server_version",
        administrator="postgres",
        database="postgres",
        image="postgres:18",
        program="postgres",
        port=5432,
        stored="/var/lib/postgresql",
        variables=("POSTGRES_PASSWORD",),
        flag=lambda name, value: ("-c", f"{name}={value}"),
        stop_signal=signal.SIGINT,  # SIGTERM would wait for the clients to leave
    ),
    "mysql": Kind(
        title="MySQL",
        execute=in_mysql,
        drop=drop_in_mysql,
        version="SELECT version()",
        administrator="root",
        database=None,
        image="mysql:9.7",
        program="mysqld",
        port=3306,
        stored="/var/lib/mysql",
        variables=("MYSQL_ROOT_PASSWORD",),
        flag=dashed,
        settings=SMALL | {"mysqlx": "OFF"},
    ),
    "mariadb": Kind(
        title="MariaDB",
        execute=in_mysql,
        drop=drop_in_mysql,
        version="SELECT version()",
        administrator="root",
        database=None,
        image="mariadb:11.8",
        program="mariadbd",
        port=3306,
        stored="/var/lib/mysql",
        variables=("MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD"),
        flag=dashed,
        settings=SMALL,
    ),
}


def flags(kind: str, settings: Mapping[str, str]) -> list[str]:
    """The arguments that give a server these settings over those that keep it small."""
    what = KINDS[kind]
    return [part for name, value in {**what.settings, **settings}.items() for part in what.flag(name, value)]


def product(kind: str, version: str) -> tuple[str, str]:
    """Title of the product that answers with this version, and the number in it: MariaDB answers as MySQL does."""
    title = KINDS[kind].title if kind == "postgresql" else "MariaDB" if "mariadb" in version.lower() else "MySQL"
    found = re.search(r"\d+(\.\d+)+", version)
    return title, found[0] if found else version
