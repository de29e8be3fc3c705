"""What pytest does about database servers: it tells which were used, and takes them away at the end.

Neither costs anything in a run that uses none. Where the tests run in several processes, each has its own servers and
tells the first one, which prints.
"""

import sys
from typing import Any, Final

import pytest

from tests.databases.selection import SELECTED

SOURCES_MODULE: Final = "tests.databases.sources"
WORKER_KEY: Final = "gearmand_py_databases"

_told: Final[dict[str, None]] = {}  # by other processes; each line once


def pytest_report_header() -> str:
    return f"databases: {', '.join(SELECTED)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in dict.fromkeys([*_told, *used_here()]):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of pytest-xdist's."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[WORKER_KEY] = used_here()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """In the first process, when another one is done."""
    _told.update(dict.fromkeys(getattr(node, "workeroutput", {}).get(WORKER_KEY, ())))


def used_here() -> list[str]:
    """What the tests of this process ran on."""
    sources = sys.modules.get(SOURCES_MODULE)
    return sources.used() if sources else []


def pytest_unconfigure() -> None:
    """After the fixtures of the session."""
    if sources := sys.modules.get(SOURCES_MODULE):
        sources.close_shared()
