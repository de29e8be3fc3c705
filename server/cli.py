"""The command `gearmand-py`: alone it serves; its subcommands migrate, submit, work and look."""

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from gearmand_py.server.config import (
    OPTIONS,
    Settings,
    database_options,
    settings_from,
    settings_of_command,
    without_password,
)
from gearmand_py.server.gearmand_options import without_effect, without_queue_type, without_tls
from gearmand_py.server.runner import FAILED, StartError, fail, run, stop_when_told
from gearmand_py.storage.base import StorageError

T = TypeVar("T")

# gearmand reads it unasked. Ours does not: a server that is only tried would take the other's port and database.
GEARMAND_FILE: Final = Path("/etc/gearmand.conf")

SOURCES: Final = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "configuration file",
    ParameterSource.DEFAULT: "default",
}


class LazyGroup(click.Group):
    """A group whose client commands are imported when they are asked for: a server does not need them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`@FILE` is gearmand's short form of `--config-file FILE`."""
        words = ["--config-file", args[0][1:], *args[1:]] if args and args[0].startswith("@") else args
        return super().parse_args(ctx, words)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, the server's first."""
        return [*super().list_commands(ctx), *client_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One by name."""
        return super().get_command(ctx, cmd_name) or client_commands().get(cmd_name)


def client_commands() -> dict[str, click.Command]:
    """The commands that talk to a server, by name."""
    from gearmand_py.server.commands import COMMANDS

    return {str(command.name): command for command in COMMANDS}


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    params=[
        *OPTIONS,
        click.Option(["--check-config"], is_flag=True, help="Check the settings, print them, and exit."),
        click.Option(["--check-args"], is_flag=True, help="Check the settings, and exit."),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each option with [env var: ...] can be set there, or by its long name in the --config-file.",
)
@click.version_option(version("gearmand-py"), "-V", "--version", prog_name="gearmand-py")
@click.pass_context
def main(ctx: click.Context, /, check_config: bool, check_args: bool, **params: Any) -> None:
    """A durable job queue server that speaks Gearman. Without a COMMAND it serves.

    A background job is acknowledged once it is committed to the database, and survives whatever happens then.
    """
    if ctx.invoked_subcommand is not None:
        if check_config or check_args:
            raise click.UsageError(f"--check-{'config' if check_config else 'args'} goes without a command")
        return
    stop_when_told()
    settings = settings_from(params)
    from gearmand_py.server.access_file import read_access
    from gearmand_py.server.database import storage_of
    from gearmand_py.server.launch import launch
    from gearmand_py.server.tls import tls_of

    try:
        if check_config or check_args:
            storage_of(settings)
            if settings.access_file:
                read_access(Path(settings.access_file))
            tls_of(settings)
            if check_config:
                print_settings(ctx, settings)
        else:
            launch(settings, notes_on(params))
    except (StartError, StorageError) as error:
        fail(str(error))


def notes_on(params: dict[str, Any]) -> list[str]:
    """What somebody who comes from gearmand should know of the options that were given."""
    notes = []
    if idle := without_effect(params):
        notes.append(f"accepted as gearmand's, but without effect here: {', '.join(idle)}")
    if idle := without_queue_type(params):
        notes.append(f"{', '.join(idle)}: without effect, since no --queue-type is given")
    if idle := without_tls(params):
        notes.append(f"{', '.join(idle)}: without effect, since neither --ssl nor --ssl-port is given")
    if params["config_file"] is None and GEARMAND_FILE.exists():
        notes.append(f"{GEARMAND_FILE} is not read: give --config-file {GEARMAND_FILE} if it is meant for this server")
    return notes


@main.command(params=database_options())
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when a migration is due.")
@click.option(
    "--sql", is_flag=True, help="Change nothing; print the SQL that would bring an empty database up to date."
)
@click.pass_context
def migrate(ctx: click.Context, /, check: bool, sql: bool, **given: str | None) -> None:
    """Bring the database's tables to what this version needs.

    Exit status: 0 the schema is current (now); 1 it is not, or the database is out of reach; 2 wrong usage.
    """
    from gearmand_py.server import maintenance

    stop_when_told()
    settings = settings_of_command(ctx, given)
    if check and sql:
        raise click.UsageError("--check and --sql exclude each other")
    try:
        if sql:
            click.echo(maintenance.migration_sql(settings), nl=False)
        elif check:
            current, message = run(maintenance.check_schema(settings))
            click.echo(message)
            ctx.exit(0 if current else FAILED)
        else:
            click.echo(run(maintenance.migrate(settings)))
    except StorageError as error:
        fail(str(error))


def print_settings(ctx: click.Context, settings: Settings) -> None:
    """Each setting as a line of a configuration file, and where it comes from."""
    for name, value in asdict(settings).items():
        source = ctx.get_parameter_source(option_behind(ctx, name))
        where = SOURCES.get(source, "") if source else ""
        shown = json.dumps(without_password(value) if name == "database" else value)  # TOML's values are JSON's
        click.echo(f"{name.replace('_', '-')} = {shown}  # {where}")
    click.echo("# the configuration is fine")


def option_behind(ctx: click.Context, name: str) -> str:
    """Which option has said what a setting is: --queue-type says which database."""
    return "queue_type" if name == "database" and ctx.params["queue_type"] else name


if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)
