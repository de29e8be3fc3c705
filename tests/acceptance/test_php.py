"""PHP's gearman extension (libgearman in PHP), as client and as worker."""

import json
import secrets
from typing import Any

import pytest

from tests.acceptance.clients import Clients

PAYLOADS = {
    "unicode": "Grüße, 世界 🌍".encode(),
    "every byte": bytes(range(256)),
    "only NUL": b"\0",
    "nothing": b"",
    "8 MiB": secrets.token_bytes(1 << 20) * 8,
}


def events(printed: bytes) -> list[list[Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def status(clients: Clients, handle: str) -> list[Any]:
    found: list[Any] = json.loads(clients.php("status.php", "handle", handle).result())
    return found


def test_the_pair_of_the_manual(clients: Clients) -> None:
    assert clients.php("reverse_client.php").result() == b""
    clients.php("reverse_worker.php").expect(rb"!dlroW olleH\n")


def test_the_pair_of_the_manual_with_the_worker_first(clients: Clients) -> None:
    worker = clients.php("reverse_worker.php")
    assert clients.php("submit.php", "doNormal", "reverse", stdin=b"Hello World!").result() == b"!dlroW olleH"
    worker.expect(rb"!dlroW olleH\n")
    clients.php("reverse_client.php").result()
    worker.expect(rb"!dlroW olleH\n")


@pytest.mark.parametrize("method", ["doNormal", "doHigh", "doLow"])
def test_foreground(clients: Clients, method: str) -> None:
    clients.php_worker("upper")
    assert clients.php("submit.php", method, "upper", "key", stdin=b"hello").result() == b"HELLO"


def test_background_in_order_of_priority(clients: Clients) -> None:
    for method in ("doLowBackground", "doBackground", "doHighBackground"):
        handle = clients.php("submit.php", method, "later", stdin=method.encode()).result().decode()
        assert status(clients, handle) == [True, False, 0, 0]
    printed = clients.gearman("-w", "-c", "3", "-f", "later").result()
    assert printed == b"doHighBackgrounddoBackgrounddoLowBackground"


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_payloads_arrive_as_they_were_sent(clients: Clients, payload: bytes) -> None:
    clients.php_worker("same")
    assert clients.php("submit.php", "doNormal", "same", stdin=payload).result() == payload


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_payloads_survive_a_restart(clients: Clients, payload: bytes) -> None:
    clients.php("submit.php", "doBackground", "later", stdin=payload).result()
    clients.server.restart()
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == payload


def test_everything_a_worker_sends_arrives_in_order(clients: Clients) -> None:
    clients.php_worker("report")
    assert events(clients.php("do_normal.php", "report", "it").result()) == [
        ["status", [1, 4]],
        ["data", "a part"],
        ["warning", "careful"],
        ["complete", "all of it"],
    ]


def test_failure(clients: Clients) -> None:
    clients.php_worker("refuse")
    assert events(clients.php("do_normal.php", "refuse", "it").result()) == [["fail", None]]


def test_tasks_with_every_callback(clients: Clients) -> None:
    clients.php_worker("report")
    created, *others = events(clients.php("tasks.php", "addTask:report:it").result())
    assert created[:2] == ["created", "it"]
    assert others == [
        ["status", "it", [1, 4]],
        ["data", "it", "a part"],
        ["warning", "it", "careful"],
        ["complete", "it", "all of it"],
    ]


def test_tasks_of_all_priorities_together(clients: Clients) -> None:
    clients.php_worker("upper")
    tasks = ["addTask:upper:normal", "addTaskHigh:upper:high", "addTaskLow:upper:low"]
    happened = events(clients.php("tasks.php", *tasks).result())
    assert sorted(event for event in happened if event[0] == "complete") == [
        ["complete", "high", "HIGH"],
        ["complete", "low", "LOW"],
        ["complete", "normal", "NORMAL"],
    ]
    assert len({handle for event, _, handle in happened if event == "created"}) == 3


@pytest.mark.parametrize("method", ["addTaskBackground", "addTaskHighBackground", "addTaskLowBackground"])
def test_background_tasks_end_with_their_handle(clients: Clients, method: str) -> None:
    [[event, _, handle]] = events(clients.php("tasks.php", f"{method}:later:payload").result())
    assert event == "created"
    assert status(clients, handle) == [True, False, 0, 0]
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b"payload"


def test_failing_tasks(clients: Clients) -> None:
    clients.php_worker("refuse", "upper")
    happened = events(clients.php("tasks.php", "addTask:refuse:a", "addTask:upper:b").result())
    assert ["fail", "a", None] in happened
    assert ["complete", "b", "B"] in happened


def test_exceptions_reach_who_asked_for_them(clients: Clients) -> None:
    clients.php_worker("blow")
    happened = events(clients.php("tasks.php", "addTask:blow:it", environment={"EXCEPTIONS": "1"}).result())
    assert happened[1] == ["exception", "it", "it blew up"]


def test_an_exception_is_a_failure_to_others(clients: Clients) -> None:
    clients.php_worker("blow")
    assert [event for event, _, _ in events(clients.php("tasks.php", "addTask:blow:it").result())] == ["created", "fail"]


def test_job_status_before_while_and_after(clients: Clients) -> None:
    handle = clients.php("submit.php", "doBackground", "gate", stdin=b"x").result().decode()
    assert status(clients, handle) == [True, False, 0, 0]
    worker = clients.php_worker("gate", "upper")
    worker.expect(rb"H:.*\n")
    assert status(clients, handle) == [True, True, 3, 4]
    worker.say("go on")
    # The worker takes another job only after the server has its result.
    clients.php("submit.php", "doNormal", "upper", stdin=b"x").result()
    assert status(clients, handle) == [False, False, 0, 0]


def test_job_status_by_unique_key(clients: Clients) -> None:
    clients.php("submit.php", "doBackground", "later", "key", stdin=b"x").result()
    known, running, *_ = json.loads(clients.php("status.php", "unique", "key").result())
    assert (known, running) == (True, False)
    known, *_ = json.loads(clients.php("status.php", "unique", "another key").result())
    assert not known


def test_ping(clients: Clients) -> None:
    clients.php("ping.php").result()
