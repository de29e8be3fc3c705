"""PHP's gearman extension: the pair of its manual, tasks that run together, a look by unique key."""

import json
import random
from typing import Any

from tests.acceptance.clients import Clients

# libgearman refuses to submit an empty payload.
PAYLOADS = ("Grüße, 世界 🌍".encode(), bytes(range(256)), b"\0", random.Random(1).randbytes(100_000))


def events(printed: bytes) -> list[list[Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_the_pair_of_the_manual(clients: Clients) -> None:
    assert clients.php("reverse_client.php").result() == b""
    clients.php("reverse_worker.php").expect(rb"!dlroW olleH\n")


def test_the_pair_of_the_manual_with_the_worker_first(clients: Clients) -> None:
    worker = clients.php("reverse_worker.php")
    assert clients.client("php").result("reverse", "Hello World!") == "!dlroW olleH"
    worker.expect(rb"!dlroW olleH\n")
    clients.php("reverse_client.php").result()
    worker.expect(rb"!dlroW olleH\n")


def test_payloads_survive_a_restart(clients: Clients) -> None:
    client = clients.client("php")
    for payload in PAYLOADS:
        client.submit("later", payload.decode("latin-1"), background=True)
    clients.server.restart()
    for payload in PAYLOADS:
        assert clients.gearman("-w", "-c", "1", "-f", "later").result() == payload


def test_tasks_of_all_priorities_together(clients: Clients) -> None:
    clients.worker("php", "upper")
    tasks = ["addTask:upper:normal", "addTaskHigh:upper:high", "addTaskLow:upper:low"]
    happened = events(clients.php("tasks.php", *tasks).result())
    assert sorted(event for event in happened if event[0] == "complete") == [
        ["complete", "high", "HIGH"],
        ["complete", "low", "LOW"],
        ["complete", "normal", "NORMAL"],
    ]
    assert len({handle for event, _, handle in happened if event == "created"}) == 3


def test_background_tasks_end_with_their_handle(clients: Clients) -> None:
    methods = ("addTaskLowBackground", "addTaskBackground", "addTaskHighBackground")
    happened = events(clients.php("tasks.php", *(f"{method}:later:{method}" for method in methods)).result())
    assert [event for event, _, _ in happened] == ["created"] * 3
    for _, _, handle in happened:
        assert clients.client("php").status(handle) == (True, False, 0)
    printed = clients.gearman("-w", "-c", "3", "-f", "later").result()
    assert printed == b"addTaskHighBackgroundaddTaskBackgroundaddTaskLowBackground"


def test_tasks_that_fail_beside_others(clients: Clients) -> None:
    clients.worker("php", "refuse", "blow", "upper")
    tasks = ["addTask:refuse:a", "addTask:blow:b", "addTask:upper:c"]
    happened = events(clients.php("tasks.php", *tasks).result())
    assert [event for event in sorted(happened) if event[0] != "created"] == [
        ["complete", "c", "C"],
        ["exception", "b", "it blew up"],
        ["fail", "a", None],
    ]


def test_job_status_by_unique_key(clients: Clients) -> None:
    clients.client("php").submit("later", unique="key", background=True)
    known, running, *_ = json.loads(clients.php("status.php", "key").result())
    assert (known, running) == (True, False)
    known, *_ = json.loads(clients.php("status.php", "another key").result())
    assert not known


def test_ping(clients: Clients) -> None:
    clients.php("ping.php").result()
