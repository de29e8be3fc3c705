"""Jobs of up to 64 MiB: the same bytes arrive, and the server holds each payload and each result about once."""

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.harness.server import Server

MIB: Final = 1024 * 1024
LARGEST: Final = 64 * MIB - 1024  # with function and handle it is within --max-packet-size
SLOW_WORKERS: Final = 10
SLOW_PAYLOAD: Final = 8 * MIB


class Memory:
    """What a process holds, in bytes above what it held at first. Linux tells its peak, and forgets it when asked."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        (self._process / "clear_refs").write_text("5")
        self._at_first = self._read("VmRSS")

    def _read(self, what: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))

    @property
    def now(self) -> int:
        return self._read("VmRSS") - self._at_first

    @property
    def peak(self) -> int:
        return self._read("VmHWM") - self._at_first


def run_a_job(client: Client, worker: Client, submit: int, data: bytes, result: bytes) -> None:
    """From its submission to its result, in the worker's own time."""
    handle = client.ask(submit, b"f", b"", data, answer=packets.JOB_CREATED, timeout=None)
    assigned = worker.ask(packets.GRAB_JOB_UNIQ, answer=packets.JOB_ASSIGN_UNIQ, timeout=None)
    assert assigned == b"\0".join((handle, b"f", b"", data))
    worker.send(packets.WORK_COMPLETE, handle, result)
    if submit == packets.SUBMIT_JOB:
        assert client.receive() == (packets.WORK_COMPLETE, handle + b"\0" + result)
    worker.ask(packets.ECHO_REQ, b"done", answer=packets.ECHO_RES, timeout=None)


@pytest.mark.parametrize("submit", [packets.SUBMIT_JOB, packets.SUBMIT_JOB_BG], ids=packets.name)
def test_one_after_the_other(server: Server, submit: int) -> None:
    data, result = random.Random(1).randbytes(LARGEST), random.Random(2).randbytes(LARGEST)
    with server.connect() as client, server.connect() as worker:
        worker.send(packets.CAN_DO, b"f")
        memory = Memory(server.pid)
        run_a_job(client, worker, submit, data, result)
        first = memory.peak
        assert first < 3.25 * LARGEST
        for _ in range(3):
            run_a_job(client, worker, submit, data, result)
        # The thread of SQLite keeps the last row until the next one.
        kept = 0 if submit == packets.SUBMIT_JOB else LARGEST
        assert memory.peak < 3.25 * LARGEST
        assert memory.now < kept + 16 * MIB


def test_workers_that_do_not_read_cost_their_jobs_once(server: Server) -> None:
    data = random.Random(3).randbytes(SLOW_PAYLOAD)
    with ExitStack() as stack:
        client = stack.enter_context(server.connect())
        address = client.peer[:2]
        workers = [stack.enter_context(socket.create_connection(address)) for _ in range(SLOW_WORKERS)]
        memory = Memory(server.pid)
        for worker in workers:
            client.ask(packets.SUBMIT_JOB, b"f", b"", data, answer=packets.JOB_CREATED, timeout=None)
            worker.sendall(packets.request(packets.CAN_DO, b"f") + packets.request(packets.GRAB_JOB))
            assert worker.recv(1, socket.MSG_PEEK), "no job"
        assert client.text("status") == [b"f\t%d\t%d\t%d" % (SLOW_WORKERS, SLOW_WORKERS, SLOW_WORKERS)]
        assert memory.now < 1.25 * SLOW_WORKERS * SLOW_PAYLOAD
