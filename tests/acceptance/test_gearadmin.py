"""libgearman's administration tool: every command that it has."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.acceptance.clients import Clients, until


def submit(clients: Clients, *arguments: str) -> str:
    """Submit a background job; returns its handle."""
    return clients.gearman("-v", "-b", *arguments).result().decode().removeprefix("Task created: ").strip()


def lines(listing: str) -> list[str]:
    *found, end = listing.splitlines()
    assert end == "."
    return found


def test_status(clients: Clients) -> None:
    submit(clients, "-f", "later", "x")
    submit(clients, "-f", "other", "x")
    submit(clients, "-I", "-f", "later", "y")
    assert sorted(lines(clients.gearadmin("--status"))) == ["later\t2\t0\t0", "other\t1\t0\t0"]


def test_status_counts_running_jobs_and_workers(clients: Clients) -> None:
    worker = clients.worker("php", "gate")
    submit(clients, "-f", "gate", "x")
    worker.expect(rb"H:.*\n")
    submit(clients, "-f", "gate", "y")
    assert lines(clients.gearadmin("--status")) == ["gate\t2\t1\t1"]
    assert lines(clients.gearadmin("--priority-status")) == ["gate\t0\t1\t0\t1"]


def test_priority_status(clients: Clients) -> None:
    for arguments in (["-I"], ["-L"], ["-L"], ["-L"], []):
        submit(clients, *arguments, "-f", "later", "x")
    assert lines(clients.gearadmin("--priority-status")) == ["later\t1\t1\t3\t0"]


def test_workers(clients: Clients) -> None:
    worker = clients.worker("gear", "gate", "same")
    submit(clients, "-f", "gate", "x")
    worker.expect(rb"H:.*\n")
    # And the tool itself, which is connected too; that which submitted may still be there.
    until(lambda: without_descriptor(clients), ["127.0.0.1 - :", "127.0.0.1 gear-worker : same gate"])


def without_descriptor(clients: Clients) -> list[str]:
    return sorted(line.partition(" ")[2].rstrip() for line in lines(clients.gearadmin("--workers")))


def test_show_jobs(clients: Clients) -> None:
    handles = [submit(clients, "-f", "later", "-u", unique, "x") for unique in ("a", "b")]
    assert sorted(lines(clients.gearadmin("--show-jobs"))) == sorted(f"{handle}\t0\t0\t1" for handle in handles)
    assert sorted(lines(clients.gearadmin("--show-unique-jobs"))) == ["a", "b"]


def test_cancel_job(clients: Clients) -> None:
    cancelled, kept = (submit(clients, "-f", "later", payload) for payload in ("cancelled", "kept"))
    assert clients.gearadmin("--cancel-job", cancelled) == "OK\n"
    assert lines(clients.gearadmin("--show-jobs")) == [f"{kept}\t0\t0\t1"]
    clients.server.restart()
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b"kept"


def test_functions_are_created_and_dropped(clients: Clients) -> None:
    assert clients.gearadmin("--create-function", "later") == "OK\n"
    assert lines(clients.gearadmin("--status")) == ["later\t0\t0\t0"]
    assert clients.gearadmin("--drop-function", "later") == "OK\n"
    assert lines(clients.gearadmin("--status")) == []


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--cancel-job", "H:nowhere:1"], "UNKNOWN_JOB"),
        (["--drop-function", "unheard-of"], "function not found"),
        (["--drop-function", "busy"], "there are still connected workers or executing clients"),
        (["--create-function", "f" * 513], "ARGUMENT_TOO_LARGE"),
    ],
)
def test_refusals(clients: Clients, arguments: list[str], answer: str) -> None:
    submit(clients, "-f", "busy", "x")
    tool = clients.start_gearadmin(*arguments)
    tool.wait()
    assert f"Error: {answer}" in tool.stderr


def test_a_running_job_is_cancelled(clients: Clients) -> None:
    worker = clients.worker("php", "gate")
    client = clients.client("php")
    handle = client.submit("gate")
    worker.expect(handle.encode())
    assert clients.gearadmin("--cancel-job", handle) == "OK\n"
    assert client.until_end()[-1]["event"] == "fail"
    assert lines(clients.gearadmin("--status")) == ["gate\t0\t0\t1"]


def test_an_empty_server(clients: Clients) -> None:
    for listing in ("--status", "--priority-status", "--show-jobs", "--show-unique-jobs"):
        assert lines(clients.gearadmin(listing)) == []


def test_about_the_server(clients: Clients) -> None:
    assert clients.gearadmin("--server-version").strip() == version("gearmand-py")
    assert clients.gearadmin("--server-verbose").strip() == "INFO"
    assert clients.gearadmin("--getpid").strip() == str(clients.server.pid)


def test_every_command_of_the_tool_is_tested(clients: Clients) -> None:
    """It has no --shutdown any more; that of older tools is a line of text, see tests of the command."""
    shown = clients.start_gearadmin("--help")
    shown.wait()
    help_text = f"{shown.stdout.decode()}{shown.stderr}"
    offered = set(re.findall(r"--[a-z-]+", help_text))
    tested = set(re.findall(r"--[a-z-]+", Path(__file__).read_text()))
    assert offered - tested == {f"--{setting}" for setting in ("host", "port", "ssl")}
