"""Writes docs/options.md and a table of another page from the options' one declaration; tests hold them equal."""

from collections.abc import Sequence
from pathlib import Path

import click

from gearmand_py.server.cli import main
from gearmand_py.server.config import OPTIONS
from gearmand_py.server.gearmand_options import QUEUE_OPTIONS, WITHOUT_EFFECT

TARGET = Path(__file__).with_name("options.md")
COMING = Path(__file__).with_name("coming-from-gearmand.md")
FROM = "<!-- options: made by docs/generate.py -->\n"
UNTIL = "<!-- end of options -->"
OURS = {
    "--access-file",
    "--allow-shutdown",
    "--check-config",
    "--database",
    "--database-password-file",
    "--database-schema",
    "--log-format",
    "--first-packet-timeout",
    "--max-buffers",
    "--max-connections",
    "--max-connections-per-address",
    "--max-function-length",
    "--max-functions",
    "--max-functions-per-worker",
    "--max-output",
    "--max-packet-size",
    "--max-queue",
    "--max-unique-length",
    "--migrate",
    "--node",
    "--memory-limit",
    "--ssl-port",
    "--ssl-verify-client",
    "--storage-timeout",
    "--synchronous",
    "--table-prefix",
    "-v",
}
HEAD = """\
# Options of the server

Made from the declarations in `server/config.py` by `make docs`. Each can be given on the command line, in the
environment, or in the file of `--config-file` by its long name without the dashes; the first of these wins.
`gearmand-py --check-config` prints what holds and where it comes from, `--check-args` only says what is wrong.

| option | environment | default | |
|---|---|---|---|
"""
OF_GEARMAND = """
## How gearmand names a queue

So that a command line of gearmand's goes on working; `--database` says the same in one word.

| option | environment | default | |
|---|---|---|---|
"""
IDLE = """
## Accepted and without effect

So that a command line of gearmand's goes on working. One line at the start names those that were given.

| option | environment | default | |
|---|---|---|---|
"""


def row(option: click.Option, ctx: click.Context) -> str:
    """One option as a line of the table."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = option.show_default if isinstance(option.show_default, str) else option.get_default(ctx, call=False)
    values = f" One of: {', '.join(option.type.choices)}." if isinstance(option.type, click.Choice) else ""
    shown = "" if default is None or not option.show_default else f"`{default}`" if default != "" else "none"
    variable = f"`{option.envvar}`" if option.envvar else ""
    return f"| {names} | {variable} | {shown} | {option.help}{values} |"


def table(options: Sequence[click.Parameter]) -> str:
    """The lines of a table."""
    ctx = click.Context(main)
    return "".join(row(option, ctx) + "\n" for option in options if isinstance(option, click.Option))


def page() -> str:
    """The whole of options.md."""
    others = [*QUEUE_OPTIONS, *WITHOUT_EFFECT]
    ours = [option for option in OPTIONS if option not in others]
    return HEAD + table(ours) + OF_GEARMAND + table(QUEUE_OPTIONS) + IDLE + table(WITHOUT_EFFECT)


def coming() -> str:
    """coming-from-gearmand.md, with its table of options made anew."""
    before, _, rest = COMING.read_text().partition(FROM)
    return before + FROM + gearmand_table() + UNTIL + rest.partition(UNTIL)[2]


def gearmand_table() -> str:
    """Gearmand's options, and what they do here."""
    rows = "".join(gearmand_row(option) for option in main.params if is_gearmands(option))
    return f"\n| option | here |\n|---|---|\n{rows}\n"


def gearmand_row(option: click.Parameter) -> str:
    """One option as a line of that table."""
    assert isinstance(option, click.Option)
    names = ", ".join(f"`{name}`" for name in option.opts)
    return f"| {names} | {'Accepted: ' if option in WITHOUT_EFFECT else ''}{option.help} |\n"


def is_gearmands(option: click.Parameter) -> bool:
    """Does gearmand have it too?"""
    return not OURS.intersection(option.opts)


if __name__ == "__main__":
    TARGET.write_text(page())
    COMING.write_text(coming())
