"""Settings: each option declared once, here; command line, environment, file and documentation follow from it.

Precedence: command line, environment (`GEARMAND_` and the option's long name), file (`--config-file`), default.
"""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from platformdirs import user_state_path

from gearmand_py.server.codec import DEFAULT_MAX_PACKET
from gearmand_py.server.config_file import read_file
from gearmand_py.server.gearmand_options import QUEUE_OPTIONS, TLS_OPTIONS, WITHOUT_EFFECT, queue_of
from gearmand_py.server.limits import LONGEST_FUNCTION, LONGEST_UNIQUE, Limits
from gearmand_py.server.memory import usual_memory_limit
from gearmand_py.server.options import Seconds, Setting, Size, setting
from gearmand_py.storage.base import MAX_NODE

LARGEST_PACKET: Final = (1 << 32) - 1  # the size field has 4 bytes
LEVELS: Final = ("FATAL", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
STDERR: Final = "stderr"
NO_LOG: Final = "none"
NEAREST_FIRST: Final = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told. One field for each option that is a setting."""

    listen: tuple[str, ...]
    port: int
    database: str
    database_password_file: str
    database_schema: str
    table_prefix: str
    migrate: bool
    synchronous: str
    storage_timeout: float
    node: int
    job_handle_prefix: str
    job_retries: int
    worker_wakeup: int
    memory_limit: int
    max_packet_size: int
    max_connections: int
    max_connections_per_address: int
    first_packet_timeout: float
    max_functions: int
    max_functions_per_worker: int
    max_function_length: int
    max_unique_length: int
    max_queue: int
    max_output: int
    max_buffers: int
    ssl: bool
    ssl_port: int
    ssl_certificate: str
    ssl_key: str
    ssl_ca_file: str
    ssl_verify_client: bool
    backlog: int
    keepalive: bool
    keepalive_idle: int
    keepalive_interval: int
    keepalive_count: int
    file_descriptors: int
    exceptions: bool
    access_file: str
    allow_shutdown: bool
    daemon: bool
    pid_file: str
    user: str
    log_file: str
    syslog: bool
    log_format: str
    verbose: str


def default_database() -> str:
    """The SQLite file where a person, root or a systemd service would look for it."""
    return f"sqlite:///{default_state_directory() / 'queue.db'}"


def default_state_directory() -> Path:
    """$STATE_DIRECTORY (set by systemd), /var/lib for root, else the user's own."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/gearmand-py")
    return user_state_path("gearmand-py")


OPTIONS: Final[list[click.Parameter]] = [
    setting(
        "--config-file",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        callback=read_file,
        show_default=False,
        metavar="FILE",
        help="File with settings: TOML, by the long names of these options, without the dashes before them; or the "
        "options as on the command line, as gearmand has it.",
    ),
    setting(
        "-L",
        "--listen",
        multiple=True,
        default=("127.0.0.1",),
        show_default="127.0.0.1",
        metavar="ADDRESS",
        help="Address to listen on, a host name too; :: for all there are; /path or unix:/path for a Unix socket. "
        "May be repeated; in the environment several are separated by spaces.",
    ),
    setting("-p", "--port", type=click.IntRange(0, 65535), default=4730, help="Port to listen on; 0 takes a free one."),
    setting(
        "--database",
        default="",
        show_default="queue.db in the state directory",
        metavar="URL",
        help="Where background jobs are kept: sqlite:////absolute/path.db, postgresql://user@host/database, "
        "mysql://user@host/database or mariadb://user@host/database.",
    ),
    setting(
        "--database-password-file",
        default="",
        metavar="FILE",
        help="File with the password of the database's user, read at each connection. Without it the environment's "
        "GEARMAND_DATABASE_PASSWORD, else what stands in the URL.",
    ),
    setting(
        "--database-schema",
        default="",
        metavar="NAME",
        help="PostgreSQL: the schema of the tables. Without it the user's search_path decides.",
    ),
    setting(
        "--table-prefix",
        default="",
        metavar="WORD",
        help="What the names of the tables start with, in a database shared with others.",
    ),
    setting(
        "--migrate",
        is_flag=True,
        default=False,
        help="Bring the tables up to date at start, as SQLite's always are. Without it such a database is refused.",
    ),
    setting(
        "--synchronous",
        type=click.Choice(["full", "normal"], case_sensitive=False),
        default="full",
        help="SQLite: full syncs every commit; normal is not safe against a power cut.",
    ),
    setting(
        "--storage-timeout",
        type=Seconds(),
        default=30.0,
        metavar="SECONDS",
        help="How long background submits wait for a database that is away before they get an error.",
    ),
    setting(
        "--node",
        type=click.IntRange(0, MAX_NODE),
        default=0,
        help="Number of this server among those that share a database; part of every job's id.",
    ),
    setting(
        "--job-handle-prefix",
        default="",
        show_default="H:<host name>",
        metavar="WORD",
        help="What job handles start with.",
    ),
    setting(
        "-j",
        "--job-retries",
        type=click.IntRange(-1),
        default=-1,
        help="How often a job is given to a worker before it counts as dead; -1 is without limit.",
    ),
    setting(
        "--memory-limit",
        type=Size(),
        default=usual_memory_limit,
        show_default="a quarter of the memory, at most 1G",
        metavar="SIZE",
        help="Memory for waiting jobs. Above it they are kept in the database only, and read back before their turn; "
        "0 is without limit.",
    ),
    setting(
        "-w",
        "--worker-wakeup",
        type=click.IntRange(0),
        default=1,
        help="How many sleeping workers a new job wakes; 0 wakes all that can run it, as gearmand does.",
    ),
    setting(
        "--max-packet-size",
        type=Size(),
        default=DEFAULT_MAX_PACKET,
        show_default="64M",
        help="Largest packet, and so payload, that is accepted.",
    ),
    *TLS_OPTIONS,
    setting(
        "--max-connections",
        type=click.IntRange(0),
        default=0,
        show_default="as --file-descriptors allows",
        help="Connections in all. When there are so many, one that has never said anything gives way to the next.",
    ),
    setting(
        "--max-connections-per-address",
        type=click.IntRange(0),
        default=0,
        show_default="without limit",
        help="Connections from one address, of IPv6 one /64 network; those of Unix sockets are not counted.",
    ),
    setting(
        "--first-packet-timeout",
        type=click.FloatRange(0),
        default=0.0,
        show_default="without limit",
        metavar="SECONDS",
        help="How long a new connection may take to send its first packet. Clients that connect long before they "
        "submit are ended by it too.",
    ),
    setting(
        "--max-functions",
        type=click.IntRange(0),
        default=Limits().functions,
        help="Functions in all, 3.4 kB each; unused ones are forgotten to make room. 0 is without limit.",
    ),
    setting(
        "--max-functions-per-worker",
        type=click.IntRange(0),
        default=Limits().functions_per_worker,
        help="Functions that one worker may register; 0 is without limit.",
    ),
    setting(
        "--max-function-length",
        type=click.IntRange(1, LONGEST_FUNCTION),
        default=LONGEST_FUNCTION,
        help="Longest name of a function, in bytes.",
    ),
    setting(
        "--max-unique-length",
        type=click.IntRange(1, LONGEST_UNIQUE),
        default=LONGEST_UNIQUE,
        help="Longest unique key, in bytes.",
    ),
    setting(
        "--max-queue",
        type=click.IntRange(0),
        default=0,
        show_default="without limit",
        help="Jobs of a function above which no more are taken, where the text command maxqueue says nothing else.",
    ),
    setting(
        "--max-output",
        type=Size(),
        default=Limits().output,
        show_default="64M",
        metavar="SIZE",
        help="Answers that one connection may leave unread, beyond its largest packet, before it is ended; "
        "0 is without limit.",
    ),
    setting(
        "--max-buffers",
        type=Size(),
        default=usual_memory_limit,
        show_default="a quarter of the memory, at most 1G",
        metavar="SIZE",
        help="Memory for large packets that are on their way in on all connections, and as much for answers that are "
        "not read; 0 is without limit.",
    ),
    setting(
        "-b",
        "--backlog",
        type=click.IntRange(1),
        default=512,
        help="Connections that may wait to be accepted.",
    ),
    setting("--keepalive", is_flag=True, default=False, help="Have the system probe idle connections (TCP keepalive)."),
    *(
        setting(f"--keepalive-{name}", type=click.IntRange(-1), default=-1, show_default="the system's", help=text)
        for name, text in (
            ("idle", "With --keepalive: seconds of silence before the first probe."),
            ("interval", "With --keepalive: seconds between probes."),
            ("count", "With --keepalive: unanswered probes that end a connection."),
        )
    ),
    setting(
        "-f",
        "--file-descriptors",
        type=click.IntRange(0),
        default=0,
        show_default="as many as allowed",
        help="Open files, and so connections, that the process may have.",
    ),
    setting(
        "--exceptions",
        is_flag=True,
        default=False,
        help="Send WORK_EXCEPTION to all clients, not only to those that set the option.",
    ),
    setting(
        "--access-file",
        default="",
        metavar="FILE",
        help="File with the rules who may submit, work and manage (docs/security.md); SIGHUP reads it anew. Without it "
        "whoever can connect may do everything.",
    ),
    setting(
        "--allow-shutdown",
        is_flag=True,
        default=False,
        help="Obey the text commands shutdown and shutdown graceful, from whoever may manage: without "
        "an --access-file anybody who can connect.",
    ),
    setting("-d", "--daemon", is_flag=True, default=False, help="Go to the background once ready to serve."),
    setting("-P", "--pid-file", default="", metavar="FILE", help="File to keep the process number in."),
    setting(
        "-u", "--user", default="", metavar="NAME", help="User to become once the addresses are bound; takes root."
    ),
    setting(
        "-l",
        "--log-file",
        default="",
        show_default="stderr; of a daemon gearmand-py.log in /var/log or the state directory",
        metavar="FILE",
        help="File to log to, or stderr, or none. SIGHUP opens it anew.",
    ),
    setting(
        "--syslog", is_flag=True, default=False, help="Log to the system's log; to a file too if one is given as well."
    ),
    setting(
        "--log-format",
        type=click.Choice(["text", "json"], case_sensitive=False),
        default="text",
        help="Lines for people, or an object of JSON each.",
    ),
    setting(
        "--verbose",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="INFO",
        help="The least severe level that is logged.",
    ),
    Setting(["-v", "more"], count=True, help="Log more: -vv is --verbose DEBUG."),
    *QUEUE_OPTIONS,
    *WITHOUT_EFFECT,
]


# The settings that say which tables are meant.
DATABASE_NAMES: Final = ("database", "database_password_file", "database_schema", "table_prefix")


def settings_from(params: dict[str, Any]) -> Settings:
    """The settings among a command's parameters. Raises click.BadParameter for what no single option can tell."""
    chosen = Settings(**{**{field.name: params[field.name] for field in fields(Settings)}, **derived(params)})
    if not chosen.listen or not all(address.strip() for address in chosen.listen):  # an empty one would be all
        raise click.BadParameter("--listen names no address")
    if not 12 <= chosen.max_packet_size <= LARGEST_PACKET:
        raise click.BadParameter(f"--max-packet-size must be between 12 and {LARGEST_PACKET} bytes")
    check_tls(chosen)
    return chosen


def check_tls(chosen: Settings) -> None:
    """Better no server than one that is not as private as its operator believes. Raises click.BadParameter."""
    if chosen.ssl_port and chosen.ssl_port == chosen.port:
        raise click.BadParameter(f"--ssl-port and --port are both {chosen.port}: for TLS alone give --ssl instead")
    if chosen.ssl_verify_client and not (chosen.ssl or chosen.ssl_port):
        raise click.BadParameter("--ssl-verify-client says nothing without TLS: give --ssl or --ssl-port")
    if chosen.ssl_verify_client and not chosen.ssl_ca_file:
        raise click.BadParameter("--ssl-verify-client needs --ssl-ca-file, the authorities of the clients")


def derived(params: dict[str, Any]) -> dict[str, Any]:
    """The settings that depend on several options."""
    talkative = LEVELS[min(LEVELS.index("INFO") - 1 + params["more"], len(LEVELS) - 1)] if params["more"] else ""
    verbose = max(params["verbose"], talkative or LEVELS[0], key=LEVELS.index)
    return {**tables_of(params), "verbose": verbose, "log_file": params["log_file"] or usual_log(params)}


def tables_of(params: dict[str, Any]) -> dict[str, Any]:
    """Which database, and which tables of it."""
    said = [name for name in ("database", "queue_type") if params[name]]
    nearest = min(map(distance, said), default=0)
    match [name for name in said if distance(name) == nearest]:
        case [] | ["database"]:
            return {"database": params["database"] or default_database()}
        case [_, _]:
            raise click.BadParameter("--database and --queue-type both name a database: give one of them")
    queue = queue_of(params)
    prefix = params["table_prefix"] or queue.table_prefix
    # gearmand makes its table itself.
    return {"database": queue.database or default_database(), "table_prefix": prefix, "migrate": True}


def distance(name: str) -> int:
    """How far from the command line a setting was given: the nearer wins."""
    ctx = click.get_current_context(silent=True)
    while ctx and ctx.parent:
        ctx = ctx.parent
    source = ctx.get_parameter_source(name) if ctx else None
    return NEAREST_FIRST.index(source) if source in NEAREST_FIRST else 0


def usual_log(params: dict[str, Any]) -> str:
    """Where the log goes when nobody has said."""
    if params["syslog"]:
        return NO_LOG
    if not params["daemon"]:
        return STDERR
    directory = Path("/var/log") if os.geteuid() == 0 else default_state_directory()
    return str(directory / "gearmand-py.log")


def database_options() -> list[click.Parameter]:
    """The settings that say which tables are meant, for a command that takes them behind its name too."""
    return [
        click.Option(option.opts, metavar=option.metavar, help=f"{option.help}  [default: the server's]")
        for option in OPTIONS
        if isinstance(option, Setting) and option.name in DATABASE_NAMES
    ]


def settings_of_command(ctx: click.Context, given: dict[str, str | None]) -> Settings:
    """The server's settings, with those `given` behind the name of a command. Raises click.BadParameter."""
    assert ctx.parent is not None
    own = {name: value for name, value in given.items() if value is not None}
    if "database" in own:
        own["queue_type"] = ""
    return settings_from({**ctx.parent.params, **own})


def without_password(database: str) -> str:
    """A database URL that may be shown."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", re.sub(r"([?&]\w*password=)[^&]*", r"\1***", database))


def made_by_us(database: str) -> bool:
    """Is this the embedded default, whose directory the server may make?"""
    return database == default_database()
