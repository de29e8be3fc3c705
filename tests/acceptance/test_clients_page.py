"""The page on clients tells what the tests show."""

import json
from importlib.metadata import version

from tests.acceptance.libraries import LIBRARIES, NODE, ROOT, tables

PAGE = (ROOT / "docs" / "clients.md").read_text()


def test_the_page_has_the_tables_as_they_are() -> None:
    assert "\n".join(tables()) in PAGE, "run python -m tests.acceptance.libraries"


def test_every_library_is_on_the_page() -> None:
    assert [name for name in LIBRARIES if f"\n### {name}\n" not in PAGE] == []


def test_the_page_names_the_versions_that_are_installed_here() -> None:
    packages = json.loads((NODE / "package.json").read_text())["dependencies"]
    packages |= {name: version(name) for name in ("gear", "python3-gearman")}
    assert [f"{name} {number}" for name, number in packages.items() if f"{name} {number}" not in PAGE] == []
