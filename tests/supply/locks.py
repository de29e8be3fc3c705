"""The lock files, read as pip reads them."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# By lock file: what it must satisfy.
LOCKS: Final = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-image.lock": [*PROJECT["dependency-groups"]["image"], *PROJECT["build-system"]["requires"]],
}


class Locked(NamedTuple):
    """One version of one package, for the platforms of its marker; the digests its files may have."""

    name: str
    version: str
    marker: Marker | None
    hashes: list[str]


def read_lock(name: str) -> list[Locked]:
    """What a lock file holds. Raises ValueError for a line that pins nothing."""
    text = re.sub(r"^\s*#.*$", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [locked(line) for line in text.splitlines() if line.strip()]


def locked(line: str) -> Locked:
    """`name==1.2 ; marker --hash=sha256:... --hash=...`"""
    wanted, *hashes = (part.strip() for part in line.split("--hash="))
    requirement = Requirement(wanted)
    pinned = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
    if not pinned:
        raise ValueError(f"{wanted} is not one version")
    return Locked(canonicalize_name(requirement.name), pinned[1], requirement.marker, hashes)
