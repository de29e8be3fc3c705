"""PHP's gearman extension (libgearman in PHP), as client and as worker."""

import json
import random
from typing import Any

from tests.acceptance.clients import Clients

# libgearman refuses to submit an empty payload.
PAYLOADS = ("Grüße, 世界 🌍".encode(), bytes(range(256)), b"\0", random.Random(1).randbytes(8 << 20))


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


def test_foreground(clients: Clients) -> None:
    clients.php_worker("upper")
    for method in ("doNormal", "doHigh", "doLow"):
        assert clients.php("submit.php", method, "upper", "key", stdin=b"hello").result() == b"HELLO"


def test_background_in_order_of_priority(clients: Clients) -> None:
    for method in ("doLowBackground", "doBackground", "doHighBackground"):
        handle = clients.php("submit.php", method, "later", stdin=method.encode()).result().decode()
        assert status(clients, handle) == [True, False, 0, 0]
    printed = clients.gearman("-w", "-c", "3", "-f", "later").result()
    assert printed == b"doHighBackgrounddoBackgrounddoLowBackground"


def test_payloads_arrive_as_they_were_sent(clients: Clients) -> None:
    clients.php_worker("same")
    for payload in PAYLOADS:
        assert clients.php("submit.php", "doNormal", "same", stdin=payload).result() == payload


def test_payloads_survive_a_restart(clients: Clients) -> None:
    for payload in PAYLOADS:
        clients.php("submit.php", "doBackground", "later", stdin=payload).result()
    clients.server.restart()
    for payload in PAYLOADS:
        assert clients.gearman("-w", "-c", "1", "-f", "later").result() == payload


def test_the_result_is_all_data_together(clients: Clients) -> None:
    clients.php_worker("report")
    assert clients.php("submit.php", "doNormal", "report", stdin=b"it").result() == b"a partall of it"


def test_failure(clients: Clients) -> None:
    clients.php_worker("refuse", "upper")
    assert clients.php("submit.php", "doNormal", "refuse", stdin=b"it").wait() == 1
    assert clients.php("submit.php", "doNormal", "upper", stdin=b"it").result() == b"IT"


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


def test_background_tasks_end_with_their_handle(clients: Clients) -> None:
    methods = ("addTaskLowBackground", "addTaskBackground", "addTaskHighBackground")
    happened = events(clients.php("tasks.php", *(f"{method}:later:{method}" for method in methods)).result())
    assert [event for event, _, _ in happened] == ["created"] * 3
    for _, _, handle in happened:
        assert status(clients, handle) == [True, False, 0, 0]
    printed = clients.gearman("-w", "-c", "3", "-f", "later").result()
    assert printed == b"addTaskHighBackgroundaddTaskBackgroundaddTaskLowBackground"


def test_failing_tasks(clients: Clients) -> None:
    clients.php_worker("refuse", "upper")
    happened = events(clients.php("tasks.php", "addTask:refuse:a", "addTask:upper:b").result())
    assert ["fail", "a", None] in happened
    assert ["complete", "b", "B"] in happened


def test_exceptions(clients: Clients) -> None:
    clients.php_worker("blow", "upper")
    happened = events(clients.php("tasks.php", "addTask:blow:it", "addTask:upper:b").result())
    assert ["exception", "it", "it blew up"] in happened
    assert ["complete", "b", "B"] in happened


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
