"""gear, the client and worker library in Python."""

from tests.acceptance.clients import Clients

BINARY = bytes(range(256)).decode("latin-1")


def test_foreground(clients: Clients) -> None:
    clients.gear_worker("same")
    client = clients.gear_client()
    for precedence in ("high", "normal", "low"):
        client.submit("same", BINARY, precedence=precedence)
        assert client.event("complete")["data"] == BINARY


def test_everything_a_worker_sends_arrives_in_order(clients: Clients) -> None:
    clients.gear_worker("report")
    client = clients.gear_client()
    client.submit("report", "it")
    assert client.event("status")["progress"] == [1, 4]
    assert client.event("data")["data"] == "a part"
    assert client.event("warning")["data"] == "careful"
    assert client.event("complete")["data"].endswith("all of it")


def test_failure(clients: Clients) -> None:
    clients.gear_worker("refuse")
    client = clients.gear_client()
    client.submit("refuse")
    client.event("fail")


def test_exceptions_reach_who_asked_for_them(clients: Clients) -> None:
    clients.gear_worker("blow")
    client = clients.gear_client()
    client.request("exceptions")
    assert client.event("option")["taken"]
    client.submit("blow")
    assert client.event("exception")["data"] == "it blew up"


def test_an_exception_is_a_failure_to_others(clients: Clients) -> None:
    clients.gear_worker("blow")
    client = clients.gear_client()
    client.submit("blow")
    client.event("fail")


def test_background_in_order_of_priority(clients: Clients) -> None:
    client = clients.gear_client()
    for precedence in ("low", "normal", "high"):
        client.submit("later", precedence, precedence=precedence, background=True)
    assert clients.gearman("-w", "-c", "3", "-f", "later").result() == b"highnormallow"


def test_clients_share_the_job_of_a_unique_key(clients: Clients) -> None:
    first, second = clients.gear_client(), clients.gear_client()
    handle = first.submit("upper", "first", unique="key")
    assert second.submit("upper", "second", unique="key") == handle
    clients.gear_worker("upper")
    assert (
        first.event("complete") == second.event("complete") == {"event": "complete", "handle": handle, "data": "FIRST"}
    )


def test_status_before_while_and_after(clients: Clients) -> None:
    client = clients.gear_client()
    handle = client.submit("gate")
    assert client.status(handle) == (True, False, [0, 0])
    worker = clients.gear_worker("gate")
    worker.expect(rb"H:.*\n")
    assert client.event("status")["progress"] == [3, 4]
    assert client.status(handle) == (True, True, [3, 4])
    worker.say("go on")
    assert client.event("complete")["data"] == "let through: go on"
    assert client.status(handle) == (False, False, [0, 0])


def test_a_waiting_job_is_cancelled(clients: Clients) -> None:
    client = clients.gear_client()
    handle = client.submit("later", background=True)
    client.request("cancel", handle=handle)
    assert client.event("cancelled")["answer"].strip() == "OK"
    assert client.status(handle) == (False, False, [0, 0])
    assert client.listing("ShowJobsAdminRequest") == ["."]


def test_the_clients_of_a_cancelled_job_are_told(clients: Clients) -> None:
    client, other = clients.gear_client(), clients.gear_client()
    handle = client.submit("later")
    other.request("cancel", handle=handle)
    other.event("cancelled")
    assert client.event("fail")["handle"] == handle


def test_administration_on_a_connection_that_has_jobs(clients: Clients) -> None:
    client = clients.gear_client()
    client.submit("later", background=True)
    assert client.listing("StatusAdminRequest") == ["later\t1\t0\t0", "."]
    assert client.listing("WorkersAdminRequest")[-1] == "."
    assert client.listing("VersionAdminRequest")[0].startswith("OK ")


def test_a_job_whose_worker_dies_goes_to_the_next(clients: Clients) -> None:
    client = clients.gear_client()
    handle = client.submit("gate").encode()
    dying = clients.gear_worker("gate")
    dying.expect(handle)
    client.event("status")
    dying.close()
    heir = clients.gear_worker("gate")
    heir.expect(handle)
    client.event("status")
    heir.say("inherited")
    assert client.event("complete")["data"] == "let through: inherited"


def test_clients_and_workers_reconnect_after_a_crash(clients: Clients) -> None:
    clients.gear_worker("upper")
    client = clients.gear_client()
    client.submit("upper", "before")
    assert client.event("complete")["data"] == "BEFORE"
    waiting = client.submit("nobody")
    clients.server.restart()
    assert client.event("disconnected")["handle"] == waiting
    client.request("reconnect")
    client.event("connected")
    client.submit("upper", "after")
    assert client.event("complete")["data"] == "AFTER"


def test_a_job_without_payload_survives_a_restart(clients: Clients) -> None:
    clients.gear_client().submit("later", background=True)
    clients.server.restart()
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b""
