"""`make sbom`: the bill of materials of what is locked."""

import json
from importlib.metadata import metadata, version
from typing import Any

import pytest

from tests.supply.locks import read_lock
from tests.supply.making import make


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Made in a directory of its own, by the Makefile."""
    folder = tmp_path_factory.mktemp("bill")
    done = make(folder, "sbom")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "dist" / "gearmand-py.cdx.json").read_text())
    return found


def test_it_is_of_this_project(bill: dict[str, Any]) -> None:
    assert bill["bomFormat"] == "CycloneDX"
    about = bill["metadata"]["component"]
    assert (about["name"], about["version"]) == (metadata("gearmand-py")["Name"], version("gearmand-py"))


def test_it_names_every_locked_package_and_its_digests(bill: dict[str, Any]) -> None:
    named = {
        (part["name"], part["version"]): sorted(
            f"sha256:{digest['content']}" for source in part["externalReferences"] for digest in source["hashes"]
        )
        for part in bill["components"]
    }
    assert named == {(one.name, one.version): sorted(one.hashes) for one in read_lock("requirements.lock")}
