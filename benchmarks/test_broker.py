"""The broker with its dispatch, from packets to answers, without sockets and without a database."""

from typing import Final

import pytest

from benchmarks.conftest import Measure
from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from gearmand_py.server.peers import Peer
from tests.core import Core

JOBS: Final = 200
DATA: Final = b"x" * 100
UNIQUE: Final = pytest.mark.parametrize("unique", [True, False], ids=["unique keys", "no unique keys"])
FUNCTIONS: Final = pytest.mark.parametrize("functions", [1, 20_000], ids=["1 function", "20,000 functions"])


def functions_of(count: int) -> list[bytes]:
    return [b"function %d" % number for number in range(count)]


def submissions(functions: int, *, unique: bool) -> bytes:
    """As many packets as there are JOBS."""
    names = functions_of(functions)
    step = max(functions // JOBS, 1)
    return b"".join(
        packets.request(
            packets.SUBMIT_JOB_BG,
            names[number * step % functions],
            b"unique key %020d" % number if unique else b"",
            DATA,
        )
        for number in range(JOBS)
    )


def submit(core: Core, client: Peer, data: bytes) -> None:
    """The jobs, and their commit."""
    core.feed(client, data)
    core.broker.committed(core.broker.take_batch())


def filled(functions: int, *, unique: bool) -> tuple[Core, Peer]:
    """With the jobs waiting, and a worker that can do them all."""
    core = Core()
    worker = core.connect()
    core.feed(worker, b"".join(packets.request(packets.CAN_DO, name) for name in functions_of(functions)))
    submit(core, core.connect(), submissions(functions, unique=unique))
    return core, worker


@UNIQUE
@FUNCTIONS
def test_submit_and_commit(measure: Measure, functions: int, unique: bool) -> None:
    data = submissions(functions, unique=unique)

    def prepare() -> tuple[Core, Peer, bytes]:
        core = Core()
        return core, core.connect(), data

    measure(JOBS, prepare, submit)


@FUNCTIONS
def test_grab(measure: Measure, functions: int) -> None:
    grabs = packets.request(packets.GRAB_JOB) * JOBS

    def grab(core: Core, worker: Peer) -> None:
        core.feed(worker, grabs)
        assert len(worker.running) == JOBS

    measure(JOBS, lambda: filled(functions, unique=True), grab)


@UNIQUE
@FUNCTIONS
def test_finish(measure: Measure, functions: int, unique: bool) -> None:
    def prepare() -> tuple[Core, Peer, bytes]:
        core, worker = filled(functions, unique=unique)
        core.feed(worker, packets.request(packets.GRAB_JOB) * JOBS)
        assigned = Connection(packets.RESPONSE).feed(core.raw(worker))
        handles = [body.split(b"\0", 1)[0] for kind, body in assigned if kind == packets.JOB_ASSIGN]
        return core, worker, b"".join(packets.request(packets.WORK_COMPLETE, handle, b"") for handle in handles)

    def finish(core: Core, worker: Peer, reports: bytes) -> None:
        core.feed(worker, reports)
        core.broker.committed(core.broker.take_batch())

    measure(JOBS, prepare, finish)
