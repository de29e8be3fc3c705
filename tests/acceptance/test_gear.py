"""What only gear can show: administration on a connection that has jobs; and jobs that outlive their workers."""

from tests.acceptance.clients import Clients


def test_a_waiting_job_is_cancelled(clients: Clients) -> None:
    client = clients.client("gear")
    handle = client.submit("later", background=True)
    client.request("cancel", handle=handle)
    assert client.event("cancelled")["answer"].strip() == "OK"
    assert client.status(handle) == (False, False, 0)
    assert client.listing("ShowJobsAdminRequest") == ["."]


def test_the_clients_of_a_cancelled_job_are_told(clients: Clients) -> None:
    client, other = clients.client("gear"), clients.client("gear")
    handle = client.submit("later")
    other.request("cancel", handle=handle)
    other.event("cancelled")
    assert client.event("fail")["handle"] == handle


def test_administration_on_a_connection_that_has_jobs(clients: Clients) -> None:
    client = clients.client("gear")
    client.submit("later", background=True)
    assert client.listing("StatusAdminRequest") == ["later\t1\t0\t0", "."]
    assert client.listing("WorkersAdminRequest")[-1] == "."
    assert client.listing("VersionAdminRequest")[0].startswith("OK ")


def test_a_job_whose_worker_dies_goes_to_the_next(clients: Clients) -> None:
    client = clients.client("gear")
    handle = client.submit("gate").encode()
    dying = clients.worker("gear", "gate")
    dying.expect(handle)
    client.event("status")
    dying.close()
    heir = clients.worker("gear", "gate")
    heir.expect(handle)
    client.event("status")
    heir.say("inherited")
    assert client.event("complete")["data"] == "let through: inherited"


def test_a_job_without_payload_survives_a_restart(clients: Clients) -> None:
    clients.client("gear").submit("later", "", background=True)
    clients.server.restart()
    assert clients.gearman("-w", "-c", "1", "-f", "later").result() == b""
