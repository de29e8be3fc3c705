"""Somebody leaves many jobs behind: others are served meanwhile, and in the end none is lost and none is left."""

import asyncio

from gearmand_py.server import packets
from gearmand_py.server.front import DEPARTING
from tests.unit.journal_bench import Bench, Link, moment, on_a_bench

MANY = 5 * DEPARTING


async def sent(bench: Bench, link: Link, *requests: bytes) -> None:
    """Until all are handled, some each turn of the loop."""
    link.send(*requests)
    while bench.front.turns.busy:
        await asyncio.sleep(0)


@on_a_bench
async def test_foreground_jobs_of_a_client_that_leaves(bench: Bench) -> None:
    client, other = bench.connect(), bench.connect()
    await sent(bench, client, *[packets.request(packets.SUBMIT_JOB, b"f", b"", b"")] * MANY)
    client.leave()
    assert bench.broker.jobs, "all of it in one turn of the loop"
    other.send(packets.request(packets.ECHO_REQ, b"still here"))
    assert other.kinds == ["ECHO_RES"]
    await moment()
    assert not bench.broker.jobs
    assert bench.broker.functions[b"f"].total == 0


@on_a_bench
async def test_jobs_of_a_worker_that_leaves(bench: Bench) -> None:
    worker, other = bench.connect(), bench.connect()
    await bench.store(*[b"%d" % each for each in range(MANY)])
    await sent(bench, worker, packets.request(packets.CAN_DO, b"f"), *[packets.request(packets.GRAB_JOB)] * MANY)
    worker.leave()
    assert bench.broker.functions[b"f"].running
    other.send(packets.request(packets.ECHO_REQ, b"still here"))
    assert other.kinds == ["ECHO_RES"]
    await moment()
    assert bench.broker.functions[b"f"].running == 0
    assert bench.broker.functions[b"f"].total == MANY
    await sent(bench, other, packets.request(packets.CAN_DO, b"f"), *[packets.request(packets.GRAB_JOB)] * MANY)
    assert [body.rpartition(b"\0")[2] for kind, body in other.answers[1:]] == [b"%d" % each for each in range(MANY)]
