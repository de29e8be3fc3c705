"""What clients and workers see of one server over its faults, and which jobs should be in its table."""

import re
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ServerError
from tests.harness.server import Server
from tests.load import jobs_of

FUNCTION: Final = b"stored"
PATIENCE: Final = 60.0  # seconds for what should take a moment, on a machine that may stand still for some
LOOK_SECONDS: Final = 0.02
DOWN: Final = "background jobs cannot be stored"
UP: Final = "background jobs are stored again"


class Story:
    """What clients and workers see of one server, and which jobs should be in its table."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server = server
        self.client = stack.enter_context(server.connect())
        self.worker = stack.enter_context(server.connect())
        self.worker.send(packets.CAN_DO, FUNCTION)
        self.waiting: list[bytes] = []  # acknowledged and not completed

    def store(self, *payloads: bytes) -> None:
        """Submit in one go; each is acknowledged."""
        for payload in payloads:
            self.client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", payload)
        for payload in payloads:
            kind, _ = self.client.receive(PATIENCE)
            assert kind == packets.JOB_CREATED
            self.waiting.append(payload)

    def refusal(self) -> str:
        """Submit a job that cannot be stored; returns the reason."""
        self.client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"refused")
        with pytest.raises(ServerError) as caught:
            self.client.receive(PATIENCE)
        assert caught.value.code == "QUEUE_ERROR"
        return caught.value.text

    def work(self, count: int) -> None:
        """Take and complete the oldest jobs."""
        for _ in range(count):
            handle, payload = take(self.worker)
            self.worker.send(packets.WORK_COMPLETE, handle, b"")
            assert payload == self.waiting.pop(0)
        settle(self.worker)

    def run_foreground_job(self) -> None:
        """From submission to result, on connections of its own."""
        with self.server.connect() as client, self.server.connect() as worker:
            client.send(packets.SUBMIT_JOB, b"foreground", b"", b"data")
            assert client.receive(PATIENCE)[0] == packets.JOB_CREATED
            worker.send(packets.CAN_DO, b"foreground")
            handle, payload = take(worker)
            worker.send(packets.WORK_COMPLETE, handle, payload)
            assert client.receive(PATIENCE) == (packets.WORK_COMPLETE, handle + b"\0data")

    def kill_and_compare(self) -> None:
        """kill -9 and start again: what should wait does, once each, in order, and nothing else."""
        assert self.restart_and_drain() == self.waiting

    def restart_and_drain(self) -> list[bytes]:
        """kill -9 and start again; returns the payloads of all jobs, in the order in which they are handed out."""
        self.server.restart()
        self.server.jobs_found()  # it knows them all
        with self.server.connect() as worker:
            worker.send(packets.CAN_DO, FUNCTION)
            return drain(worker)

    def expect_log(self, *told: str) -> None:
        """These changes of state, and no others; what was written last may be read a moment later."""
        until = monotonic() + PATIENCE
        while self.log() != list(told) and monotonic() < until:
            sleep(LOOK_SECONDS)
        assert self.log() == list(told)

    def log(self) -> list[str]:
        """The changes of state that the server has told of."""
        return re.findall(f"{DOWN}|{UP}", self.server.stderr)


def take(worker: Client) -> tuple[bytes, bytes]:
    """Grab a job that must be there; returns its handle and payload."""
    worker.send(packets.GRAB_JOB)
    packet = worker.receive(PATIENCE)
    assert packet[0] == packets.JOB_ASSIGN
    handle, _, payload = worker.split(packet, 3)
    return handle, payload


def drain(worker: Client) -> list[bytes]:
    """The payloads of all jobs that wait, in the order in which they are handed out."""
    payloads: list[bytes] = []
    until = monotonic() + PATIENCE
    while jobs_of(worker, FUNCTION):  # a row that is slow to be read is told as no job
        assert monotonic() < until, f"still jobs after {payloads}"
        payloads += drain_some(worker)
    return payloads


def drain_some(worker: Client) -> list[bytes]:
    """The same until there is said to be none."""
    payloads = []
    worker.send(packets.GRAB_JOB)
    while (packet := worker.receive(PATIENCE))[0] == packets.JOB_ASSIGN:
        handle, _, payload = worker.split(packet, 3)
        payloads.append(payload)
        worker.send(packets.WORK_COMPLETE, handle, b"")
        worker.send(packets.GRAB_JOB)
    assert packet[0] == packets.NO_JOB
    return payloads


def settle(connection: Client) -> None:
    """Wait until the server has handled all that was sent."""
    connection.ask(packets.ECHO_REQ, b"settled?", answer=packets.ECHO_RES)
