"""What an option is: where its value may come from, and the kinds of values that click does not have."""

import math
import os
import re
from pathlib import Path
from typing import Any, Final

import click

ENVIRONMENT_PREFIX: Final = "GEARMAND_"
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Size(click.ParamType[int]):
    """Bytes, as a number or with K, M, G (of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`64M`, `64MiB`, `64MB` and `67108864` are the same."""
        if isinstance(value, int) and value >= 0:
            return value
        match = re.fullmatch(r"(\d{1,18})\s*([KMG]?)(i?B)?", str(value).strip(), re.IGNORECASE)
        if not match:
            self.fail(f"{value!r} is not a size: write 1048576, 64M or 64MiB", param, ctx)
        return int(match[1]) * UNITS[match[2].upper()]


class Seconds(click.FloatRange):
    """A time from 0 on: Python reads `nan` and `1e400` as numbers too, but no clock comes to them."""

    def __init__(self) -> None:
        super().__init__(0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, as a number."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{seconds} is no number of seconds", param, ctx)
        return seconds


class Setting(click.Option):
    """An option whose environment variable may also name a file with the value, as container secrets do.

    `also` is another variable, by which gearmand knows it.
    """

    def __init__(self, *arguments: Any, also: str = "", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.also = also

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """`NAME`, else the content of the file `NAME_FILE`, else what gearmand calls `also`."""
        found = super().resolve_envvar_value(ctx)
        path = os.environ.get(f"{self.envvar}_FILE") if self.envvar else None
        if found is not None:
            return found
        if not path:
            return os.environ.get(self.also) or None
        try:
            return Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{self.envvar}_FILE: cannot read {path}: {error}", ctx, self) from None


def setting(*names: str, **attributes: Any) -> Setting:
    """An option that the environment can give too."""
    long = next(name for name in names if name.startswith("--"))
    variable = ENVIRONMENT_PREFIX + long[2:].replace("-", "_").upper()
    shown = attributes.get("default") not in ("", False)
    return Setting(names, envvar=variable, show_envvar=True, **{"show_default": shown, **attributes})


def own_name(option: click.Parameter) -> str:
    """The long name of an option, as files have it: without the dashes before it."""
    return str(option.name).replace("_", "-")
