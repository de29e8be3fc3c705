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
    second.serve().expect_error(rb"\b1 (job found|stored jobs are taken up)")
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
    assert 'listen = ["0.0.0.0"]  # environment' in shown


# ---- in the place of the image artefactual/gearmand


def shown_settings(container: MakeContainer, *words: str, options: tuple[str, ...] = ()) -> dict[str, str]:
    """What --check-config prints in a container: each setting's value as it is printed."""
    lines = container(*words, "--check-config", options=options).start().result().decode().splitlines()
    return dict(line.partition("  # ")[0].split(" = ", 1) for line in lines if " = " in line)


def test_the_variables_of_gearmands_image(container: MakeContainer, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    theirs = (
        "VERBOSE=DEBUG GEARMAND_PORT=4731 QUEUE_TYPE=mysql THREADS=4 BACKLOG=64 FILE_DESCRIPTORS=500 JOB_RETRIES=0 "
        "WORKER_WAKEUP=2 KEEPALIVE=1 KEEPALIVE_IDLE=300 KEEPALIVE_INTERVAL=30 KEEPALIVE_COUNT=5 MYSQL_HOST=db "
        "MYSQL_PASSWORD_FILE=/run/secrets/password MYSQL_TABLE=mails"
    )
    variables = tuple(f"--env={variable}" for variable in theirs.split())
    found = shown_settings(container, options=(*variables, f"--volume={secret}:/run/secrets/password:ro"))
    assert found["database"] == '"mysql://root:***@db:3306/Gearmand"'
    assert (found["table-prefix"], found["migrate"]) == ('"mails_"', "true")
    assert (found["verbose"], found["port"], found["backlog"]) == ('"DEBUG"', "4731", "64")
    assert (found["job-retries"], found["worker-wakeup"], found["file-descriptors"]) == ("-1", "2", "500")
    keepalive = [found[f"keepalive{name}"] for name in ("", "-idle", "-interval", "-count")]
    assert keepalive == ["true", "300", "30", "5"]


def test_our_variables_win(container: MakeContainer) -> None:
    named = (
        "--env=QUEUE_TYPE=mysql",
        "--env=GEARMAND_DATABASE=sqlite:////tmp/x.db",
        "--env=GEARMAND_PORT=tcp://10.0.0.1",
    )
    found = shown_settings(container, options=named)
    assert (found["database"], found["port"]) == ('"sqlite:////tmp/x.db"', "4730")
    both = ("--env=VERBOSE=DEBUG", "--env=GEARMAND_VERBOSE=ERROR", "--env=JOB_RETRIES=3", "--env=MYSQL_HOST=db")
    found = shown_settings(container, options=both)
    assert (found["verbose"], found["job-retries"]) == ('"ERROR"', "3")
    assert found["database"] == '"sqlite:////var/lib/gearmand-py/queue.db"', "without QUEUE_TYPE it is ours"


def test_its_file_and_its_name(container: MakeContainer, tmp_path: Path) -> None:
    (tmp_path / "gearmand.conf").write_text("--job-retries=7\n--queue-type=builtin\n")
    mounted = f"--volume={tmp_path}/gearmand.conf:/etc/gearmand.conf:ro"
    found = shown_settings(container, "gearmand", "--worker-wakeup=1", options=(mounted,))
    assert (found["job-retries"], found["worker-wakeup"], found["database"]) == ("7", "1", '"builtin"')


def test_root_becomes_another_user(container: MakeContainer, volume: str) -> None:
    may = ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE")
    options = ("--user=0", *(f"--cap-add={one}" for one in may), "--tmpfs=/run/own:uid=0,mode=0755")
    words = (
        "--user=gearmand",
        "--pid-file=/run/own/pid",
        "--log-file=/run/own/log",
        "--database=sqlite:////var/lib/gearmand-py/queue.db",
    )
    server = container(*words, options=(volume, *options, *QUICK_LOOKS))
    server.start()
    expect_health(server, "healthy")
    status = docker("exec", server.id, "cat", "/proc/1/status").output()
    ids = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert set(ids["Uid"] + ids["Gid"] + ids["Groups"]) == {"10001"}
    assert ids["CapEff"] == ["0000000000000000"]
    owners = docker("exec", server.id, "stat", "-c", "%u", "/var/lib/gearmand-py/queue.db", "/run/own/log").output()
    assert owners.split() == ["10001", "10001"]
    # Scripts of root's act on it.
    assert docker("exec", server.id, "stat", "-c", "%u", "/run/own/pid").output() == "0"
    assert server.stop() == STOPPED


def test_root_that_may_not_become_another(container: MakeContainer) -> None:
    process = container("--user=gearmand", options=("--user=0",)).start()
    assert process.wait() == CANNOT_START
    said = "gearmand-py: cannot become --user gearmand: it takes the capabilities SETUID, SETGID and CHOWN\n"
    assert process.stderr.endswith(said)
    assert "Traceback" not in process.stderr


def test_a_volume_of_somebody_else_is_told_in_a_line(container: MakeContainer) -> None:
    process = container(options=("--tmpfs=/var/lib/gearmand-py:uid=0,mode=0755",)).start()
    assert process.wait() == CANNOT_START
    (line,) = process.stderr.splitlines()
    assert line.startswith("gearmand-py: cannot ")
    assert line.endswith("Permission denied: change its owner or mode")
