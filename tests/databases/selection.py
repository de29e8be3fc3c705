"""What the environment asks for: which databases are tested, and where their servers may come from."""

import os
from typing import Final

import pytest


class Unavailable(Exception):
    """A server cannot be had from here; the text says why."""


def chosen(variable: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names listed in an environment variable, in the order of `known`; all of them if it lists none."""
    listed = {name.strip() for name in os.environ.get(variable, "").split(",")} - {""}
    if unknown := ", ".join(sorted(listed - set(known))):
        raise pytest.UsageError(f"{variable} names {unknown}; it may list {', '.join(known)}")
    return tuple(name for name in known if name in listed) or known


SELECTED: Final = chosen("DATABASES", ("sqlite", "postgresql", "mysql", "mariadb"))
SERVERS: Final = tuple(kind for kind in SELECTED if kind != "sqlite")  # those that take a server
SOURCES: Final = chosen("GEARMAND_TEST_SOURCES", ("url", "containers", "local"))
