"""gearmand's own options for its queue, as ours: which database is meant, and which have nothing to say here."""

import re
from collections.abc import Callable
from getpass import getuser
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from gearmand_py.server.options import own_name, setting
from gearmand_py.storage.builtin import BUILTIN

Params = dict[str, Any]

QUEUE_TYPE_HELP: Final = (
    "gearmand's way to name the database, with the options below: libsqlite3, Postgres, MySQL, or builtin, which "
    "keeps nothing. Its tables are made when there are none."
)


# Where Debian's libpq looks for PostgreSQL when no host is given, and where others do.
SOCKET_FOLDERS: Final = ("/var/run/postgresql", "/tmp")  # noqa: S108
NOT_MISSED: Final = {
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
}


class QueueType(click.ParamType[str]):
    """One of gearmand's modules that has a database we know."""

    name = "queue type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Case does not matter."""
        if value and str(value).lower() not in DATABASES:
            self.fail(
                f"{value!r} is not a queue that gearmand-py has: use libsqlite3, Postgres, MySQL or builtin, "
                "or give --database",
                param,
                ctx,
            )
        return str(value)


QUEUE_OPTIONS: Final = [
    setting("-q", "--queue-type", type=QueueType(), default="", metavar="TYPE", help=QUEUE_TYPE_HELP),
    setting("--libsqlite3-db", default="", metavar="FILE", help="With libsqlite3: the database file."),
    setting("--libsqlite3-table", default="gearman_queue", metavar="NAME", help="As --mysql-table, with libsqlite3."),
    setting("--libpq-conninfo", default="", metavar="TEXT", help="With Postgres: libpq's connection string, or a URL."),
    setting("--libpq-table", default="queue", metavar="NAME", help="As --mysql-table, with Postgres."),
    setting("--mysql-host", default="localhost", metavar="HOST", help="With MySQL: the database's host."),
    setting("--mysql-port", type=click.IntRange(1, 65535), default=3306, help="With MySQL: its port."),
    setting("--mysql-user", default="", metavar="NAME", help="With MySQL: its user."),
    setting("--mysql-password", default="", metavar="TEXT", help="With MySQL: the user's password, for all to see."),
    setting("--mysql-db", default="", metavar="NAME", help="With MySQL: the database."),
    setting(
        "--mysql-table",
        default="gearman_queue",
        metavar="NAME",
        help="With MySQL: a name other than gearmand's own becomes the --table-prefix, so that the queues of several "
        "servers stay apart.",
    ),
]
WITHOUT_EFFECT: Final = [
    setting(*names, **attributes, hidden=True, show_default=False, help=f"{lead}; without effect here.")
    for names, attributes, lead in (
        (("-t", "--threads"), {"metavar": "NUMBER"}, "gearmand's I/O threads"),
        (("--hashtable-buckets",), {"metavar": "NUMBER"}, "The size of gearmand's hash tables"),
        (("--coredump",), {"is_flag": True}, "gearmand's core dumps"),
        (("--store-queue-on-shutdown",), {"is_flag": True}, "All background jobs are stored at once"),
        (("-R", "--round-robin"), {"is_flag": True}, "Functions of equal priority always take turns"),
        (("-r", "--protocol"), {"metavar": "NAME"}, "gearmand's HTTP module"),
        (("--http-port",), {"metavar": "NUMBER"}, "gearmand's HTTP module"),
    )
]
HARMLESS: Final = ("round_robin", "store_queue_on_shutdown")  # what they ask for holds anyway


# The files are where gearmand looks for them.
TLS_OPTIONS: Final = [
    setting("--ssl", is_flag=True, default=False, help="Speak TLS on --port. Unix sockets stay plain."),
    setting(
        "--ssl-port",
        type=click.IntRange(0, 65535),
        default=0,
        show_default="none",
        help="Speak TLS on this port, and plainly on --port beside it.",
    ),
    setting(
        "--ssl-certificate",
        also="GEARMAND_SERVER_PEM",
        default="/etc/ssl/certs/gearmand.pem",
        metavar="FILE",
        help="With TLS: the server's certificate, and those that lead to its authority. SIGHUP reads it anew.",
    ),
    setting(
        "--ssl-key",
        also="GEARMAND_SERVER_KEY",
        default="/etc/ssl/certs/gearmand.key",
        metavar="FILE",
        help="With TLS: the certificate's key, without a passphrase.",
    ),
    setting(
        "--ssl-ca-file",
        also="GEARMAND_CA_CERTIFICATE",
        default="",
        metavar="FILE",
        help="With TLS: the authorities whose certificates clients may show. Without it none is asked for.",
    ),
    setting(
        "--ssl-verify-client",
        is_flag=True,
        default=False,
        help="With TLS: refuse clients that show no certificate of the --ssl-ca-file.",
    ),
]


class Queue(NamedTuple):
    """Which tables of which database."""

    database: str
    table_prefix: str


def queue_of(params: Params) -> Queue:
    """What --queue-type and its options mean. Raises click.BadParameter."""
    kind = params["queue_type"].lower()
    make_url, table_option = DATABASES[kind]
    table = params.get(table_option, "")
    usual = next((option.default for option in QUEUE_OPTIONS if option.name == table_option), "")
    return Queue(make_url(params), "" if table == usual else f"{table}_")


def sqlite_url(params: Params) -> str:
    """The file, or where ours is by default."""
    path = params["libsqlite3_db"]
    return url("sqlite", database=path) if path else ""


def postgres_url(params: Params) -> str:
    """From libpq's connection string. Raises click.BadParameter."""
    text = params["libpq_conninfo"]
    if "://" in text:
        return str(text)
    words = parse_conninfo(text)
    address = words.pop("hostaddr", "")
    host = words.pop("host", "") or address
    port = words.pop("port", "") or "5432"
    if not re.fullmatch(r"[0-9]{1,5}", port):
        raise click.BadParameter(f"--libpq-conninfo: port={port} is no number")
    login = {"username": words.pop("user", None), "password": words.pop("password", None)}
    database = words.pop("dbname", None) or login["username"]
    return url("postgresql", **login, database=database, **place(host, port, taken_over(words)))


def place(host: str, port: str, query: dict[str, str]) -> Params:
    """Where PostgreSQL listens: a path, or no host at all, is its Unix socket, if there is one."""
    folder = host if host.startswith("/") else "" if host else next(filter(has_socket(port), SOCKET_FOLDERS), "")
    if folder:
        return {"query": {**query, "host": folder, "port": port}}
    return {"host": host or "localhost", "port": int(port), "query": query}


def has_socket(port: str) -> Callable[[str], bool]:
    """Whether PostgreSQL's socket for a port is in a directory."""
    return lambda folder: Path(folder, f".s.PGSQL.{port}").exists()


def taken_over(words: dict[str, str]) -> dict[str, str]:
    """What of the other words has a place in a URL. Raises click.BadParameter for what would be missed."""
    known = {key: value for key, value in words.items() if key.startswith("ssl")}
    for key in words.keys() - known.keys() - NOT_MISSED:
        raise click.BadParameter(f"--libpq-conninfo: {key}= has no counterpart here: see --database")
    return known


def mysql_url(params: Params) -> str:
    """From --mysql-host and the others. Raises click.BadParameter."""
    if not params["mysql_db"]:
        raise click.BadParameter("--queue-type MySQL needs --mysql-db, the name of the database")
    user, password = params["mysql_user"] or getuser(), params["mysql_password"] or None
    host, port, database = params["mysql_host"], params["mysql_port"], params["mysql_db"]
    return url("mysql", username=user, password=password, host=host, port=port, database=database)


def url(scheme: str, **parts: Any) -> str:
    """A database URL, its password in it. Raises click.BadParameter."""
    from sqlalchemy.engine import URL  # the commands that talk to a server go without

    try:
        return URL.create(scheme, **parts).render_as_string(hide_password=False)
    except UnicodeEncodeError:
        raise click.BadParameter("the database's options are not UTF-8") from None


DATABASES: Final[dict[str, tuple[Callable[[Params], str], str]]] = {
    "builtin": (lambda _params: BUILTIN, ""),
    "libsqlite3": (sqlite_url, "libsqlite3_table"),
    "sqlite": (sqlite_url, "libsqlite3_table"),
    "postgres": (postgres_url, "libpq_table"),
    "libpq": (postgres_url, "libpq_table"),
    "mysql": (mysql_url, "mysql_table"),
}


def parse_conninfo(text: str) -> dict[str, str]:
    r"""Libpq's `key = value`, values in single quotes if they hold spaces, `\` before a quote or itself.

    Raises click.BadParameter. https://www.postgresql.org/docs/current/libpq-connect.html
    """
    word = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)")
    found: dict[str, str] = {}
    at = 0
    text = text.strip()
    while at < len(text):
        match = word.match(text, at)
        if not match:
            raise click.BadParameter("--libpq-conninfo is not of the form: host=db dbname=jobs user=ann")
        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2].removeprefix("'").removesuffix("'"))
        at = match.end()
    return found


def without_queue_type(params: Params) -> list[str]:
    """The names of gearmand's queue options that were given without a --queue-type that they belong to."""
    if params["queue_type"]:
        return []
    return [f"--{own_name(option)}" for option in QUEUE_OPTIONS if params[str(option.name)] != option.default]


def without_tls(params: Params) -> list[str]:
    """The names of the TLS options that say nothing, since no port speaks TLS. gearmand takes them so, too."""
    if params["ssl"] or params["ssl_port"]:
        return []
    files = ("ssl_certificate", "ssl_key")  # the authorities' variable is one of gearmand's clients as well
    return [
        f"--{own_name(option)}"
        for option in TLS_OPTIONS
        if option.name in files and params[option.name] != option.default
    ]


def without_effect(params: Params) -> list[str]:
    """The names of the options that were given and say nothing to this server."""
    given = [option for option in WITHOUT_EFFECT if params.get(str(option.name)) and option.name not in HARMLESS]
    return [f"--{own_name(option)}" for option in given]
