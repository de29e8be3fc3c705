"""What the commands share: which server they talk to, what they read and print, and how they end."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from gearmand_py.server.client import DEFAULT_PORT, Address, Client, ClientError, ServerError, parse_address
from gearmand_py.server.runner import BY_SIGNAL

SUCCESS: Final = 0
FAILED: Final = 1  # the job failed, the server refused, or there is no such job
USAGE: Final = 2  # click's own
NO_SERVER: Final = 3  # not reachable, connection lost, or no Gearman server

EXIT_STATUS: Final = (
    f"Exit status: {SUCCESS} success; {FAILED} the job failed, was refused or is not known; {USAGE} wrong usage; "
    f"{NO_SERVER} no server, or the connection was lost."
)


IN_META: Final = "gearmand_py.secret"  # where click keeps it for `choose_server`

# ---- how a command ends


class Failed(click.ClickException):
    """The job failed, or was refused."""

    exit_code = FAILED


class NoServer(click.ClickException):
    """Nobody there who speaks Gearman, or not any more."""

    exit_code = NO_SERVER


class ClientCommand(click.Command):
    """A command that talks to a server: its errors become one line on stderr and an exit status."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"epilog": EXIT_STATUS, **settings})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ServerError as error:
            raise Failed(str(error)) from error
        except ClientError as error:
            raise NoServer(str(error)) from error
        except BrokenPipeError:  # of our output (the client has its own errors): `... | head` is nobody's mistake
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BY_SIGNAL + signal.SIGPIPE)
        except OSError as error:
            raise Failed(f"cannot read the input or write the output: {error.strerror}") from error
        except KeyboardInterrupt:  # die of it, so that a shell loop around us ends too
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)


# ---- what a command prints


def note(message: str) -> None:
    """A line for people, beside the output."""
    click.echo(message, err=True)


def write(data: bytes) -> None:
    """Bytes to standard output, at once."""
    output = sys.stdout.buffer
    rest = memoryview(data)
    while rest:  # with PYTHONUNBUFFERED there is no buffer that would loop over partial writes
        rest = rest[output.write(rest) :]
    output.flush()


def say(text: str) -> None:
    """A line to standard output, also where its encoding lacks a character of some function's name."""
    write(f"{text}\n".encode(sys.stdout.encoding, "backslashreplace"))


def printable(text: str) -> str:
    """Text that cannot move the cursor: names come from clients, and a terminal obeys control characters."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


# ---- which server, and the secret for it


def connect(server: Address) -> Client:
    """A connection, to be used in a with statement."""
    return Client.connect(*server)


def own_address(params: dict[str, Any]) -> Address:
    """Where a server with the options of `gearmand-py` itself would be found from this machine."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    first = (params.get("listen") or ("127.0.0.1",))[0]
    address = Address(loopback.get(first, first).removeprefix("unix:"), params.get("port") or DEFAULT_PORT)
    return address._replace(tls=bool(params.get("ssl")) and not params.get("ssl_port") and not address.is_path)


def choose_server(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Address:
    """The server to use: --server; -L and -p before the command; GEARMAN_SERVERS; the default of -L and -p."""
    own = own_address(ctx.parent.params if ctx.parent else {})._replace(secret=ctx.meta.get(IN_META, b""))
    from_environment = ctx.get_parameter_source("server") is ParameterSource.ENVIRONMENT
    if not value or (from_environment and _typed_before_command(ctx)):
        return own
    try:
        return parse_address(value.split(",")[0].strip(), own.port)._replace(secret=own.secret)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


def _typed_before_command(ctx: click.Context) -> bool:
    parent = ctx.parent
    return parent is not None and ParameterSource.COMMANDLINE in map(parent.get_parameter_source, ("listen", "port"))


def read_secret(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """The secret of --secret-file, else that of the environment, for `choose_server`."""
    if path is None and (given := os.environb.get(b"GEARMAND_SECRET")):
        ctx.meta[IN_META] = given
    elif path := path or os.environ.get("GEARMAND_SECRET_FILE"):
        try:
            ctx.meta[IN_META] = b"".join(Path(path).read_bytes().split()[:1])
        except OSError as error:
            raise click.BadParameter(f"cannot read {path}: {error.strerror}", ctx, parameter) from None
        if not ctx.meta[IN_META]:
            raise click.BadParameter(f"{path} is empty: its first line is the secret", ctx, parameter)


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which server, and the secret to show it."""
    return _server_option(_secret_option(command))


_secret_option: Final = click.option(
    "--secret-file",
    metavar="FILE",
    is_eager=True,  # before the server
    expose_value=False,
    callback=read_secret,
    help="File with the secret that the server's access rules ask for. Without it the environment's GEARMAND_SECRET, "
    "or the file that GEARMAND_SECRET_FILE names.",
)
_server_option: Final = click.option(
    "-s",
    "--server",
    metavar="[tls://]HOST[:PORT]",
    envvar="GEARMAN_SERVERS",
    show_envvar=True,
    callback=choose_server,
    help="The server to talk to, or the /path of its Unix socket. Of a list with commas the first. With tls:// the "
    "variables GEARMAND_CA_CERTIFICATE, GEARMAN_CLIENT_PEM and GEARMAN_CLIENT_KEY name the files.  "
    "[default: the -L and -p of gearmand-py]",
)


# ---- words of the command line


def argument_bytes(ctx: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    """A word as the bytes the user typed."""
    return None if value is None else os.fsencode(value)


def function_bytes(ctx: click.Context, parameter: click.Parameter, value: str) -> bytes:
    """The name of a function."""
    if not value:
        raise click.BadParameter("it is empty; give the name of a function", ctx, parameter)
    return os.fsencode(value)
