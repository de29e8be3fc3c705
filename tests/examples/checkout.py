"""A checkout to follow the examples in: what their READMEs say is typed as it stands there.

What differs from a reader's machine: the ports are free ones, `make` is told that its environment is set up (the tests
run in it), and `pkill` finds only what was started here.
"""

import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import pytest

from tests.databases.ports import free_port
from tests.harness.process import Process
from tests.harness.server import HOST
from tests.harness.tools import need

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"

PATIENCE: Final = 180.0  # much of what is done here is arithmetic, on a machine that has other things to do

STEP: Final = re.compile(r"^```sh\n(.*?)^```\n(.*?)(?=^```|\Z)", re.MULTILINE | re.DOTALL)
SHOWN: Final = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+")

MAKE: Final = """#!/bin/sh
exec {make} --old-file=.venv/.ready "$@"
"""
PKILL: Final = """#!/bin/sh
exec {pkill} --session "$(cat '{sessions}')" "$@"
"""
# A terminal shows both streams. The script is a file, so that no program's name stands in the command of its shell.
TERMINAL: Final = 'exec bash -e "$0" 2>&1'


Seen = TypeVar("Seen")


class Step(NamedTuple):
    """What a README says to type, and what one then sees, without the indentation."""

    command: str
    shown: str


def steps(page: str) -> list[Step]:
    """The steps of a README, which is named by its path below `examples`."""
    return [Step(command, _shown(rest)) for command, rest in STEP.findall((EXAMPLES / page).read_text())]


def _shown(text: str) -> str:
    blocks = SHOWN.findall(f"\n{text}")
    return "".join(re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks)


class Checkout:
    """A directory with the examples and a server; all that is typed ends with `opened`."""

    def __init__(self, home: Path, opened: ExitStack) -> None:
        self.home = home
        self.path = home / "checkout"
        self.ports = {"4730": free_port(), "8080": free_port(), "8081": free_port()}
        self._opened = opened
        self._terminals: list[Process] = []
        self._check_out()
        self._add_program("make", MAKE.format(make=need("make")))
        self._add_program("pkill", PKILL.format(pkill=need("pkill"), sessions=self.home / "sessions"))
        for program in ("curl", "perl", "php"):
            need(program)

    def _check_out(self) -> None:
        generated = shutil.ignore_patterns("outbox", "results", "small*.jpg", "__pycache__")
        shutil.copytree(EXAMPLES, self.path / "examples", ignore=generated)
        for name in ("Makefile", "README.md", "pyproject.toml"):
            (self.path / name).symlink_to(ROOT / name)
        (self.path / ".venv").symlink_to(sys.prefix)

    def _add_program(self, name: str, script: str) -> None:
        program = self.home / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)

    def _environment(self) -> Mapping[str, str]:
        port = self.ports["4730"]
        return {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:{os.environ['PATH']}",
            "GEARMAND_PORT": str(port),
            "GEARMAN_SERVERS": f"{HOST}:{port}",
            "STATE_DIRECTORY": str(self.home / "state"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def here(self, text: str) -> str:
        """A text of the READMEs with the ports of this test."""
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda port: str(self.ports.get(port[0], port[0])), text)

    def type(self, command: str) -> Process:
        """Give a command to a shell in a terminal of its own."""
        running = [str(terminal.pid) for terminal in self._terminals if terminal.is_running]
        (self.home / "sessions").write_text(",".join(running))
        script = self.home / f"typed-{len(self._terminals)}.sh"
        script.write_text(self.here(command).replace("web.py", f"web.py --port {self.ports['8081']}"))
        shell = ["env", "-C", str(self.path), "bash", "-c", TERMINAL, str(script)]
        terminal = self._opened.enter_context(Process(shell, environment=self._environment()))
        self._terminals.append(terminal)
        return terminal

    def start(self, step: Step) -> Process:
        """Type a command that goes on, and wait until all is seen that the README shows."""
        terminal = self.type(step.command)
        self.expect(terminal, step.shown)
        return terminal

    def expect(self, terminal: Process, shown: str) -> None:
        """Wait until a terminal shows these lines."""
        for line in shown.splitlines():
            terminal.expect(self.pattern(line).encode(), PATIENCE)

    def follow(self, step: Step) -> str:
        """Type a command that ends, and compare what is seen with what the README shows; returns it."""
        terminal = self.type(step.command)
        terminal.wait(PATIENCE)
        seen = terminal.stdout.decode()
        if not re.fullmatch(self.pattern(step.shown), seen, re.DOTALL):
            others = "\n".join(f"$ {other.stdout.decode()}" for other in self._terminals)
            terminal.fail(f"the README shows\n{step.shown}\nand the terminals\n{others}")
        return seen

    def pattern(self, shown: str) -> str:
        """What is seen here for what a README shows: three dots stand for anything, 4711 for any process."""
        return re.escape(self.here(shown)).replace(r"\.\.\.", ".*").replace("4711", r"\d+")

    def serve(self) -> Process:
        """Start the server as the examples' README says."""
        return self.start(steps("README.md")[1])


class Answer(NamedTuple):
    """What a web server answers."""

    status: int
    body: str


def fetch(url: str, **form: str) -> Answer:
    """GET a page, or POST a form to it."""
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(url, data, timeout=60) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode())


def eventually(look: Callable[[], Seen], wanted: Callable[[Seen], bool]) -> Seen:
    """Look again and again until what is seen is as wanted."""
    until = time.monotonic() + PATIENCE
    while not wanted(seen := look()):
        if time.monotonic() > until:
            pytest.fail(f"still {seen}")
    return seen
