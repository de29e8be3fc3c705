"""What is in the image, and what is not."""

import shutil
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Final

from tests.containers.checkout import FILES, PACKAGES
from tests.containers.engine import docker, image_config

OWN_MEGABYTES: Final = 110  # beside the base image; 86 when it was made
BUILD_TOOLS: Final = ("cc", "gcc", "g++", "make", "ld", "git")


def inside(image: str, script: str) -> str:
    """What a shell in the image prints."""
    return docker("run", "--rm", "--entrypoint=sh", image, "-c", script).output()


def test_it_is_run_by_an_ordinary_user_of_a_fixed_number(image: str) -> None:
    assert image_config(image)["User"] == "10001:10001"
    assert inside(image, "id -u; id -g; stat -c '%u %g %a' /var/lib/gearmand-py").split("\n") == [
        "10001",
        "10001",
        "10001 10001 700",
    ]


def test_it_owns_nothing_but_its_state(image: str) -> None:
    owned = inside(image, "find / -xdev -user 10001 -not -path '/proc/*' -not -path '/dev/*' 2>/dev/null || true")
    assert owned.split() in ([], ["/var/lib/gearmand-py"])  # a volume may be another device


def test_what_it_tells_of_itself(image: str) -> None:
    config = image_config(image)
    ours = metadata("gearmand-py")
    assert config["Labels"] == config["Labels"] | {
        "org.opencontainers.image.title": ours["Name"],
        "org.opencontainers.image.description": ours["Summary"],
        "org.opencontainers.image.version": version("gearmand-py"),
        "org.opencontainers.image.licenses": ours["License-Expression"],
    }
    assert list(config["ExposedPorts"]) == ["4730/tcp"]
    assert list(config["Volumes"]) == ["/var/lib/gearmand-py"]


def test_it_is_small_and_has_no_tools_to_build_with(image: str) -> None:
    assert int(inside(image, "du -sm /opt/gearmand-py | cut -f1")) <= OWN_MEGABYTES
    assert inside(image, f"command -v {' '.join(BUILD_TOOLS)} || true") == ""
    assert inside(image, "ls /build /opt/gearmand-py/bin/pip* 2>/dev/null || true") == ""


def test_its_command_is_ours(image: str) -> None:
    assert docker("run", "--rm", image, "--version").output() == f"gearmand-py, version {version('gearmand-py')}"
    assert "CREATE TABLE" in docker("run", "--rm", image, "migrate", "--sql").output()


def test_only_what_the_wheel_is_made_from_is_sent_to_the_engine(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "worked in"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".env"))
    for name in (".env", ".git/config", ".venv/bin/python", "server/__pycache__/app.pyc", "storage/sub/__pycache__/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not for others")
    docker("build", "--output=../sent", "--file=-", ".", at=folder, stdin="FROM scratch\nCOPY . /\n").output()
    sent = {path.name for path in (tmp_path / "sent").iterdir()}
    assert sent == {"LICENSE", "README.md", "docker-entrypoint.sh", "pyproject.toml", *PACKAGES}
    assert sent < {*FILES, *PACKAGES}
    assert not list((tmp_path / "sent").glob("**/__pycache__/*"))
