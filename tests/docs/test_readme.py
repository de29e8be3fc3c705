"""The README's first minute, typed as it stands there.

Two things differ from a newcomer's machine. `make` is told that its environment is set up (the tests run in it), and
`pkill` is kept to the server of this test. Port and home directory are the test's own.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from tests.databases.ports import free_port
from tests.docs.pages import README, ROOT, blocks, section
from tests.harness.process import Process
from tests.harness.tools import need

FIRST_MINUTE: Final = section(README.read_text(), "First minute")

MAKE: Final = """#!/bin/sh
exec {make} --old-file=.venv/.ready "$@"
"""
PKILL: Final = """#!/bin/sh
pid=$(cat '{state}/queue.db.lock')
test "$*" = "-9 -x $(cat /proc/$pid/comm)" && kill -9 "$pid"
"""


class Machine:
    """A home directory, a checkout in it, and terminals to type into."""

    def __init__(self, home: Path, opened: ExitStack) -> None:
        self.home = home
        self.state = home / ".local" / "state" / "gearmand-py"
        self._opened = opened
        self.port = free_port()
        self._check_out()
        self._add_program("make", MAKE.format(make=need("make")))
        self._add_program("pkill", PKILL.format(state=self.state))

    def _check_out(self) -> None:
        (self.home / "checkout").mkdir()
        for name in ("Makefile", "pyproject.toml"):
            (self.home / "checkout" / name).symlink_to(ROOT / name)
        (self.home / "checkout" / ".venv").symlink_to(sys.prefix)

    def _add_program(self, name: str, script: str) -> None:
        program = self.home / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)

    def environment(self) -> Mapping[str, str]:
        """What differs from the environment of the tests."""
        mine = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "GEARMAND_PORT": str(self.port),
        }
        # Root's state directory is the machine's.
        return mine | ({"STATE_DIRECTORY": str(self.state)} if os.geteuid() == 0 else {})

    def type(self, block: str) -> Process:
        """Give a block of the README to a shell."""
        command = ["env", "-u", "XDG_STATE_HOME", "-C", str(self.home / "checkout"), "bash", "-e", "-c", block]
        return self._opened.enter_context(Process(command, environment=self.environment()))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine to follow the README on."""
    with ExitStack() as opened:
        yield Machine(tmp_path, opened)


def start_line(machine: Machine) -> str:
    """The line that the README shows, as it is here."""
    (shown,) = re.findall(r"^ {4}(gearmand-py .*)$", FIRST_MINUTE, re.MULTILINE)
    here = re.sub(r"gearmand-py [\d.]+ ", f"gearmand-py {version('gearmand-py')} ", shown)
    return here.replace(":4730", f":{machine.port}").replace("/home/ann", str(machine.home))


def test_the_first_minute(machine: Machine) -> None:
    serve, submit, kill_and_serve, work = blocks(FIRST_MINUTE, "sh")

    terminal = machine.type(serve)
    terminal.expect_error(re.escape(start_line(machine)).encode())

    handle, *status = machine.type(submit).result().decode().splitlines()
    assert handle.startswith("H:")
    assert [line.split() for line in status][1:] == [["shout", "1", "0", "1", "0"]]

    again = machine.type(kill_and_serve)
    assert terminal.wait() != 0
    (found,) = re.findall(r"It says `(.*?)`", FIRST_MINUTE)
    again.expect_error(found.encode())

    worked = machine.type(work)
    worked.result()
    (shouted,) = re.findall(r"^`([A-Z ]+)`\.", FIRST_MINUTE, re.MULTILINE)
    assert worked.stderr == shouted
