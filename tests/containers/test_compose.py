"""The services of the compose file: all databases side by side, each kept through a kill -9 of its server."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.command.running import CANNOT_START, STOPPED, GearmandPy
from tests.containers.checkout import BUILD_SECONDS, DATABASES, EVERY_PROFILE, SERVICES, Services, configuration
from tests.containers.engine import docker
from tests.databases.kinds import KINDS
from tests.databases.selection import SERVERS

LARGE: Final = b"'" * 64_000_000  # each byte is escaped for MySQL
SLOW: Final = 120.0  # seconds: 5 on a machine with nothing else to do, over 20 on one that tests
KILLED: Final = 137
STOP_SECONDS: Final = 8  # then the engine kills; its usual patience is 10

DATA: Final = {
    "postgresql": "/var/lib/postgresql/gearmand/PG_VERSION",
    "mysql": "/var/lib/mysql/gearmand",
    "mariadb": "/var/lib/mysql/gearmand",
}
PROFILES: Final = {
    (): {"gearmand", "postgres"},
    ("--profile=mysql",): {"gearmand", "postgres", "gearmand-mysql", "mysql"},
    ("--profile=mariadb",): {"gearmand", "postgres", "gearmand-mariadb", "mariadb"},
    EVERY_PROFILE: {*SERVICES.values(), *DATABASES.values()},
}


@pytest.fixture(scope="module")
def services(checkout: Path, image: str) -> Iterator[Services]:
    """The servers on all chosen databases, healthy."""
    variables = {kind: f"GEARMAND_TEST_{kind.upper()}_IMAGE" for kind in SERVERS}
    images = {
        f"{DATABASES[kind].upper()}_IMAGE": os.environ[name] for kind, name in variables.items() if name in os.environ
    }
    services = Services(checkout, image, images)
    try:
        services.up(*SERVERS)
        yield services
    finally:
        services.down()


@pytest.mark.parametrize("profiles", PROFILES, ids=str)
def test_each_profile_adds_a_pair(profiles: tuple[str, ...], tmp_path: Path) -> None:
    assert set(configuration(tmp_path, *profiles)["services"]) == PROFILES[profiles]


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All services, where nothing is set."""
    return configuration(tmp_path_factory.mktemp("declared"), *EVERY_PROFILE)


def test_they_are_published_on_this_machine_alone_each_on_its_port(declared: dict[str, Any]) -> None:
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service.get("ports", ())]
        for name, service in declared["services"].items()
    }
    assert published == {
        "gearmand": [("127.0.0.1", "4730", 4730)],
        "gearmand-mysql": [("127.0.0.1", "4731", 4730)],
        "gearmand-mariadb": [("127.0.0.1", "4732", 4730)],
        "postgres": [],
        "mysql": [],
        "mariadb": [],
    }


@pytest.mark.parametrize("kind", SERVICES)
def test_a_server_may_do_little(kind: str, declared: dict[str, Any]) -> None:
    service = declared["services"][SERVICES[kind]]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & {
        name for name, value in service.items() if value
    }
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("kind", SERVICES)
def test_the_database_is_of_the_usual_image_and_on_a_named_volume(kind: str, declared: dict[str, Any]) -> None:
    service = declared["services"][DATABASES[kind]]
    assert service["image"] == KINDS[kind].image
    assert [(mount["type"], mount["source"]) for mount in service["volumes"]] == [("volume", DATABASES[kind])]
    assert service["volumes"][0]["target"] == KINDS[kind].stored


@pytest.mark.parametrize("kind", SERVERS)
def test_the_data_are_on_the_named_volume(kind: str, services: Services) -> None:
    database = DATABASES[kind]
    services.compose("exec", database, "test", "-e", DATA[kind])
    (container,) = services.compose("ps", "--quiet", database).split()
    mounts = json.loads(docker("inspect", "--format={{json .Mounts}}", container).output())
    mounted = {mount["Name"]: mount["Destination"] for mount in mounts}
    assert DATA[kind].startswith(mounted[f"{services.project}_{database}"] + "/")


def test_the_services_can_be_built(services: Services) -> None:
    services.compose("build", SERVICES[SERVERS[0]], seconds=BUILD_SECONDS)


@pytest.mark.parametrize("kind", SERVERS)
def test_both_of_a_pair_are_healthy(kind: str, services: Services) -> None:
    states = services.states()
    assert [states[name]["Health"] for name in (SERVICES[kind], DATABASES[kind])] == ["healthy", "healthy"]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_has_no_privileges_and_dumps_no_core(kind: str, services: Services) -> None:
    looked_at = services.compose("exec", SERVICES[kind], "cat", "/proc/1/status", "/proc/1/limits")
    assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", looked_at, re.MULTILINE)
    assert re.findall(r"^Cap\w+:\t(\w+)$", looked_at, re.MULTILINE) == ["0" * 16] * 5
    assert re.search(r"^NoNewPrivs:\t1$", looked_at, re.MULTILINE)
    assert re.search(r"^Max core file size +0 +0 ", looked_at, re.MULTILINE)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_job_is_worked_through_the_published_port(kind: str, services: Services, gearmand_py: GearmandPy) -> None:
    client = gearmand_py.at(services.ports[kind])
    client.start("work", "reverse", "--", "rev")
    assert client.output("submit", "reverse", "olleh") == "hello"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_killed_server_has_its_jobs_when_it_is_back(kind: str, services: Services, gearmand_py: GearmandPy) -> None:
    service = SERVICES[kind]
    client = gearmand_py.at(services.ports[kind])
    handle = client.output("submit", "-b", "shout", "still here")
    assert handle.startswith(f"H:{service}:")
    services.compose("kill", "-s", "KILL", service)
    assert services.states()[service]["ExitCode"] == KILLED
    services.up(kind)
    assert f"{handle}\t0\t0\t1" in client.output("jobs", "--raw").splitlines()
    worker = client.start("work", "--count", "1", "shout", "--", "sh", "-c", "tr a-z A-Z >&2")
    worker.result()
    assert worker.stderr == "STILL HERE"
    assert client.output("jobs", "--raw") == ""


@pytest.mark.parametrize("kind", SERVERS)
def test_the_largest_jobs_are_kept(kind: str, services: Services, gearmand_py: GearmandPy) -> None:
    client = gearmand_py.at(services.ports[kind])
    handle = client.start("submit", "-b", "large", stdin=LARGE).result(SLOW).decode().strip()
    assert client.output("cancel", handle) == f"{handle} cancelled"


@pytest.mark.parametrize("kind", SERVERS)
def test_a_wrong_password_is_told_in_a_line(kind: str, services: Services) -> None:
    wrong = "--env=GEARMAND_DATABASE_PASSWORD=wrong"
    words = ("compose", "-p", services.project, "run", "--rm", "--no-deps", wrong, SERVICES[kind])
    ended = docker(*words, at=services.folder)
    assert ended.status == CANNOT_START
    (line,) = re.findall(r"^(?! Container ).+", ended.stderr, re.MULTILINE)  # beside what Compose itself says
    assert line.startswith(f"gearmand-py: {kind}://gearmand@{DATABASES[kind]}/gearmand: ")
    assert "password" in line
    assert "wrong" not in line


@pytest.mark.parametrize("kind", SERVERS)
def test_the_password_may_be_in_a_file(kind: str, services: Services, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(services.settings["GEARMAND_DATABASE_PASSWORD"] + "\n")
    variables = (
        "--env=GEARMAND_DATABASE_PASSWORD_FILE=/run/secrets/password",
        "--env=GEARMAND_DATABASE_PASSWORD=wrong",
        f"--volume={secret}:/run/secrets/password:ro",
    )
    said = services.compose("run", "--rm", "--no-deps", *variables, SERVICES[kind], "migrate", "--check")
    assert said.startswith(f"{kind}://gearmand@{DATABASES[kind]}/gearmand (")


def test_the_options_of_the_server_are_read_from_the_file_of_variables(services: Services) -> None:
    service = SERVICES[SERVERS[0]]
    shown = services.compose("run", "--rm", "--no-deps", service, "--check-config")
    assert f"job-retries = {services.settings['GEARMAND_JOB_RETRIES']}  # environment" in shown
    assert services.settings["GEARMAND_DATABASE_PASSWORD"] not in shown


def test_they_stop_in_time_and_in_order(services: Services) -> None:
    """The last test of this module: nobody starts them again."""
    services.compose("stop", f"--timeout={STOP_SECONDS}", *(SERVICES[kind] for kind in SERVERS))
    states = services.states()
    assert [states[SERVICES[kind]]["ExitCode"] for kind in SERVERS] == [STOPPED] * len(SERVERS)
    assert [states[DATABASES[kind]]["Health"] for kind in SERVERS] == ["healthy"] * len(SERVERS)
