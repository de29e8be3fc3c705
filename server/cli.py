"""The command `gearmand-py`: alone it serves; its subcommands migrate, submit, work and look."""

import json
import logging
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
from gearmand_py.server.runner import FAILED, fail, run, stop_when_told
from gearmand_py.storage.base import StorageError

T = TypeVar("T")

# gearmand's names of levels that logging does not have.
logging.addLevelName(25, "NOTICE")
logging.addLevelName(logging.CRITICAL + 5, "ALERT")
logging.addLevelName(logging.CRITICAL + 10, "FATAL")


SOURCES: Final = {
    ParameterSource.COMMANDLINE: "command line",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "configuration file",
    ParameterSource.DEFAULT: "default",
}


class LazyGroup(click.Group):
    """A group whose client commands are imported when they are asked for: a server does not need them."""

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
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each option with [env var: ...] can be set there, or by its long name in the --config-file.",
)
@click.version_option(version("gearmand-py"), "-V", "--version", prog_name="gearmand-py")
@click.pass_context
def main(ctx: click.Context, /, check_config: bool, **params: Any) -> None:
    """A durable job queue server that speaks Gearman. Without a COMMAND it serves.

    A background job is acknowledged once it is committed to the database, and survives whatever happens then.
    """
    if ctx.invoked_subcommand is not None:
        if check_config:
            raise click.UsageError("--check-config goes without a command")
        return
    stop_when_told()
    settings = settings_from(params)
    from gearmand_py.server.app import StartError, serve
    from gearmand_py.server.database import make_storage

    try:
        if check_config:
            make_storage(settings)
            print_settings(ctx, settings)
            return
        set_up_logging(settings.verbose)
        run(serve(settings))
    except (StartError, StorageError) as error:
        fail(str(error))


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


def set_up_logging(verbose: str) -> None:
    """Log to stderr, from the given level on."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.getLevelName(verbose),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    if verbose != "DEBUG":  # these tell every statement, payloads and all
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)


def print_settings(ctx: click.Context, settings: Settings) -> None:
    """Each setting as a line of a configuration file, and where it comes from."""
    for name, value in asdict(settings).items():
        source = ctx.get_parameter_source(name)
        where = SOURCES.get(source, "") if source else ""
        shown = json.dumps(without_password(value) if name == "database" else value)  # TOML's values are JSON's
        click.echo(f"{name.replace('_', '-')} = {shown}  # {where}")
    click.echo("# the configuration is fine")


if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)


if __name__ == "__main__":
    main(prog_name=Path(sys.argv[0]).name)
