"""A backlog: made by clients or put into the table, worked off, and held against the promises."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from gearmand_py.server.codec import Packet
from gearmand_py.storage.base import ID_TIME_SHIFT
from tests.harness.server import Server

PATIENCE: Final = 120.0
LIMIT: Final = ("--memory-limit", "2M")
SUBMITS: Final = (packets.SUBMIT_JOB_HIGH_BG, packets.SUBMIT_JOB_BG, packets.SUBMIT_JOB_LOW_BG)
FUNCTIONS: Final = (b"f", b"g")
PADDING: Final = b"." * 100
AT_ONCE: Final = 500  # requests in one write
FIRST: Final = 50_000_000_000  # milliseconds since 2024: in 2025


class Job(tuple[bytes, int, int]):
    """Function, priority and number of a job, which its payload tells."""

    __slots__ = ()

    @property
    def payload(self) -> bytes:
        return b"%b %d %d %b" % (*self, PADDING)


def job_of(payload: bytes) -> Job:
    function, priority, number, _ = payload.split(b" ")
    return Job((function, int(priority), int(number)))


def jobs(first: int, last: int) -> list[Job]:
    """Functions and priorities take turns."""
    return [Job((FUNCTIONS[number % 2], number // 2 % 3, number)) for number in range(first, last + 1)]


def submit(client: Client, wanted: Sequence[Job]) -> list[bytes]:
    """Each is acknowledged; returns the handles."""
    handles = []
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        requests = [packets.request(SUBMITS[job[1]], job[0], b"", job.payload) for job in some]
        handles += [body for _, body in ask_all(client, requests, packets.JOB_CREATED)]
    return handles


def ask_all(client: Client, requests: Sequence[bytes], answer: int | None = None) -> list[Packet]:
    """The answers to requests that are sent in one go."""
    client._write(b"".join(requests))
    answers = [client.receive(PATIENCE) for _ in requests]
    assert answer is None or {kind for kind, _ in answers} == {answer}
    return answers


def work(server: Server, *functions: bytes, most: int) -> Iterator[bytes]:
    """Payloads in the order in which they are handed out: a worker that sleeps while there is nothing for it."""
    with server.connect() as worker:
        for function in functions:
            worker.send(packets.CAN_DO, function)
        for _ in range(most):
            handle, payload = take(worker)
            yield payload
            worker.send(packets.WORK_COMPLETE, handle, b"")
        worker.ask(packets.ECHO_REQ, b"settled?", answer=packets.ECHO_RES)


def take(worker: Client) -> tuple[bytes, bytes]:
    """The next job, waited for as workers do."""
    worker.send(packets.GRAB_JOB)
    while (packet := worker.receive(PATIENCE))[0] != packets.JOB_ASSIGN:
        if packet[0] == packets.NO_JOB:
            worker.send(packets.PRE_SLEEP)
        else:
            assert packet[0] == packets.NOOP
            worker.send(packets.GRAB_JOB)
    handle, _, payload = worker.split(packet, 3)
    return handle, payload


def expect_nothing_left(server: Server, *functions: bytes) -> None:
    """A worker that can do all gets nothing."""
    with server.connect() as worker:
        for function in functions:
            worker.send(packets.CAN_DO, function)
        worker.send(packets.GRAB_JOB)
        assert worker.receive(PATIENCE) == (packets.NO_JOB, b"")


def expect_order(had: Sequence[Job]) -> None:
    """First in first out within each function and priority."""
    queues: defaultdict[tuple[bytes, int], list[int]] = defaultdict(list)
    for function, priority, number in had:
        queues[function, priority].append(number)
    for queue, numbers in queues.items():
        assert numbers == sorted(numbers), f"the order of {queue} is broken"


# ---- rows that the test puts into a SQLite file


def row_id(number: int) -> int:
    """The id of a row of `fill`."""
    return FIRST + number << ID_TIME_SHIFT


def handle(number: int) -> bytes:
    """Its handle, as another host gave it."""
    return b"H:elsewhere:%d" % row_id(number)


def fill(database: Path, first: int, count: int, function: bytes = b"f") -> None:
    """Rows with the numbers from `first` on, with unique keys `key <number>` and payloads `<number>`."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first + count - 1})"
    row = f"({FIRST} + i) << {ID_TIME_SHIFT}, ?, CAST('key ' || i AS BLOB), 1, 0, 0, 0, NULL, CAST(i AS BLOB)"
    columns = "id, function_name, unique_key, priority, attempts, node, run_at, reducer, data"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"INSERT INTO gearman_job ({columns}) {numbers} SELECT {row} FROM n", (function,))
