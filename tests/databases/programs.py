"""Server programs: those of this machine, and those of its distribution's packages."""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tests.databases import packages
from tests.databases.selection import Unavailable

PROBE_SECONDS: Final = 20
USUAL: Final = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/usr/libexec", "/usr/local/mysql/bin")
VERSIONED: Final = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")


class Programs(NamedTuple):
    """The server, and the program that initialises its data: the server itself for MySQL.

    `root` is where packages were unpacked; `loader` runs programs of a newer system than this one's.
    """

    server: Path
    initialiser: Path
    root: Path | None = None
    loader: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}

    def run(self, program: Path) -> list[str]:
        """The beginning of a command."""
        if not self.loader:
            return [str(program)]
        return [*self.loader, "--argv0", str(program), str(program)]

    @property
    def base(self) -> list[str]:
        """Where MySQL and MariaDB find what belongs to them, if not where they were built to look."""
        return [f"--basedir={self.root / 'usr'}"] if self.root else []


def folders(root: Path | None) -> Iterator[Path]:
    """Where programs may lie; of several versions the newest first."""
    if root is None:
        yield from (Path(folder) for folder in os.get_exec_path())
    top = root or Path("/")
    for pattern in VERSIONED:
        yield from sorted(top.glob(pattern), key=major_version, reverse=True)
    yield from (top / folder.lstrip("/") for folder in USUAL)


def major_version(folder: Path) -> float:
    digits = "".join(letter for letter in folder.parent.name if letter.isdecimal() or letter == ".")
    return float(digits or 0)


def find(name: str, within: Iterable[Path]) -> Path | None:
    """The first program of this name, behind all links: it finds its files by its own place."""
    for folder in within:
        if os.access(path := folder / name, os.X_OK) and path.is_file():
            return path.resolve()
    return None


def postgresql(root: Path | None) -> Programs | None:
    for folder in folders(root):
        server, initialiser = find("postgres", [folder]), find("initdb", [folder])
        if server and initialiser:
            return Programs(server, initialiser, root)
    return None


def mariadb(root: Path | None) -> Programs | None:
    server = find("mariadbd", folders(root))
    initialiser = find("mariadb-install-db", folders(root))
    return Programs(server, initialiser, root) if server and initialiser else None


def mysql(root: Path | None) -> Programs | None:
    server = find("mysqld", folders(root))
    return Programs(server, server, root) if server else None


FINDERS: Final[Mapping[str, Callable[[Path | None], Programs | None]]] = {
    "postgresql": postgresql,
    "mysql": mysql,
    "mariadb": mariadb,
}


@cache
def installed(kind: str) -> Programs:
    """The programs of this machine."""
    programs = FINDERS[kind](None)
    if not programs or (kind == "mysql" and is_mariadb(programs)):
        raise Unavailable("no server program is installed")
    return programs


def is_mariadb(programs: Programs) -> bool:
    """Whether what is called mysqld is MariaDB's."""
    command = [*programs.run(programs.server), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS)
    return "mariadb" in done.stdout.lower()


@cache
def unpacked(kind: str) -> Programs:
    """The programs of the distribution's packages, unpacked beside the system."""
    root = packages.unpack(kind)
    if not (programs := FINDERS[kind](root)):
        raise Unavailable(f"the packages in {root} have no server program")
    libraries = ":".join(str(folder) for folder in packages.libraries(root))
    if loader := packages.loader(root):
        return programs._replace(loader=(str(loader), "--library-path", libraries))
    return programs._replace(environment={"LD_LIBRARY_PATH": libraries})
