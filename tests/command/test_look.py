"""`gearmand-py status`, `workers`, `jobs`, `cancel` and `ping` against a server with something to see."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.command.running import GearmandPy, Worker, rows
from tests.harness.process import DEADLINE
from tests.harness.server import Server

FAILED: Final = 1


class Scene:
    """Two background jobs of `resize`, the first of them running, and a job of `mail` that somebody waits for."""

    def __init__(self, server: Server, opened: ExitStack) -> None:
        self.submitter = opened.enter_context(server.connect())
        self.running = self._submit(packets.SUBMIT_JOB_BG, b"resize")
        self.waiting = self._submit(packets.SUBMIT_JOB_BG, b"resize")
        self.foreground = self._submit(packets.SUBMIT_JOB, b"mail")
        self.worker = Worker(server.port, b"resize")
        opened.callback(self.worker.close)
        self.client: Client = self.worker.client
        self.worker.report(packets.SET_CLIENT_ID, b"night-shift")
        assert self.worker.take()[0].decode() == self.running

    def _submit(self, kind: int, function: bytes) -> str:
        return self.submitter.ask(kind, function, b"", b"data", answer=packets.JOB_CREATED).decode()


@pytest.fixture
def scene(server: Server) -> Iterator[Scene]:
    """A server with something to see."""
    with ExitStack() as opened:
        yield Scene(server, opened)


@pytest.mark.usefixtures("scene")
def test_status(client: GearmandPy) -> None:
    assert client.output("status").splitlines() == [
        "FUNCTION  TOTAL  RUNNING  WAITING  WORKERS",
        "resize        2        1        1        1",
        "mail          1        0        1        0",
    ]
    assert client.output("status", "--raw").splitlines() == ["resize\t2\t1\t1", "mail\t1\t0\t0"]
    assert json.loads(client.output("status", "--json")) == [
        {"function": "resize", "total": 2, "running": 1, "waiting": 1, "workers": 1},
        {"function": "mail", "total": 1, "running": 0, "waiting": 1, "workers": 0},
    ]


@pytest.mark.usefixtures("scene")
def test_workers(client: GearmandPy) -> None:
    listed = json.loads(client.output("workers", "--json"))
    assert {"address": "127.0.0.1", "id": "night-shift", "functions": ["resize"]} in [
        {name: value for name, value in row.items() if name != "fd"} for row in listed
    ]
    assert len(listed) == 3  # the submitter and the command itself too
    heading, *lines = client.output("workers").splitlines()
    assert heading.split() == ["FD", "ADDRESS", "ID", "FUNCTIONS"]
    assert any(re.fullmatch(r" *\d+  127\.0\.0\.1  night-shift  resize", line) for line in lines)
    raw = client.output("workers", "--raw").splitlines()
    assert any(re.fullmatch(r"\d+ 127\.0\.0\.1 night-shift : resize", line) for line in raw)


def test_jobs(client: GearmandPy, scene: Scene) -> None:
    handles = [scene.running, scene.waiting, scene.foreground]
    width = max(map(len, handles))
    assert client.output("jobs").splitlines() == [
        f"{'HANDLE':{width}}  RETRIES  IGNORED  PERSISTED",
        f"{scene.running:{width}}        0        0          1",
        f"{scene.waiting:{width}}        0        0          1",
        f"{scene.foreground:{width}}        0        0          0",
    ]
    assert client.output("jobs", "--raw").splitlines() == [
        f"{scene.running}\t0\t0\t1",
        f"{scene.waiting}\t0\t0\t1",
        f"{scene.foreground}\t0\t0\t0",
    ]
    assert json.loads(client.output("jobs", "--json"))[0] == {
        "handle": scene.running,
        "retries": 0,
        "ignored": 0,
        "persisted": 1,
    }


def test_an_empty_server_has_nothing_to_show(client: GearmandPy) -> None:
    assert client.output("status") == "FUNCTION  TOTAL  RUNNING  WAITING  WORKERS"
    assert client.output("jobs", "--json") == "[]"
    assert client.output("jobs", "--raw") == ""


def test_a_cancelled_job_is_gone_from_queue_and_table(client: GearmandPy, server: Server, scene: Scene) -> None:
    assert client.output("cancel", scene.waiting) == f"{scene.waiting} cancelled"
    stored = [
        f"{scene.waiting.rpartition(':')[0]}:{id_}" for (id_,) in rows(server.database, "SELECT id FROM gearman_job")
    ]
    assert stored == [scene.running]
    ended = client.run("cancel", scene.waiting, "no-handle")
    assert (ended.status, ended.stderr) == (FAILED, "")
    assert ended.stdout.decode() == f"{scene.waiting} unknown\nno-handle unknown\n"


def test_the_result_of_a_cancelled_job_is_discarded(client: GearmandPy, server: Server, scene: Scene) -> None:
    assert client.output("cancel", scene.running, scene.waiting).count("cancelled") == 2
    assert rows(server.database, "SELECT * FROM gearman_job") == []
    scene.worker.report(packets.WORK_COMPLETE, scene.running.encode(), b"late")
    assert client.output("status", "--raw").splitlines()[0] == "resize\t0\t0\t1"


def test_the_submitter_of_a_cancelled_job_learns_that_it_failed(client: GearmandPy, scene: Scene) -> None:
    client.output("cancel", scene.foreground)
    assert scene.submitter.receive(DEADLINE) == (packets.WORK_FAIL, scene.foreground.encode())


def test_ping(client: GearmandPy, server: Server) -> None:
    assert re.fullmatch(rf"pong from 127\.0\.0\.1:{server.port} in \d+\.\d\d ms", client.output("ping"))
