"""A server with millions of waiting jobs beside one with ten thousand: memory, rates, kill -9 and restart, order.

    make scale GEARLOAD=/path/to/gearload
    make scale GEARLOAD=/path/to/gearload ARGS="--database postgresql://user:pw@host/scratch --jobs 1000000"

Two servers run on the same database (two SQLite files, or two table prefixes). One is filled; then both submit and
drain the same in turn, and the ratio of the medians is what counts. The drain comes from memory before the restart, and
from the table after it. Ends with 1 if a job was lost, doubled, or out of order.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from gearmand_py.server import packets
from gearmand_py.server.broker import MOST_RUNNING
from gearmand_py.server.client import Client, ClientError
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.urls import storage_for

HOST: Final = "127.0.0.1"
FUNCTION: Final = b"gearload"
BASE: Final = 10_000  # waiting jobs of the small one
ROUND: Final = 100_000  # submitted in each round
DRAIN_SECONDS: Final = "1.0"
IN_ORDER: Final = 20_000  # jobs whose order is looked at
LIMIT: Final = "512MiB"


class Server:
    """One of the two. `name` is its table prefix, or the name of its file."""

    def __init__(self, name: str, port: int, database: str | None, folder: Path) -> None:
        self.name = name
        self.port = port
        self.database = database or f"sqlite:///{folder / name}.db"
        self.log = folder / f"{name}.log"
        self.submitted = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Returns the seconds until `status` was answered."""
        began = time.monotonic()
        options = ["--port", str(self.port), "--memory-limit", LIMIT, "--migrate", "--table-prefix", f"{self.name}_"]
        command = [sys.executable, "-m", "gearmand_py.server.cli", "--database", self.database, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        while True:
            try:
                self.ask("status")
                return time.monotonic() - began
            except ClientError:
                time.sleep(0.01)

    def ask(self, line: str) -> list[bytes]:
        """A text command."""
        with Client.connect(HOST, self.port) as client:
            return client.text(line)

    def total(self) -> int:
        """Jobs that the server knows of."""
        return sum(int(line.split(b"\t")[1]) for line in self.ask("status"))

    def load(self, mode: str, *options: str) -> dict[str, Any]:
        """Run the load generator."""
        command = [os.environ["GEARLOAD"], mode, "-p", str(self.port), "-t", "3600", *options]
        found = subprocess.run(command, capture_output=True, check=False).stdout
        result: dict[str, Any] = json.loads(found)
        assert not result.get("doubled")
        assert not result.get("foreign")
        assert not result.get("errors")
        return result

    def submit(self, jobs: int) -> float:
        """Jobs a second."""
        result = self.load("submit", "-u", "uuid", "-n", str(jobs), "-S", str(self.submitted))
        self.submitted += jobs
        return float(result["acks_per_s"])

    def drain(self) -> float:
        """Jobs a second, for a while."""
        return float(self.load("work", "-n", str(self.submitted), "-t", DRAIN_SECONDS)["jobs_per_s"])

    def drain_to(self, jobs: int, rate: float) -> None:
        """Run jobs until about so many are left."""
        if (more := self.total() - jobs) > 0:
            self.load("work", "-n", str(self.submitted), "-t", str(more / rate))

    def drain_all(self, rate: float) -> bool:
        """Run all that is left, at about `rate` jobs a second; was each there once?

        The generator waits for jobs that others have run, so it is told when to stop.
        """
        left = self.total()
        seconds = str(10 + 1.6 * left / rate)
        return bool(self.load("work", "-n", str(self.submitted), "-t", seconds)["executed"] == left)

    def memory(self) -> str:
        """Resident now, and at most."""
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        now, most = (
            int(next(line for line in lines if line.startswith(word)).split()[1]) for word in ("VmRSS", "VmHWM")
        )
        return f"{now // 1024} MiB, at most {most // 1024}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the process."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait()


def in_order(server: Server, jobs: int) -> bool:
    """Take jobs and let them go back: are they handed out in the order of their ids?"""
    ids: list[int] = []
    with ExitStack() as workers:
        while len(ids) < jobs:
            worker = workers.enter_context(Client.connect(HOST, server.port))
            ids += take(worker, min(MOST_RUNNING, jobs - len(ids)))
    return ids == sorted(ids)


def take(worker: Client, jobs: int) -> Iterator[int]:
    """The ids of jobs that it gets."""
    worker.send(packets.CAN_DO, FUNCTION)
    for _ in range(jobs):
        worker.send(packets.GRAB_JOB)
        kind, body = worker.receive(10)
        assert kind == packets.JOB_ASSIGN
        yield int(body.split(b"\0")[0].rpartition(b":")[2])


def first_job(server: Server) -> None:
    """Run one job."""
    with Client.connect(HOST, server.port) as worker:
        worker.send(packets.CAN_DO, FUNCTION)
        while True:
            worker.send(packets.GRAB_JOB)
            kind, body = worker.receive(60)
            if kind == packets.JOB_ASSIGN:
                worker.send(packets.WORK_COMPLETE, body.split(b"\0")[0], b"")
                worker.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
                return


def compare(small: Server, big: Server, rounds: int, when: str) -> float:
    """Submit and drain on both in turn; the big one's drain, in jobs a second."""
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for server in (small, big):
            rates.setdefault(("submit", server.name), []).append(server.submit(ROUND))
        for server in (small, big):
            rates.setdefault(("drain", server.name), []).append(server.drain())
        small.drain_to(BASE, rates["drain", small.name][-1])
    for what in ("submit", "drain"):
        few, many = (statistics.median(rates[what, server.name]) for server in (small, big))
        print(f"| {what}, {when} | {few:,.0f}/s | {many:,.0f}/s | {many / few:.2f} |", flush=True)
    return many


def restart(server: Server) -> None:
    """Kill -9, and how soon what is there again."""
    time.sleep(1)  # what was finished last leaves the table
    before = server.total()
    server.kill()
    began = time.monotonic()
    answered = server.start()
    first_job(server)
    handed_out = time.monotonic() - began
    while True:
        try:
            server.ask("ready")
            break
        except ClientError:
            time.sleep(0.05)
    indexed = time.monotonic() - began
    print(
        f"kill -9 with {before:,} waiting: status after {answered:.2f} s, first job after {handed_out:.2f} s, "
        f"all known after {indexed:.1f} s; {before - 1 - server.total()} lost",
        flush=True,
    )
    assert server.total() == before - 1


@contextmanager
def two_servers(database: str | None) -> Iterator[tuple[Server, Server]]:
    """Both, with nothing in their tables."""
    with tempfile.TemporaryDirectory() as folder:
        both = Server("small", 4861, database, Path(folder)), Server("big", 4862, database, Path(folder))
        for server in both:
            if database:
                asyncio.run(drop(server))
            server.start()
        try:
            yield both
        finally:
            for server in both:
                server.kill(signal.SIGTERM)
            for server in both if database else ():
                asyncio.run(drop(server))


async def drop(server: Server) -> None:
    """Remove its tables."""
    storage = storage_for(server.database, Tables(f"{server.name}_"))
    async with storage.engine.begin() as connection:
        for name in (
            "VIEW IF EXISTS {}gearman_jobs",
            "TABLE IF EXISTS {}gearman_job",
            "TABLE IF EXISTS {}gearman_import",
            "TABLE IF EXISTS {}gearman_node",
            "TABLE IF EXISTS {}gearman_alembic_version",
        ):
            await connection.exec_driver_sql(f"DROP {name.format(storage.tables.prefix)}")
    await storage.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", help="where both keep their jobs; SQLite files without it")
    parser.add_argument("--jobs", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with two_servers(given.database) as (small, big):
        small.submit(BASE)
        print(f"filled at {big.submit(given.jobs):,.0f}/s; resident: {big.memory()}", flush=True)
        assert big.total() == given.jobs
        print(f"\n| | {BASE:,} waiting | {given.jobs:,} waiting | ratio |\n|---|---|---|---|")
        compare(small, big, given.rounds, "from memory")
        restart(big)
        rate = compare(small, big, given.rounds, "after the restart, from the table")
        print(f"resident: {big.memory()}; {IN_ORDER:,} in order: {in_order(big, IN_ORDER)}", flush=True)
        left = big.total()
        whole = big.drain_all(rate)
        print(f"{left:,} drained, each once: {whole}; {big.total()} left; resident: {big.memory()}")
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
