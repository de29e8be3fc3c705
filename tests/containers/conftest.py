"""Fixtures for tests of containers, and word of it where there are no such tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.command.running import GearmandPy
from tests.containers.checkout import build, check_out
from tests.containers.engine import HARDENED, REPOSITORY, Container, remove_all_of, remove_leftovers, session_name
from tests.containers.selection import left_out, missing

# Not even collected where they cannot be run: the summary tells.
collect_ignore_glob = ["test_*.py"] if left_out() else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if reason := left_out():
        terminalreporter.write_line(f"containers: left out, {reason}")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without anything that is not the project's."""
    return check_out(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def image(checkout: Path) -> Iterator[str]:
    """The session's image, by its name. With it goes all that was made from it."""
    if reason := missing():
        pytest.fail(f"this test needs Docker with its compose and buildx plugins: {reason}", pytrace=False)
    remove_leftovers()
    name = session_name()
    build(checkout, image := f"{REPOSITORY}:{name}")
    yield image
    remove_all_of(name)


@pytest.fixture
def container(image: str) -> Iterator[Callable[..., Container]]:
    """Makes containers of the image; they go with the test."""
    with ExitStack() as made:

        def make(*words: str, options: tuple[str, ...] = ()) -> Container:
            return made.enter_context(Container(image, *words, options=(*HARDENED, *options)))

        yield make


@pytest.fixture
def gearmand_py() -> Iterator[GearmandPy]:
    """Runs the command on this machine; what was started ends with the test."""
    command = GearmandPy()
    yield command
    command.close()
