"""Debian packages of servers, unpacked into a cache beside the system: nothing is installed, and no root is needed.

PostgreSQL and MariaDB come from the machine's own release, with what libraries it lacks. Stable Debian has no MySQL;
that comes from sid with all it needs, the C library included, and runs under its own dynamic loader.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.databases.selection import Unavailable

APT_SECONDS: Final = 300
KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR: Final = "http://deb.debian.org/debian"
MIRRORS: Final = re.compile(r"^[^#\n]*\b(https?://\S+/debian)/?(?:\s|$)", re.MULTILINE)


class Wanted(NamedTuple):
    """Packages, and the release of Debian they are taken from; None for the machine's own."""

    names: tuple[str, ...]
    release: str | None = None


WANTED: Final = {
    "postgresql": Wanted(("postgresql",)),
    "mysql": Wanted(("mysql-server-core",), "sid"),
    "mariadb": Wanted(("mariadb-server-core", "mariadb-client-core")),
}


def unpack(kind: str) -> Path:
    """The directory with the packages of a server in it; they are fetched once a machine."""
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise Unavailable(f"there is no {program} to get packages with")
    folder = cache() / f"{kind}-{WANTED[kind].release or release()}"
    root = folder / "root"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not root.exists():
            fetch(kind, folder)
    return root


def cache() -> Path:
    """Where unpacked packages stay. Another user may run the servers of root, and cannot look into its home."""
    if os.geteuid() == 0:
        return Path("/var/cache/gearmand-py-tests")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gearmand-py-tests"


def release() -> str:
    """The name of this machine's system, such as "debian-12"."""
    system = platform.freedesktop_os_release()
    return f"{system['ID']}-{system.get('VERSION_ID', 'rolling')}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One of several test runs fetches, the others then find it."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(kind: str, folder: Path) -> None:
    """Unpack the packages into folder/root, which is there only when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        options = apt_options(work, WANTED[kind].release)
        run(["apt-get", *options, "update"])
        run(["apt-get", *options, "install", "--yes", "--download-only", *WANTED[kind].names])
        part = work / "root"
        part.mkdir(mode=0o755)
        for package in sorted(work.glob("cache/archives/*.deb")):
            run(["dpkg", "--extract", str(package), str(part)])
        part.rename(folder / "root")


def apt_options(work: Path, suite: str | None) -> list[str]:
    """Have apt keep its state here; with a suite, also look nowhere else, and take nothing for installed."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (work / part).mkdir(parents=True)
    options: dict[str, str | Path] = {
        "Dir::State": work / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",  # the other user could not write here
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",  # nothing of the system is changed
    }
    if suite:
        options |= only_from(work, suite)
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def only_from(work: Path, suite: str) -> Mapping[str, str | Path]:
    (work / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror()} {suite} main\n")
    (work / "status").touch()
    return {
        "Dir::State::status": work / "status",
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
    }


def mirror() -> str:
    """The mirror of Debian that this machine uses."""
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    for file in files:
        if file.is_file() and (found := MIRRORS.search(file.read_text())):
            return found[1]
    return MIRROR


def run(command: list[str]) -> None:
    """Run a command, or raise Unavailable with what it said."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=APT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took more than {APT_SECONDS} s") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}\nended with exit code {done.returncode}\n{done.stdout}")


def libraries(root: Path) -> list[Path]:
    """The directories with shared libraries."""
    places = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"), root / "usr/lib", root / "lib"]
    return [place for place in places if place.is_dir()]


def loader(root: Path) -> Path | None:
    """The dynamic loader, if the packages brought a C library of their own."""
    return next((place / name for place in libraries(root) for name in loaders(place)), None)


def loaders(place: Path) -> list[str]:
    return [path.name for path in place.glob("ld-linux*.so.*")]
