"""Every option is documented, and every option that the documentation names is there."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from gearmand_py.server.cli import main
from gearmand_py.server.config import OPTIONS
from tests.docs.pages import PAGES, ROOT, blocks, code, examples
from tests.harness.tools import need
from tests.tls.certificates import Authority

CONTEXT: Final = click.Context(main)
COMMANDS: Final = {name: main.get_command(CONTEXT, name) for name in main.list_commands(CONTEXT)}
EVERY: Final = [(name, option) for name, command in COMMANDS.items() if command for option in command.params]

EXAMPLES: Final = list(dict.fromkeys(example for page in PAGES for example in examples(page.read_text())))
SERVING: Final = [(variables, words) for variables, words in EXAMPLES if not words or words.startswith("-")]
USING: Final = [
    (command, rest) for _, words in EXAMPLES for command, _, rest in [words.partition(" ")] if command in COMMANDS
]


GENERATE: Final = runpy.run_path(str(ROOT / "docs" / "generate.py"))
# Queues that have no counterpart here: their --queue-type is refused, which docs/coming-from-gearmand.md says.
OTHER_QUEUES: Final = ("--libmemcached-", "--redis-", "--libdrizzle-", "--libtokyocabinet-")


@pytest.mark.parametrize(("name", "make"), [("options.md", "page"), ("coming-from-gearmand.md", "coming")])
def test_the_tables_of_options_are_what_the_declarations_make(name: str, make: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATE[make](), "run make docs"


def test_the_table_of_gearmands_options_has_all_of_them_and_no_other() -> None:
    said = subprocess.run([need("gearmand"), "--help"], capture_output=True, text=True, check=True).stdout
    gearmands = set(re.findall(r"--[a-z][a-z0-9-]+", said))
    theirs = {name for name in gearmands if not name.startswith(OTHER_QUEUES)}
    ours = {name for option in main.params if GENERATE["is_gearmands"](option) for name in option.opts}
    here = {name for name in ours if name.startswith("--")}
    assert here == theirs - {"--help"} | {"--check-args"}  # which Debian's does not tell


@pytest.mark.parametrize("option", [*OPTIONS, *main.params], ids=lambda option: option.name)
def test_an_option_of_the_server_has_a_help_text(option: click.Option) -> None:
    assert option.help
    assert option.help.endswith(".")


@pytest.mark.parametrize(("command", "option"), EVERY, ids=[f"{name} {option.name}" for name, option in EVERY])
def test_an_option_of_a_command_has_a_help_text(command: str, option: click.Parameter) -> None:
    if isinstance(option, click.Option):
        assert option.help, f"{command} {option.opts}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_option_that_is_named_is_there(page: Path) -> None:
    there = {name for option in [*main.params, *(option for _, option in EVERY)] for name in option.opts}
    ours = re.sub(r'#.*|ARGS="[^"]*"', "", "\n".join(code(page.read_text())))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", ours)) <= there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_target_of_make_that_is_named_is_there(page: Path) -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for piece in code(page.read_text()) for name in re.findall(r"^make ([a-z-]+)", piece, re.MULTILINE)}
    assert named <= there


@pytest.mark.parametrize(("variables", "words"), SERVING)
def test_an_example_of_serving_is_a_fine_configuration(tmp_path: Path, variables: str, words: str) -> None:
    (tmp_path / "gearmand-py.toml").write_text("port = 4731\n")
    (tmp_path / "gearmand-access.toml").write_text('[[access]]\nsubmit = "*"\n')
    Authority(tmp_path / "gearmand-py").issue("server")
    here = words.replace("/etc/", f"{tmp_path}/").replace("--check-config", "").replace("--check-args", "")
    environment = dict(variable.split("=", 1) for variable in variables.split())
    checked = CliRunner().invoke(main, [*shlex.split(here), "--check-config"], env=environment)
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(("command", "words"), USING)
def test_an_example_of_a_command_has_the_words_it_takes(command: str, words: str) -> None:
    found = COMMANDS[command]
    assert found
    found.make_context(command, shlex.split(words), parent=CONTEXT)


def test_an_example_of_a_file_is_a_fine_configuration(tmp_path: Path) -> None:
    every = [block for page in PAGES for block in blocks(page.read_text(), "toml")]
    for block in [block for block in every if "[[access]]" not in block]:  # of the others see tests/security
        (tmp_path / "gearmand-py.toml").write_text(block)
        checked = CliRunner().invoke(main, ["--config-file", f"{tmp_path}/gearmand-py.toml", "--check-config"])
        assert checked.exit_code == 0, checked.output
