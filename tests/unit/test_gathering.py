"""Results gather while the loop is busy: fewer writes, a delay of a few turns at most, the same packets in order."""

import asyncio

from gearmand_py.server import packets
from gearmand_py.server.front import BUSY_TURN, MOST_TURNS
from tests.unit.journal_bench import Bench, Link, on_a_bench

BUSY = BUSY_TURN + 2  # reads in a turn
RESULTS = ["WORK_COMPLETE"]


def submitted(bench: Bench, jobs: int) -> Link:
    """A client that waits for so many jobs."""
    client = bench.connect()
    client.send(*[packets.request(packets.SUBMIT_JOB, b"f", b"", b"%d" % number) for number in range(jobs)])
    assert client.kinds == ["JOB_CREATED"] * jobs
    client.answers.clear()
    client.writes = 0
    return client


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


@on_a_bench
async def test_a_lone_result_leaves_with_its_turn(bench: Bench) -> None:
    client, worker = submitted(bench, 1), bench.connect()
    worker.work_off(1)
    await turn()
    assert client.kinds == RESULTS


@on_a_bench
async def test_many_results_are_one_write(bench: Bench) -> None:
    client, workers = submitted(bench, BUSY), [bench.connect() for _ in range(BUSY)]
    for worker in workers:
        worker.work_off(1)
    for _ in range(MOST_TURNS):
        await turn()
    assert client.kinds == RESULTS * BUSY
    assert client.writes == 1


@on_a_bench
async def test_no_busy_time_holds_a_result_for_long(bench: Bench) -> None:
    client, worker, others = submitted(bench, 1), bench.connect(), bench.connect()
    worker.work_off(1)
    turns = 0
    while not client.answers:
        for _ in range(BUSY):
            others.send(packets.request(packets.ECHO_REQ, b"busy"))
        await turn()
        turns += 1
    assert 1 < turns <= MOST_TURNS


@on_a_bench
async def test_what_a_client_is_answered_comes_after_its_results(bench: Bench) -> None:
    client, worker = submitted(bench, 1), bench.connect()
    worker.work_off(1)
    client.send(packets.request(packets.ECHO_REQ, b"now"))
    assert client.kinds == [*RESULTS, "ECHO_RES"]


@on_a_bench
async def test_a_sleeping_worker_is_woken_at_once(bench: Bench) -> None:
    worker = bench.connect()
    worker.send(packets.request(packets.CAN_DO, b"f"), packets.request(packets.PRE_SLEEP))
    submitted(bench, 1)
    assert worker.kinds == ["NOOP"]


@on_a_bench
async def test_a_client_may_go_before_its_result(bench: Bench) -> None:
    client, other, workers = submitted(bench, 1), submitted(bench, 1), [bench.connect(), bench.connect()]
    for worker in workers:
        worker.work_off(1)
    client.leave()
    await turn()
    assert client.kinds == []
    assert other.kinds == RESULTS


@on_a_bench
async def test_results_are_sent_before_a_goodbye(bench: Bench) -> None:
    client, worker = submitted(bench, 1), bench.connect()
    worker.work_off(1)
    bench.front.flush()
    assert client.kinds == RESULTS
    await turn()
    assert client.writes == 1
