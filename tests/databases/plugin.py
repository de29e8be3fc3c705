"""What pytest does about database servers: it tells which were used, and takes them away at the end.

Neither costs anything in a run that uses none.
"""

import sys

import pytest

from tests.databases.selection import SELECTED

SOURCES_MODULE = "tests.databases.sources"


def pytest_report_header() -> str:
    return f"databases: {', '.join(SELECTED)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if sources := sys.modules.get(SOURCES_MODULE):
        for line in sources.used():
            terminalreporter.write_line(line)


def pytest_unconfigure() -> None:
    """After the fixtures of the session."""
    if sources := sys.modules.get(SOURCES_MODULE):
        sources.close_shared()
