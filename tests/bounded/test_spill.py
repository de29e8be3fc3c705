"""More jobs than the memory limit has room for: none lost, none doubled, each queue in order, on every database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from tests.bounded.backlog import (
    FUNCTIONS,
    LIMIT,
    PATIENCE,
    Job,
    ask_all,
    expect_nothing_left,
    expect_order,
    job_of,
    jobs,
    submit,
    work,
)
from tests.conftest import StartServer
from tests.databases.queues import Queue, new_queue
from tests.databases.selection import SELECTED

BEFORE: Final = 8_000  # twice what has room
AFTER: Final = 3_000


@pytest.fixture(params=SELECTED)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty queue on each of the databases."""
    with new_queue(request.param, tmp_path) as queue:
        yield queue


def test_order_over_spill_kill_and_restart(start_server: StartServer, queue: Queue) -> None:
    server = start_server(*LIMIT, database=queue.url)
    had: list[Job] = []
    with server.connect() as client:
        submit(client, jobs(1, BEFORE))
        had += [job_of(payload) for payload in work(server, *FUNCTIONS, most=1000)]
        submit(client, [Job((b"fence", 1, 0))])  # what was completed before this is out of the table
    server.restart()
    with server.connect() as client:
        submit(client, jobs(BEFORE + 1, BEFORE + AFTER))
    had += [job_of(payload) for payload in work(server, *FUNCTIONS, most=BEFORE + AFTER - 1000)]

    expect_nothing_left(server, *FUNCTIONS)
    assert sorted(number for _, _, number in had) == list(range(1, BEFORE + AFTER + 1))
    expect_order(had)


def test_status_and_cancel_of_jobs_that_are_in_the_table_only(start_server: StartServer, queue: Queue) -> None:
    server = start_server(*LIMIT, database=queue.url)
    with server.connect() as client:
        handles = submit(client, jobs(1, BEFORE))
        requests = [packets.request(packets.GET_STATUS, handle) for handle in handles[::500]]
        for (_, body), handle in zip(ask_all(client, requests, packets.STATUS_RES), handles[::500], strict=True):
            assert body.split(b"\0") == [handle, b"1", b"0", b"0", b"0"]
        cancelled = handles[-3000::1000]
        for handle in cancelled:
            assert client.text(f"cancel job {handle.decode()}") == [b"OK"]
            assert client.ask(packets.GET_STATUS, handle, answer=packets.STATUS_RES) == handle + b"\0000" * 4
    had = {job_of(payload)[2] for payload in work(server, *FUNCTIONS, most=BEFORE - len(cancelled))}

    expect_nothing_left(server, *FUNCTIONS)
    gone = {handles.index(handle) + 1 for handle in cancelled}
    assert had == set(range(1, BEFORE + 1)) - gone


def test_a_thousand_packets_of_which_some_need_rows_are_answered_in_order(start_server: StartServer) -> None:
    server = start_server("--memory-limit", "100K")
    with server.connect() as client:
        handles = submit(client, jobs(1, 2000))
        requests, expected = [], []
        for number in range(250):
            handle = handles[number * 7]
            text = b"%d" % number
            requests += [
                packets.request(packets.GET_STATUS, handle),
                packets.request(packets.ECHO_REQ, text),
                packets.request(packets.SUBMIT_JOB_BG, b"new", text, text),
                packets.request(packets.GET_STATUS_UNIQUE, text),
            ]
            expected += [
                (packets.STATUS_RES, handle + b"\0001\0000\0000\0000"),
                (packets.ECHO_RES, text),
                (packets.JOB_CREATED, None),
                (packets.STATUS_RES_UNIQUE, text + b"\0001\0000\0000\0000\0000"),
            ]
        answers = ask_all(client, requests)

    assert [kind for kind, _ in answers] == [kind for kind, _ in expected]
    assert all(body in (came, None) for (_, came), (_, body) in zip(answers, expected, strict=True))
    created = [body for kind, body in answers if kind == packets.JOB_CREATED]
    assert len(set(created)) == 250
    assert created == sorted(created)


def test_unique_keys_of_jobs_that_are_in_the_table_only(start_server: StartServer, queue: Queue) -> None:
    server = start_server("--memory-limit", "100K", database=queue.url)
    count = 2000
    requests = [packets.request(packets.SUBMIT_JOB_BG, b"f", b"key %d" % n, b"%d" % n) for n in range(count)]
    with server.connect() as client:
        created = ask_all(client, requests, packets.JOB_CREATED)
        assert len(set(created)) == count
        assert ask_all(client, requests[::10], packets.JOB_CREATED) == created[::10]
        waits = client.ask(packets.SUBMIT_JOB, b"f", b"key 1999", b"", answer=packets.JOB_CREATED)
        assert waits == created[1999][1]
        assert list(work(server, b"f", most=count)) == [b"%d" % n for n in range(count)]
        assert client.receive(PATIENCE) == (packets.WORK_COMPLETE, waits + b"\0")
    expect_nothing_left(server, b"f")
