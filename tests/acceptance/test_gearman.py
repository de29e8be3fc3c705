"""libgearman's command line tool: what only its options do."""

import pytest

from tests.acceptance.clients import Clients, until
from tests.harness.process import Process


def upper_worker(clients: Clients, *arguments: str) -> Process:
    return clients.gearman("-w", "-f", "upper", *arguments, "--", "tr", "a-z", "A-Z")


def test_a_payload_is_an_argument_or_the_input(clients: Clients) -> None:
    upper_worker(clients)
    assert clients.gearman("-f", "upper", "hello").result() == b"HELLO"
    assert clients.gearman("-f", "upper", stdin=b"from\0stdin\n").result() == b"FROM\0STDIN\n"


def test_a_job_without_payload(clients: Clients) -> None:
    clients.gearman("-w", "-f", "size", "--", "wc", "-c")
    assert clients.gearman("-s", "-f", "size").result() == b"0\n"


def test_one_client_calls_several_functions(clients: Clients) -> None:
    upper_worker(clients)
    clients.gearman("-w", "-f", "size", "-f", "bytes", "--", "wc", "-c")
    printed = clients.gearman("-P", "-f", "upper", "-f", "size", "-f", "bytes", "hello").result()
    assert sorted(printed.replace(b"HELLO", b"HELLO\n").splitlines()) == [b"bytes: 5", b"size: 5", b"upper: HELLO"]


@pytest.mark.parametrize(("option", "result"), [("-n", b"ONE\nTWO\n"), ("-N", b"ONETWO")])
def test_a_job_for_each_line(clients: Clients, option: str, result: bytes) -> None:
    worker = upper_worker(clients, "-c", "2")
    assert clients.gearman(option, "-f", "upper", stdin=b"one\ntwo\n").result() == result
    worker.result()


def test_a_worker_sends_data_for_each_line(clients: Clients) -> None:
    clients.gearman("-w", "-n", "-f", "lines", "--", "printf", r"one\ntwo\n")
    # The tool sends all lines so far each time, not only the new one.
    assert clients.gearman("-f", "lines", "-s").result() == b"one\n" + b"one\ntwo\n"


def test_a_client_that_gives_up_takes_its_job_along(clients: Clients) -> None:
    client = clients.gearman("-t", "300", "-f", "nobody", "hello")
    client.wait()
    assert "GEARMAN_TIMEOUT" in client.stderr
    until(lambda: "nobody\t1" in clients.gearadmin("--status"), False)
