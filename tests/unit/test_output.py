"""Answers that wait for a batch: results come whether the client is read or not, and take memory that has an end."""

import pytest

from gearmand_py.server import packets
from gearmand_py.server.buffers import Backlogs
from gearmand_py.server.front import Link as FrontLink
from gearmand_py.server.limits import Limits
from tests.unit.journal_bench import Bench, Link, moment, on_a_bench

KIB = 1024
MOST = 64 * KIB


def results_behind_a_batch(bench: Bench, size: int, count: int) -> tuple[Link, Link]:
    """A client whose foreground jobs are done while its background job waits for the storage, and their worker."""
    client, worker = bench.connect(), bench.connect()
    bench.storage.gate.clear()
    client.submit(b"first", function=b"other")
    client.send(packets.request(packets.SUBMIT_JOB, b"f", b"", b"") * count)
    for _ in range(count):
        worker.complete(worker.take(), bytes(size))
    return client, worker


@on_a_bench
async def test_results_behind_a_batch_have_a_bound(bench: Bench) -> None:
    bench.front.limits = Limits(output=MOST)
    client, worker = results_behind_a_batch(bench, KIB, MOST // KIB + 10)
    await moment()
    assert client.is_closing()
    assert client.client.peer not in bench.broker.peers
    worker.send(packets.request(packets.ECHO_REQ, b"still here"))
    assert worker.kinds[-1] == "ECHO_RES"
    bench.storage.gate.set()


@on_a_bench
async def test_one_large_result_is_not_too_much(bench: Bench) -> None:
    bench.front.limits = Limits(output=MOST)
    client, _ = results_behind_a_batch(bench, 10 * MOST, 1)
    bench.storage.gate.set()
    await moment()
    assert client.kinds == ["JOB_CREATED", "JOB_CREATED", "WORK_COMPLETE"]


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_has_left_does_not_count(rounds: int) -> None:
    @on_a_bench
    async def run(bench: Bench) -> None:
        bench.front.limits = Limits(output=MOST)
        for _ in range(rounds):
            client, worker = results_behind_a_batch(bench, KIB, MOST // KIB - 10)
            bench.storage.gate.set()
            await moment()
            assert client.kinds.count("WORK_COMPLETE") == MOST // KIB - 10
            assert bench.front.unread.used == 0
            for each in (client, worker):
                each.leave()

    run()


@on_a_bench
async def test_those_of_all_connections_have_one_too(bench: Bench) -> None:
    unread: Backlogs[FrontLink] = Backlogs(MOST, lambda link: link.unread)
    bench.front.unread = unread
    small, _ = results_behind_a_batch(bench, KIB, 10)
    large, _ = results_behind_a_batch(bench, KIB, MOST // KIB)
    await moment()
    assert large.is_closing()
    assert not small.is_closing()
    bench.storage.gate.set()
    await moment()
    assert small.kinds.count("WORK_COMPLETE") == 10
