"""`gearmand-py import`: the jobs of a C gearmand into our queue. What it does is in `import_run.py`."""

from pathlib import Path

import click

from gearmand_py.server.config import database_options, settings_of_command
from gearmand_py.server.runner import fail, run
from gearmand_py.storage.base import StorageError


@click.command("import", params=database_options())
@click.option(
    "--from",
    "source",
    metavar="URL",
    required=True,
    help="The database that a gearmand has its jobs in: sqlite:////path/to/file, postgresql://user@host/database, "
    "mysql://user@host/database or mariadb://user@host/database.",
)
@click.option(
    "--from-password-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the password of the user in --from, if it does not stand there.",
)
@click.option(
    "--table",
    metavar="NAME",
    help="The table of the jobs, in PostgreSQL also SCHEMA.NAME.  [default: gearman_queue; in PostgreSQL queue]",
)
@click.option("--dry-run", is_flag=True, help="Read and judge all jobs, and write nothing anywhere.")
@click.option(
    "--restart",
    is_flag=True,
    help="Begin anew, though an earlier import is done or was cut short. Jobs with a unique key that is in the queue "
    "are left out.",
)
@click.pass_context
def import_jobs(
    ctx: click.Context,
    /,
    source: str,
    from_password_file: Path | None,
    table: str | None,
    dry_run: bool,
    restart: bool,
    **given: str | None,
) -> None:
    """Take over the jobs of a C gearmand that is stopped.

    They go into the database of the server's options, which are given before the command or behind it. An import that
    was interrupted goes on when it is started again; nothing is imported twice. The jobs stay where they were, too.

    Exit status: 0 all jobs are imported; 1 some were refused, or it failed or was stopped; 2 wrong usage.
    """
    if dry_run and restart:
        raise click.UsageError("--dry-run and --restart exclude each other")
    from gearmand_py.server.commands.import_run import Wishes, importing  # other commands go without a database

    settings = settings_of_command(ctx, given)
    try:
        ctx.exit(run(importing(Wishes(settings, source, from_password_file, table, dry_run, restart))))
    except StorageError as error:
        fail(str(error))
