"""What is in the image, and what is not."""

import json
import shutil
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from tests.containers.checkout import BUILD_SECONDS, FILES, PACKAGES
from tests.containers.engine import docker, image_config
from tests.supply.locks import read_lock

OWN_MEGABYTES: Final = 110  # beside the base image; 86 when it was made
# What a marker of a lock file may ask, answered in the image.
MARKERS: Final = (
    "import json, os, platform as p, sys; print(json.dumps({'implementation_name': sys.implementation.name, "
    "'os_name': os.name, 'platform_machine': p.machine(), 'platform_python_implementation': "
    "p.python_implementation(), 'python_full_version': p.python_version(), "
    "'python_version': '.'.join(p.python_version_tuple()[:2]), 'sys_platform': sys.platform}))"
)
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
    assert inside(image, "ls /build 2>/dev/null || true") == ""


def test_it_cannot_install_anything(image: str) -> None:
    assert inside(image, "find / -xdev -name 'pip*' -path '*/bin/*' -o -xdev -name 'pip-*' 2>/dev/null || true") == ""
    for python in ("/opt/gearmand-py/bin/python", "python3"):
        for module in ("pip", "ensurepip"):
            found = f"import importlib.util as u; print(u.find_spec('{module}'))"
            assert inside(image, f'{python} -c "{found}"') == "None"


def packages(image: str) -> dict[str, str]:
    """What is installed in the image beside gearmand-py, by its name as a lock file has it."""
    script = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions(path=[sys.path[-1]])]"
    lines = inside(image, f'python -c "import sys; {script}"').splitlines()
    found: dict[str, str] = {canonicalize_name(name): version for name, version in map(str.split, lines)}
    del found["gearmand-py"]
    return found


def test_it_has_what_is_locked_and_nothing_else(image: str) -> None:
    environment = json.loads(inside(image, f'python -c "{MARKERS}"'))
    locked = read_lock("requirements.lock")
    assert packages(image) == {
        one.name: one.version for one in locked if one.marker is None or one.marker.evaluate(environment)
    }


def test_its_bill_of_materials_is_of_what_it_has(image: str) -> None:
    bill = json.loads(inside(image, "cat /usr/share/gearmand-py/sbom.cdx.json"))
    named = {canonicalize_name(part["name"]): part["version"] for part in bill["components"]}
    assert named == packages(image)
    about = bill["metadata"]["component"]
    assert (about["name"], about["version"]) == ("gearmand-py", version("gearmand-py"))


def test_its_command_is_ours(image: str) -> None:
    assert docker("run", "--rm", image, "--version").output() == f"gearmand-py, version {version('gearmand-py')}"
    assert "CREATE TABLE" in docker("run", "--rm", image, "migrate", "--sql").output()


def test_only_what_the_wheel_is_made_from_is_sent_to_the_engine(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "worked in"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".env"))
    for name in (".env", ".git/config", ".venv/bin/python", "server/__pycache__/app.pyc", "storage/sub/__pycache__/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not for others")
    command = ("build", "--output=../sent", "--file=-", ".")
    docker(*command, at=folder, stdin="FROM scratch\nCOPY . /\n", seconds=BUILD_SECONDS).output()
    sent = {path.name for path in (tmp_path / "sent").iterdir()}
    assert sent == {*FILES, *PACKAGES} - {".dockerignore", "Dockerfile", "docker-compose.yml"}
    assert not list((tmp_path / "sent").glob("**/__pycache__/*"))
