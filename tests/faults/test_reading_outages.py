"""The database goes away while most jobs are in it only: the others go on, and the rest comes when it is back."""

from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ServerError
from tests.bounded.backlog import take
from tests.faults.conftest import Tell
from tests.faults.outages import Place, unreachable
from tests.faults.story import FUNCTION, PATIENCE, settle

JOBS: Final = 3000
AT_HAND: Final = 16  # of each queue so many stay in memory whatever the limit
CANNOT: Final = "waiting jobs cannot be read"


def test_jobs_in_memory_go_on_and_the_rest_comes_when_the_database_is_back(place: Place, tell_of: Tell) -> None:
    story = tell_of(place, "--memory-limit", "100K", timeout=5)
    story.store(*[b"%d" % number for number in range(JOBS)])
    with story.server.connect() as client:
        last = client.ask(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"last", answer=packets.JOB_CREATED)
        story.waiting.append(b"last")
        with unreachable(place):
            story.work(AT_HAND)
            story.run_foreground_job()
            client.send(packets.GET_STATUS, last)
            client.send(packets.ECHO_REQ, b"still there?")
            with pytest.raises(ServerError, match="cannot be read"):
                client.receive(PATIENCE)
            assert client.receive(PATIENCE) == (packets.ECHO_RES, b"still there?")
            leaves_while_its_packet_waits(story.server.connect(), last)
            story.run_foreground_job()
        while story.waiting:
            work(story.worker, story.waiting)
        assert client.ask(packets.GET_STATUS, last, answer=packets.STATUS_RES) == last + b"\0000" * 4
    place.expect_rows([])
    assert CANNOT in story.server.stderr


def leaves_while_its_packet_waits(client: Client, handle: bytes) -> None:
    with client:
        settle(client)
        client.send(packets.GET_STATUS, handle)


def work(worker: Client, waiting: list[bytes]) -> None:
    """As workers do, which sleep until there is something."""
    handle, payload = take(worker)
    worker.send(packets.WORK_COMPLETE, handle, b"")
    assert payload == waiting.pop(0)
