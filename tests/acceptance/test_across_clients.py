"""What one client submits another runs, before and after the server is killed."""

import json
from collections.abc import Callable

import pytest

from tests.acceptance.clients import Clients

PAYLOAD = "héllo wörld ".encode() + bytes(range(256))
UPPER = PAYLOAD.upper()  # ASCII letters only, as in tr and PHP


def run_by_gearman(clients: Clients, function: str, payload: bytes) -> bytes:
    return clients.gearman("-f", function, stdin=payload).result()


def run_by_php(clients: Clients, function: str, payload: bytes) -> bytes:
    return clients.php("submit.php", "doNormal", function, stdin=payload).result()


def run_by_gear(clients: Clients, function: str, payload: bytes) -> bytes:
    client = clients.gear_client()
    client.submit(function, payload.decode("latin-1"))
    data: str = client.event("complete")["data"]
    return data.encode("latin-1")


def submit_by_gearman(clients: Clients, function: str, payload: bytes) -> str:
    printed = clients.gearman("-v", "-b", "-f", function, stdin=payload).result().decode()
    return printed.removeprefix("Task created: ").strip()


def submit_by_php(clients: Clients, function: str, payload: bytes) -> str:
    return clients.php("submit.php", "doBackground", function, stdin=payload).result().decode()


def submit_by_gear(clients: Clients, function: str, payload: bytes) -> str:
    return clients.gear_client().submit(function, payload.decode("latin-1"), background=True)


def work_by_gearman(clients: Clients) -> None:
    clients.gearman("-w", "-f", "upper", "--", "tr", "a-z", "A-Z")


def work_by_php(clients: Clients) -> None:
    clients.php_worker("upper")


def work_by_gear(clients: Clients) -> None:
    clients.gear_worker("upper")


def status_by_gear(clients: Clients, handle: str) -> tuple[bool, bool]:
    known, running, _ = clients.gear_client().status(handle)
    return known, running


def status_by_php(clients: Clients, handle: str) -> tuple[bool, bool]:
    known, running, *_ = json.loads(clients.php("status.php", "handle", handle).result())
    return known, running


RUN = (run_by_gearman, run_by_php, run_by_gear)
SUBMIT = {"gearman": submit_by_gearman, "php": submit_by_php, "gear": submit_by_gear}
WORK = {"gearman": work_by_gearman, "php": work_by_php, "gear": work_by_gear}
STATUS = (status_by_php, status_by_gear)


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_every_client_reaches_every_worker(clients: Clients, work: Callable[[Clients], None]) -> None:
    work(clients)
    for run in RUN:
        assert run(clients, "upper", PAYLOAD) == UPPER


@pytest.mark.parametrize("submit", SUBMIT.values(), ids=SUBMIT)
def test_a_job_lives_on_after_a_kill_right_behind_its_handle(
    clients: Clients, submit: Callable[[Clients, str, bytes], str]
) -> None:
    handle = submit(clients, "later", PAYLOAD)
    clients.server.kill()
    clients.server.restart()
    assert [status(clients, handle) for status in STATUS] == [(True, False)] * 2
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == PAYLOAD
    assert [status(clients, handle) for status in STATUS] == [(False, False)] * 2


def test_a_finished_job_does_not_come_back(clients: Clients) -> None:
    finished = submit_by_php(clients, "later", b"finished")
    waiting = submit_by_php(clients, "later", b"waiting")
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b"finished"
    assert clients.server.stop() == 0
    clients.server.restart()
    assert status_by_php(clients, finished) == (False, False)
    assert status_by_php(clients, waiting) == (True, False)
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b"waiting"


def test_a_running_job_is_handed_out_again_after_a_kill(clients: Clients) -> None:
    handle = submit_by_gearman(clients, "gate", b"x").encode()
    clients.php_worker("gate").expect(handle)
    clients.server.restart()
    clients.gear_worker("gate").expect(handle)
