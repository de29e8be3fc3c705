"""A checkout in a directory of its own, and what `docker compose` makes of it there."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.containers.engine import REPOSITORY, docker
from tests.databases.ports import free_port

ROOT: Final = Path(__file__).parents[2]
FILES: Final = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "docker-compose.yml",
    "docker-entrypoint.sh",
    "pyproject.toml",
    "requirements-image.lock",
    "requirements.lock",
)
PACKAGES: Final = ("migrations", "server", "storage")
BUILD_SECONDS: Final = 600.0
UP_SECONDS: Final = 600.0  # a database's first start initialises its data

# By the names of tests/databases: the server's service, that of its database, and the variable with its port.
SERVICES: Final = {"postgresql": "gearmand", "mysql": "gearmand-mysql", "mariadb": "gearmand-mariadb"}
DATABASES: Final = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mariadb"}
PORTS: Final = {"postgresql": "PUBLISH_PORT", "mysql": "PUBLISH_PORT_MYSQL", "mariadb": "PUBLISH_PORT_MARIADB"}
EVERY_PROFILE: Final = ("--profile=mysql", "--profile=mariadb")


def check_out(folder: Path) -> Path:
    """Copy what the image and the services are made from."""
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def build(folder: Path, image: str) -> None:
    """The command of the Dockerfile's first lines, and a label to find what becomes of it."""
    label = f"--label={REPOSITORY}={image}"
    docker("build", "--network", "host", "-t", image, label, ".", at=folder, seconds=BUILD_SECONDS).output()


class Services:
    """The services of the compose file in a checkout, on ports that are free."""

    def __init__(self, folder: Path, image: str, images: Mapping[str, str]) -> None:
        self.folder = folder
        self.project = image.replace(":", "-")
        self.ports = {kind: free_port() for kind in SERVICES}
        self.settings = {
            "GEARMAND_IMAGE": image,
            "GEARMAND_DATABASE_PASSWORD": "pass $word #1",
            "GEARMAND_JOB_RETRIES": "7",
            **{PORTS[kind]: str(port) for kind, port in self.ports.items()},
            **images,
        }
        self._configure()

    def _configure(self) -> None:
        lines = [f"{name}='{value}'\n" for name, value in self.settings.items()]
        (self.folder / ".env").write_text("".join(lines))
        # The image's ten seconds between two looks are for a server that lives longer.
        looks = {name: {"healthcheck": {"interval": "1s"}} for name in SERVICES.values()}
        (self.folder / "docker-compose.override.yml").write_text(json.dumps({"services": looks}))

    def compose(self, *words: str, seconds: float = UP_SECONDS) -> str:
        """Have a `docker compose` command succeed; returns what it printed."""
        return docker("compose", "-p", self.project, *words, at=self.folder, seconds=seconds).output()

    def up(self, *kinds: str) -> None:
        """Start the servers, and what they need, and wait until all of it is healthy."""
        self.compose("up", "-d", "--wait", *(SERVICES[kind] for kind in kinds))

    def states(self) -> dict[str, dict[str, Any]]:
        """What `docker compose ps` shows of each service."""
        lines = self.compose(*EVERY_PROFILE, "ps", "--all", "--format=json").splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def down(self) -> None:
        self.compose(*EVERY_PROFILE, "down", "-v", "--remove-orphans")


def configuration(folder: Path, *options: str) -> dict[str, Any]:
    """What the compose file says where nothing is set."""
    shutil.copy(ROOT / "docker-compose.yml", folder)
    found: dict[str, Any] = json.loads(docker("compose", *options, "config", "--format=json", at=folder).output())
    return found
