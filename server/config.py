"""Settings: each option declared once, here; command line, environment, file and documentation follow from it.

Precedence: command line, environment (`GEARMAND_` and the option's long name), file (`--config-file`, TOML), default.
"""

import os
import re
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click
from platformdirs import user_state_path

from gearmand_py.server.codec import DEFAULT_MAX_PACKET
from gearmand_py.storage.base import MAX_NODE

ENVIRONMENT_PREFIX: Final = "GEARMAND_"
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LARGEST_PACKET: Final = (1 << 32) - 1  # the size field has 4 bytes
LEVELS: Final = ("FATAL", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is told. One field for each option that is a setting."""

    listen: str
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
    max_packet_size: int
    backlog: int
    verbose: str


class Size(click.ParamType[int]):
    """Bytes, as a number or with K, M, G (of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`64M`, `64MiB`, `64MB` and `67108864` are the same."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*([KMG]?)(i?B)?", str(value).strip(), re.IGNORECASE)
        if not match:
            self.fail(f"{value!r} is not a size: write 1048576, 64M or 64MiB", param, ctx)
        return int(match[1]) * UNITS[match[2].upper()]


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


class Setting(click.Option):
    """An option whose environment variable may also name a file with the value, as container secrets do."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """`NAME`, else the content of the file `NAME_FILE`."""
        found = super().resolve_envvar_value(ctx)
        path = os.environ.get(f"{self.envvar}_FILE")
        if found is not None or not path:
            return found
        try:
            return Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{self.envvar}_FILE: cannot read {path}: {error}", ctx, self) from None


def setting(*names: str, **attributes: Any) -> click.Option:
    """An option that the environment can give too."""
    long = next(name for name in names if name.startswith("--"))
    variable = ENVIRONMENT_PREFIX + long[2:].replace("-", "_").upper()
    return Setting(names, envvar=variable, show_envvar=True, **{"show_default": True, **attributes})


def read_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Make the settings of a TOML file the defaults of the other options."""
    if path is None:
        return None
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}") from None
    ctx.default_map = {**(ctx.default_map or {}), **{key.replace("-", "_"): found[key] for key in found}}
    for key, value in found.items():
        check_entry(ctx, path, key, value)
    return path


def check_entry(ctx: click.Context, path: Path, key: str, value: Any) -> None:
    """Is this line of a configuration file a setting, and its value one? Raises click.BadParameter."""
    known = {option.name: option for option in OPTIONS if option.name != "config_file"}
    option = known.get(key.replace("-", "_"))
    if option is None:
        names = [str(name).replace("_", "-") for name in known]
        near = get_close_matches(key, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(names))}"
        raise click.BadParameter(f"{path}: there is no setting {key!r}; {hint}")
    if type(value) not in kinds(option.type):  # exactly: a bool is an int to Python
        raise click.BadParameter(f"{path}: {key} = {value!r} is not a value for this setting")
    try:
        option.type.convert(value, None, ctx)
    except click.BadParameter as error:
        raise click.BadParameter(f"{path}: {key}: {error.message}") from None


def kinds(option_type: click.ParamType[Any]) -> tuple[type, ...]:
    """What TOML may give for an option of this type."""
    match option_type:
        case click.types.BoolParamType():
            return (bool,)
        case click.IntRange() | Size():
            return str, int
        case click.FloatRange():
            return str, int, float
    return (str,)


OPTIONS: Final[list[click.Parameter]] = [
    setting(
        "--config-file",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        callback=read_file,
        show_default=False,
        metavar="FILE",
        help="TOML file with settings: the long names of these options, without the dashes before them.",
    ),
    setting(
        "-L", "--listen", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 or :: for all."
    ),
    setting("-p", "--port", type=click.IntRange(0, 65535), default=4730, help="Port to listen on; 0 takes a free one."),
    setting(
        "--database",
        default=default_database,
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
        type=click.FloatRange(0),
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
        "-w",
        "--worker-wakeup",
        type=click.IntRange(0),
        default=0,
        help="How many sleeping workers a new job wakes; 0 wakes all that can run it.",
    ),
    setting(
        "--max-packet-size",
        type=Size(),
        default=DEFAULT_MAX_PACKET,
        show_default="64M",
        help="Largest packet, and so payload, that is accepted.",
    ),
    setting(
        "-b",
        "--backlog",
        type=click.IntRange(1),
        default=512,
        help="Connections that may wait to be accepted.",
    ),
    setting(
        "--verbose",
        type=click.Choice(LEVELS, case_sensitive=False),
        default="INFO",
        help="The least severe level that is logged.",
    ),
]


# The settings that say which tables are meant.
DATABASE_NAMES: Final = ("database", "database_password_file", "database_schema", "table_prefix")


def settings_from(params: dict[str, Any]) -> Settings:
    """The settings among a command's parameters. Raises click.BadParameter for what no single option can tell."""
    chosen = Settings(**{field.name: params[field.name] for field in fields(Settings)})
    if not 12 <= chosen.max_packet_size <= LARGEST_PACKET:
        raise click.BadParameter(f"--max-packet-size must be between 12 and {LARGEST_PACKET} bytes")
    return chosen


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
    return settings_from({**ctx.parent.params, **own})


def without_password(database: str) -> str:
    """A database URL that may be shown."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", re.sub(r"([?&]password=)[^&]*", r"\1***", database))


def made_by_us(database: str) -> bool:
    """Is this the embedded default, whose directory the server may make?"""
    return database == default_database()


def ensure_state_directory() -> None:
    """Make the default's directory, for this user alone. Raises OSError."""
    default_state_directory().mkdir(mode=0o700, parents=True, exist_ok=True)
