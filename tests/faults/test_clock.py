"""A handle names one job for good, whatever the clock does between two starts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from gearmand_py.server.ids import id_of
from tests.conftest import StartServer
from tests.databases.queues import Queue, new_queue
from tests.databases.selection import SELECTED
from tests.faults.campaign.shim import Shim
from tests.faults.story import FUNCTION, PATIENCE, drain
from tests.harness.server import Server

HOUR: Final = 3600
JOBS: Final = 50


@pytest.fixture(params=SELECTED)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty database of each kind."""
    with new_queue(request.param, tmp_path) as queue:
        yield queue


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    """The clock of the servers that have its environment."""
    with Shim(tmp_path, tmp_path / "no database") as shim:
        yield shim


def store(server: Server, count: int = JOBS) -> list[int]:
    """Submit in one go; returns the ids of the jobs in the order in which they were acknowledged."""
    with server.connect() as client:
        for number in range(count):
            client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"%d" % number)
        return [acknowledged(client) for _ in range(count)]


def acknowledged(client: Client) -> int:
    kind, handle = client.receive(PATIENCE)
    assert kind == packets.JOB_CREATED
    id_ = id_of(bytes(handle))
    assert id_
    return id_


def work_off(server: Server) -> int:
    """Every job that waits; returns how many there were."""
    with server.connect() as worker:
        worker.send(packets.CAN_DO, FUNCTION)
        return len(drain(worker))


def test_ids_of_finished_jobs_are_not_given_again(start_server: StartServer, queue: Queue, shim: Shim) -> None:
    """The clock was an hour ahead when they were given, and is right again at the next start."""
    shim.shift_clock(HOUR)
    server = start_server(database=queue.url, environment=shim.environment)
    given = store(server)
    shim.shift_clock(0)
    given += store(server)  # an hour ahead as well: ids only grow
    assert work_off(server) == 2 * JOBS
    assert server.stop() == 0
    assert queue.length == 0

    server.restart()
    given += store(server)

    assert given == sorted(set(given))


def test_ids_of_foreground_jobs_are_not_given_again_by_the_next_start(start_server: StartServer, queue: Queue) -> None:
    """They are in no batch; and the bound that a start goes on from is ahead of the clock."""
    server = start_server(database=queue.url)
    given = store(server)
    for _ in range(3):
        server.restart()
        with server.connect() as client:
            client.send(packets.SUBMIT_JOB, FUNCTION, b"", b"nobody waits")
            given.append(acknowledged(client))
    assert given == sorted(set(given))


@pytest.mark.parametrize("end", [Server.stop, Server.kill], ids=["stopped", "killed"])
def test_ids_grow_over_quick_restarts(start_server: StartServer, queue: Queue, end: Callable[[Server], object]) -> None:
    server = start_server(database=queue.url)
    given: list[int] = []
    for _ in range(4):
        given += store(server)
        work_off(server)
        end(server)
        server.restart()
    assert given == sorted(set(given))
