"""Payloads too large to be copied look the same to everybody as small ones do."""

import pytest

from gearmand_py.server import packets
from gearmand_py.server.packets import LARGE
from tests.core import Core

SIZES = [LARGE - 1, LARGE, 3 * LARGE]


@pytest.fixture
def core() -> Core:
    """A server without jobs."""
    return Core()


def payload(size: int) -> bytes:
    """Bytes with NULs among them, which separate nothing."""
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [packets.SUBMIT_JOB, packets.SUBMIT_JOB_BG], ids=packets.name)
def test_there_and_back(core: Core, kind: int, size: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", payload(size), b"key", kind)
    assert core.grab(worker) == (handle, payload(size))
    assert core.table.data == ([payload(size)] if kind == packets.SUBMIT_JOB_BG else [])
    core.send(worker, packets.WORK_DATA, handle, payload(size))
    core.send(worker, packets.WORK_COMPLETE, handle, payload(size))
    if kind == packets.SUBMIT_JOB:
        reports = (packets.WORK_DATA, packets.WORK_COMPLETE)
        assert core.received(client) == [(report, handle, payload(size)) for report in reports]
    core.check()


@pytest.mark.parametrize("size", SIZES)
def test_a_worker_that_waits_for_a_commit(core: Core, size: int) -> None:
    handle = core.submit(core.connect(), b"f", payload(size))
    worker = core.worker(b"f")
    core.send(worker, packets.SUBMIT_JOB_BG, b"g", b"", b"own")
    core.send(worker, packets.GRAB_JOB)
    core.send(worker, packets.ECHO_REQ, payload(size))
    assert core.received(worker) == []
    core.commit()
    created, *rest = core.received(worker)
    assert created[0] == packets.JOB_CREATED
    assert rest == [(packets.JOB_ASSIGN, handle, b"f", payload(size)), (packets.ECHO_RES, payload(size))]


@pytest.mark.parametrize("size", SIZES)
def test_jobs_with_the_same_payload_are_one(core: Core, size: int) -> None:
    first, second = core.connect(), core.connect()
    handle = core.submit(first, b"f", payload(size), b"-")
    assert core.submit(second, b"f", payload(size), b"-") == handle
    assert core.submit(second, b"f", payload(size)[1:], b"-") != handle
    core.check()


@pytest.mark.parametrize("missing", [b"f", b"f\0unique"])
def test_arguments_are_missing(core: Core, missing: bytes) -> None:
    client = core.connect()
    core.send(client, packets.SUBMIT_JOB, missing.ljust(2 * LARGE, b"x"))
    assert core.received(client) == [(packets.ERROR, b"INVALID_PACKET", b"Packet has fewer than its 3 arguments")]
