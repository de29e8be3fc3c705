"""The file of `--config-file`: TOML, or words as on the command line, which is gearmand's own form."""

import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from gearmand_py.server.options import Setting, Size, own_name

Values = dict[str, Any]

ITSELF: Final = "config_file"


def read_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Make the settings of a file the defaults of the other options. Raises click.BadParameter, naming the file."""
    if path is None:
        return None
    try:
        text = path.read_text()
        found = from_words(ctx, text) if holds_words(text) else from_toml(ctx, text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}") from None
    except click.UsageError as error:
        raise click.BadParameter(f"{path}: {error.format_message()}") from None
    ctx.default_map = {**(ctx.default_map or {}), **found}
    return path


def holds_words(text: str) -> bool:
    """Does the first line that says something begin with a dash? No line of TOML does."""
    said = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    return bool(said) and said[0].startswith("-")


def from_words(ctx: click.Context, text: str) -> Values:
    """`--port=4730 --listen localhost`, on as many lines as you like. White space separates; nothing quotes it."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found, others, _ = ctx.command.make_parser(ctx).parse_args(" ".join(lines).split())
    if others:
        raise click.UsageError(f"{others[0]!r} is no option")
    options = by_name(ctx)
    for name, value in found.items():
        if name not in options:
            raise click.UsageError(f"{words_for(ctx, name)} has no place in a file")
        convert(ctx, options[name], value)
    return dict(found)


def words_for(ctx: click.Context, name: str) -> str:
    """An option as it is typed."""
    return next((param.opts[-1] for param in ctx.command.get_params(ctx) if param.name == name), name)


def from_toml(ctx: click.Context, text: str) -> Values:
    """`port = 4730`, `listen = ["127.0.0.1", "::1"]`."""
    options = {name: option for name, option in by_name(ctx).items() if option.envvar}  # which have a long name
    found = {}
    for key, value in parsed(text).items():
        option = options.get(key.replace("-", "_")) or unknown(key, options)
        found[str(option.name)] = convert(ctx, option, fitting(option, key, value))
    return found


def parsed(text: str) -> Values:
    """A table of TOML. Raises click.UsageError: for some texts the parser fails in ways of its own."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise click.UsageError("brackets are nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        raise click.UsageError(str(error)) from None


def by_name(ctx: click.Context) -> dict[str, Setting]:
    """The settings that a file may hold."""
    options = {str(option.name): option for option in ctx.command.params if isinstance(option, Setting)}
    del options[ITSELF]
    return options


def unknown(key: str, options: dict[str, Setting]) -> Setting:
    """Raises click.UsageError, with the name that may have been meant."""
    names = [own_name(option) for option in options.values()]
    near = get_close_matches(key, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(names))}"
    raise click.UsageError(f"there is no setting {key!r}; {hint}")


def fitting(option: Setting, key: str, value: Any) -> Any:
    """The value, if it is of a kind that the option takes: a list only where the option may be repeated."""
    values = value if option.multiple and isinstance(value, list) else [value]
    if not all(type(one) in kinds(option.type) for one in values):  # exactly: a bool is an int to Python
        raise click.UsageError(f"{key} = {value!r} is not a value for this setting")
    return values if option.multiple else value


def kinds(option_type: click.ParamType[Any]) -> Sequence[type]:
    """What TOML may give for an option of this type."""
    match option_type:
        case click.types.BoolParamType():
            return (bool,)
        case click.IntRange() | Size():
            return str, int
        case click.FloatRange():
            return str, int, float
    return (str,)


def convert(ctx: click.Context, option: Setting, value: Any) -> Any:
    """The value, checked. Raises click.UsageError that names the setting."""
    try:
        option.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise click.UsageError(f"{own_name(option)}: {error.message}") from None
    return value
