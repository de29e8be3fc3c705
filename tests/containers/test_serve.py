"""A container alone, its jobs in a SQLite file on a volume. It is hardened as the compose file hardens it."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command.running import CANNOT_START, STOPPED, GearmandPy
from tests.containers.engine import REPOSITORY, Container, docker
from tests.harness.process import Process

MakeContainer = Callable[..., Container]

# Not 0 s, which would mean the image's.
QUICK_LOOKS = ("--health-interval=1s", "--health-start-period=1ms", "--health-retries=1")


@pytest.fixture
def volume(image: str) -> str:
    """The option that mounts a volume of the test's own at the state directory. It goes with the image."""
    name = f"{REPOSITORY}-{secrets.token_hex(6)}"
    docker("volume", "create", f"--label={REPOSITORY}={image}", name).output()
    return f"--volume={name}:/var/lib/gearmand-py"


def expect_health(container: Container, health: str) -> None:
    """Wait until the engine finds it so."""
    events = ["docker", "events", f"--filter=container={container.id}", "--filter=event=health_status"]
    with Process([*events, "--since=0", "--format={{.Action}}"]) as process:
        process.expect(f"health_status: {health}".encode())


def shout(gearmand_py: GearmandPy) -> str:
    """Work one job of the function shout; returns its data in capitals."""
    worker = gearmand_py.start("work", "--count", "1", "shout", "--", "sh", "-c", "tr a-z A-Z >&2")
    worker.result()
    return worker.stderr


def test_a_job_on_a_volume_survives_the_kill_and_the_container(
    container: MakeContainer, volume: str, gearmand_py: GearmandPy
) -> None:
    first = container(options=(volume,))
    first.serve()
    gearmand_py.at(first.port).output("submit", "-b", "shout", "still here")
    first.kill()
    first.serve()
    first.kill()
    first.remove()
    second = container(options=(volume,))
    assert "1 job found" in second.serve().stderr
    assert shout(gearmand_py.at(second.port)) == "STILL HERE"


def test_it_stops_when_it_is_told_to(container: MakeContainer) -> None:
    server = container()
    process = server.serve()
    assert server.stop() == STOPPED
    assert "stopped, 0 jobs left" in process.stderr


def test_it_becomes_healthy(container: MakeContainer) -> None:
    server = container(options=QUICK_LOOKS)
    server.serve()
    expect_health(server, "healthy")


def test_it_is_not_healthy_when_nobody_listens(container: MakeContainer) -> None:
    server = container("60", options=(*QUICK_LOOKS, "--entrypoint=sleep"))
    server.start()
    expect_health(server, "unhealthy")


def test_settings_come_from_variables_and_from_files_of_secrets(container: MakeContainer, tmp_path: Path) -> None:
    secret = tmp_path / "database"
    secret.write_text("postgresql://ann:secret@db/queue\n")
    variables = ("--env=GEARMAND_JOB_RETRIES=5", "--env=GEARMAND_DATABASE_FILE=/run/secrets/database")
    checked = container("--check-config", options=(*variables, f"--volume={secret}:/run/secrets/database:ro"))
    shown = checked.start().result().decode()
    assert 'database = "postgresql://ann:***@db/queue"  # environment' in shown
    assert "job-retries = 5  # environment" in shown
    assert 'listen = "0.0.0.0"  # environment' in shown


def test_a_volume_of_somebody_else_is_told_in_a_line(container: MakeContainer) -> None:
    process = container(options=("--tmpfs=/var/lib/gearmand-py:uid=0,mode=0755",)).start()
    assert process.wait() == CANNOT_START
    (line,) = process.stderr.splitlines()
    assert line.startswith("gearmand-py: cannot ")
    assert line.endswith("Permission denied: change its owner or mode")
