"""Writes docs/options.md from the options' one declaration; a test fails when the file is not what this makes."""

from pathlib import Path

import click

from gearmand_py.server.cli import main
from gearmand_py.server.config import OPTIONS

TARGET = Path(__file__).with_name("options.md")
HEAD = """\
# Options of the server

Made from the declarations in `server/config.py` by `make docs`. Each can be given on the command line, in the
environment, or in the TOML file of `--config-file` by its long name without the dashes; the first of these wins.
`gearmand-py --check-config` prints what holds and where it comes from.

| option | environment | default | |
|---|---|---|---|
"""


def row(option: click.Option, ctx: click.Context) -> str:
    """One option as a line of the table."""
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = option.show_default if isinstance(option.show_default, str) else option.get_default(ctx, call=False)
    values = f" One of: {', '.join(option.type.choices)}." if isinstance(option.type, click.Choice) else ""
    shown = "" if default is None or not option.show_default else f"`{default}`" if default != "" else "none"
    return f"| {names} | `{option.envvar}` | {shown} | {option.help}{values} |"


def page() -> str:
    """The whole page."""
    ctx = click.Context(main)
    return HEAD + "\n".join(row(option, ctx) for option in OPTIONS if isinstance(option, click.Option)) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page())
