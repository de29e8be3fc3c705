"""What tests of an import look at: the command's words, and the jobs in our table."""

import time
from typing import Final, NamedTuple

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.command.running import Ended, GearmandPy
from tests.databases.queues import Queue
from tests.harness.server import HOST
from tests.importing.legacy import Legacy

DONE: Final = 0
NOT_ALL: Final = 1
GRABS: Final = 32  # asked for at once
DEADLINE: Final = 120.0


class Job(NamedTuple):
    """What is imported of a job."""

    unique: bytes | None
    function: bytes
    priority: int
    data: bytes
    run_at: int


def words(source: Legacy, queue: Queue, *more: str) -> tuple[str, ...]:
    """The command that imports one into the other."""
    return ("import", "--from", source.text, "--database", queue.url.render_as_string(hide_password=False), *more)


def run_import(gearmand_py: GearmandPy, source: Legacy, queue: Queue, *more: str) -> Ended:
    """Run it to its end."""
    return gearmand_py.run(*words(source, queue, *more))


def jobs(queue: Queue) -> list[Job]:
    """Our table, in the order of its ids."""
    rows = queue.query("SELECT unique_key, function_name, priority, data, run_at FROM gearman_job ORDER BY id")
    return [Job(*row) for row in rows]


def has_table(queue: Queue, name: str) -> bool:
    """Whether there is such a table; without looking one into being."""
    if queue.kind == "sqlite":
        return bool(queue.query(f"SELECT 1 FROM sqlite_master WHERE name = '{name}'"))
    where = f"WHERE table_name = '{name}' AND table_catalog = current_database()"
    if queue.kind != "postgresql":
        where = f"WHERE table_name = '{name}' AND table_schema = database()"
    return bool(queue.query(f"SELECT 1 FROM information_schema.tables {where}"))


def rows_done(queue: Queue) -> int:
    """How far the one import into a queue has come; -1 before it has begun."""
    if not has_table(queue, "gearman_import"):
        return -1
    found = queue.query("SELECT rows_done FROM gearman_import")
    return int(found[0][0]) if found else -1


def known(port: int, function: bytes) -> int:
    """How many jobs of a function the server has."""
    with Client.connect(HOST, port) as client:
        lines = [line.split(b"\t") for line in client.text("status", DEADLINE)]
    return sum(int(total) for name, total, *_ in lines if name == function)


def work(port: int, function: bytes, most: int | None = None, stay: int = 0) -> list[tuple[bytes, bytes]]:
    """Run jobs of a function until so many `stay`, which are for later, or `most`; returns unique keys and payloads."""
    done: list[tuple[bytes, bytes]] = []
    until = time.monotonic() + 4 * DEADLINE
    # Again and again: a row that is slow to be read is told as no job.
    while known(port, function) > stay and (most is None or len(done) < most):
        assert time.monotonic() < until, f"still jobs after {len(done)}"
        done += work_some(port, function, None if most is None else most - len(done))
    return done


def work_some(port: int, function: bytes, most: int | None) -> list[tuple[bytes, bytes]]:
    """The same until the server has none to give."""
    done: list[tuple[bytes, bytes]] = []
    with Client.connect(HOST, port) as worker:
        worker.send(packets.CAN_DO, function)
        asked = GRABS if most is None else min(GRABS, most)
        for _ in range(asked):
            worker.send(packets.GRAB_JOB_UNIQ)
        while asked:
            packet = worker.receive(DEADLINE)
            asked -= 1
            if packet[0] == packets.JOB_ASSIGN_UNIQ:
                handle, _, unique, data = worker.split(packet, 4)
                done.append((unique, data))
                worker.send(packets.WORK_COMPLETE, handle, b"")
                if most is None or len(done) + asked < most:
                    worker.send(packets.GRAB_JOB_UNIQ)
                    asked += 1
        worker.ask(packets.ECHO_REQ, b"read?", answer=packets.ECHO_RES)
    return done
