"""A restart on a long table: the server serves while the rows are taken up, and all is as if it knew them."""

from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.bounded.backlog import LIMIT, PATIENCE, fill, handle, row_id, take
from tests.conftest import StartServer
from tests.harness.server import Server

ROWS: Final = 300_000
KNOWS: Final = b"all %d stored jobs are taken up"


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """It has just begun to serve, and to take up its rows."""
    server = start_server(*LIMIT)
    assert server.stop() == 0
    fill(server.database, 0, ROWS)
    server.restart()
    assert "more than" in server.stderr, "a test of a start that takes a while"
    return server


def id_of(created: bytes) -> int:
    return int(created.rpartition(b":")[2])


def submit_unique(client: Client, number: int, kind: int = packets.SUBMIT_JOB_BG) -> int:
    """Submit with the key of a row; returns the id."""
    return id_of(client.ask(kind, b"f", b"key %d" % number, b"new", answer=packets.JOB_CREATED, timeout=PATIENCE))


def test_the_first_job_and_the_order(server: Server) -> None:
    with server.connect() as worker, server.connect() as client:
        client.send(packets.SUBMIT_JOB_BG, b"f", b"", b"new")
        worker.send(packets.CAN_DO, b"f")
        for number in range(1000):
            job, payload = take(worker)
            assert payload == b"%d" % number
            worker.send(packets.WORK_COMPLETE, job, b"")
        assert client.receive(PATIENCE)[0] == packets.JOB_CREATED


def test_unique_keys_are_right_from_the_first_submission_on(server: Server) -> None:
    with server.connect() as client:
        for number in (ROWS - 1, 0, ROWS // 2):
            assert submit_unique(client, number) == row_id(number)
            assert submit_unique(client, number, packets.SUBMIT_JOB) == row_id(number)
        new = submit_unique(client, ROWS)
        assert new > row_id(ROWS - 1)
        assert submit_unique(client, ROWS) == new
        server.expect(KNOWS % ROWS)
        for number in (ROWS - 1, 1, ROWS // 2):
            assert submit_unique(client, number) == row_id(number)
        assert submit_unique(client, ROWS) == new
        assert client.text("status") == [b"f\t%d\t0\t0" % (ROWS + 1)]


def test_handles_from_before(server: Server) -> None:
    cancelled = (ROWS - 1, 5, ROWS // 2)
    with server.connect() as client:
        for number in cancelled:
            asked = handle(number)
            known = client.ask(packets.GET_STATUS, asked, answer=packets.STATUS_RES, timeout=PATIENCE)
            assert known == asked + b"\0001\0000\0000\0000"
            assert client.text(f"cancel job {asked.decode()}", PATIENCE) == [b"OK"]
            unknown = client.ask(packets.GET_STATUS, asked, answer=packets.STATUS_RES, timeout=PATIENCE)
            assert unknown == asked + b"\0000\0000\0000\0000"
            assert submit_unique(client, number) > row_id(ROWS - 1)
        server.expect(b"stored jobs are taken up")
        assert client.text("status") == [b"f\t%d\t0\t0" % ROWS]


def test_foreground_jobs_and_functions_without_rows_do_not_wait(server: Server) -> None:
    with server.connect() as client, server.connect() as worker:
        worker.send(packets.CAN_DO, b"other")
        client.send(packets.SUBMIT_JOB, b"other", b"", b"foreground")
        assert client.receive(PATIENCE)[0] == packets.JOB_CREATED
        job, payload = take(worker)
        worker.send(packets.WORK_COMPLETE, job, payload)
        assert client.receive(PATIENCE) == (packets.WORK_COMPLETE, job + b"\0foreground")
        client.send(packets.SUBMIT_JOB_BG, b"other", b"", b"background")
        assert client.receive(PATIENCE)[0] == packets.JOB_CREATED
        assert take(worker)[1] == b"background"


def test_what_was_submitted_meanwhile_comes_after_the_rows(start_server: StartServer) -> None:
    server = start_server(*LIMIT)
    server.stop()
    fill(server.database, 0, ROWS, b"other")
    fill(server.database, ROWS, 3000)
    server.restart()
    with server.connect() as client, server.connect() as worker:
        for number in range(3):
            client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"new %d" % number, answer=packets.JOB_CREATED)
        worker.send(packets.CAN_DO, b"f")
        had = []
        for _ in range(3003):
            job, payload = take(worker)
            had.append(payload)
            worker.send(packets.WORK_COMPLETE, job, b"")

    assert had == [b"%d" % number for number in range(ROWS, ROWS + 3000)] + [b"new 0", b"new 1", b"new 2"]


def test_a_stop_while_rows_are_taken_up(server: Server) -> None:
    assert server.stop() == 0
    server.restart()
    server.expect(KNOWS % ROWS)
    with server.connect() as client:
        assert client.text("status") == [b"f\t%d\t0\t0" % ROWS]
