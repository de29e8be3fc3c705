"""Every dependency of the image is one version of known files, and one that pyproject.toml allows."""

import re
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.supply.locks import LOCKS, read_lock

DIRECT: Final = [(lock, wanted) for lock, all_wanted in LOCKS.items() for wanted in all_wanted]


@pytest.mark.parametrize(("lock", "wanted"), DIRECT)
def test_what_the_project_asks_for_is_locked(lock: str, wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = [one.version for one in read_lock(lock) if one.name == canonicalize_name(requirement.name)]
    assert versions, f"{lock} has no {requirement.name}: make lock"
    assert all(map(requirement.specifier.contains, versions)), f"{lock} has {versions}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_has_the_digests_of_its_files(lock: str) -> None:
    found = read_lock(lock)
    assert found
    for one in found:
        assert one.hashes, one.name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in one.hashes), one.name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_package_has_two_versions_on_one_platform(lock: str) -> None:
    here = [one.name for one in read_lock(lock) if one.marker is None or one.marker.evaluate()]
    assert sorted(here) == sorted(set(here))
