"""Ours, durable, beside the C gearmand on the same machine in the same run.

    make bench GEARLOAD=/path/to/gearload
    make bench GEARLOAD=/path/to/gearload ARGS="--jobs 50000 --rounds 5 work both"
    make bench GEARLOAD=/path/to/gearload ARGS="--database postgresql://user:pw@host/scratch --durable-c submit both"

Each round runs a scenario on each server in turn, every time on a fresh server with an empty queue; the medians and
the ratio ours / C of the medians are printed as a Markdown table. Absolute rates drift with the machine: look at the
ratios.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url

from gearmand_py.storage.schema import Tables
from gearmand_py.storage.urls import storage_for

Result = dict[str, Any]

PORT = 4839


@dataclass(frozen=True)
class Scenario:
    """What to run and which figure of its last step to look at; `lower` if less is better."""

    steps: list[list[str]]
    figure: tuple[str, ...]
    jobs: int | None = None  # fixed, where more would only take longer
    lower: bool = False


def load(mode: str, *options: str) -> list[str]:
    """One call of the load generator."""
    return [mode, *options] if mode == "work" else [mode, "-u", "uuid", *options]


SCENARIOS = {
    "submit": Scenario([load("submit")], ("acks_per_s",)),
    "work": Scenario([load("submit"), load("work")], ("jobs_per_s",)),
    "both": Scenario([load("both")], ("jobs_per_s",)),
    "fg": Scenario([load("fg", "-w", "16")], ("jobs_per_s",)),
    "fg-one": Scenario([load("fg", "-c", "1", "-w", "1", "-W", "1")], ("run_ms", "p50"), 10_000, True),
    "submit-one": Scenario([load("submit", "-c", "1", "-w", "1")], ("ack_ms", "p50"), 5_000, True),
}


Command = list[str]
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}
PREFIX = "bench_"  # of the tables in a database that is not a file; they are dropped before each run
C_TABLE = f"{PREFIX}queue"


def servers(database: str | None, *, durable_c: bool) -> dict[str, Callable[[Path], Command]]:
    """What runs, by name. `database` is where ours keeps its jobs, the durable C server too; None: SQLite files."""
    url = make_url(database or "sqlite://")
    kind = url.get_backend_name()
    found = {"ours": partial(ours, database), "C, in memory": c_memory}
    if durable_c:
        found[f"C, {NAMES[kind]}"] = partial(C_DURABLE[kind], url)
    return found


def ours(database: str | None, folder: Path) -> Command:
    """gearmand-py, every commit synced."""
    where = database or f"sqlite:///{folder}/queue.db"
    prefix = ["--table-prefix", PREFIX, "--migrate"] if database else ["--synchronous", "full"]
    command = str(Path(sys.executable).with_name("gearmand-py"))
    return [command, "--port", str(PORT), "--database", where, *prefix, "--verbose", "ERROR"]


def c_memory(_folder: Path) -> Command:
    """The C server, nothing durable."""
    return [c_server(), "--listen=127.0.0.1", f"--port={PORT}", "--log-file=none"]


def c_sqlite(_url: URL, folder: Path) -> Command:
    """The C server, durable in a file."""
    return [*c_memory(folder), "--queue-type=libsqlite3", f"--libsqlite3-db={folder}/c.db"]


def c_postgresql(url: URL, folder: Path) -> Command:
    """The C server, durable on the same PostgreSQL."""
    parts = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
    conninfo = " ".join(f"{name}={value}" for name, value in parts.items() if value)
    return [*c_memory(folder), "--queue-type=Postgres", f"--libpq-conninfo={conninfo}", f"--libpq-table={C_TABLE}"]


def c_mysql(url: URL, folder: Path) -> Command:
    """The C server, durable on the same MySQL or MariaDB."""
    parts = {"host": url.host, "port": url.port or 3306, "user": url.username, "password": url.password}
    options = [f"--mysql-{name}={value}" for name, value in parts.items() if value]
    return [*c_memory(folder), "--queue-type=MySQL", *options, f"--mysql-db={url.database}", f"--mysql-table={C_TABLE}"]


C_DURABLE = {"sqlite": c_sqlite, "postgresql": c_postgresql, "mysql": c_mysql, "mariadb": c_mysql}


async def drop_tables(database: str) -> None:
    """Start from nothing."""
    storage = storage_for(database, Tables(PREFIX))
    async with storage.engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP VIEW IF EXISTS {storage.tables.view_name}")
        for table in (storage.tables.job_name, storage.tables.node_name, storage.tables.version_name, C_TABLE):
            await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    await storage.close()


def c_server() -> str:
    """Where Debian puts it."""
    found = shutil.which("gearmand") or shutil.which("gearmand", path="/usr/sbin:/usr/local/sbin")
    if not found:
        sys.exit("compare: there is no C gearmand to compare with: apt-get install gearman-job-server")
    return found


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A server, from when it answers until it has stopped."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_until_it_answers(process)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def wait_until_it_answers(process: subprocess.Popen[bytes]) -> None:
    """Raises SystemExit when the server ends or stays silent."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
                connection.sendall(b"version\n")
                if connection.recv(100).startswith(b"OK"):
                    return
        except OSError:
            time.sleep(0.02)
    process.kill()
    sys.exit(f"compare: {process.args!r} does not answer: {process.communicate()[1].decode()}")


def measure(gearload: str, start: Callable[[Path], Command], scenario: Scenario, jobs: int) -> float:
    """One run on a fresh server."""
    with tempfile.TemporaryDirectory() as folder, running(start(Path(folder))):
        result: Result = {}
        for step in scenario.steps:
            command = [gearload, *step, "-p", str(PORT), "-n", str(scenario.jobs or jobs), "-t", "600"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            if result.get("errors") or result.get("doubled"):
                sys.exit(f"compare: errors: {result}")
    figure: Any = result
    for key in scenario.figure:
        figure = figure[key]
    return float(figure)


def medians(chosen: argparse.Namespace, starts: dict[str, Callable[[Path], Command]], name: str) -> dict[str, float]:
    """The figure of a scenario for each server, all servers in turn in each round."""
    figures: dict[str, list[float]] = {server: [] for server in starts}
    for _ in range(chosen.rounds):
        for server, start in starts.items():
            if chosen.database:
                asyncio.run(drop_tables(chosen.database))
            # The durable C server commits job by job: a part of the work is enough to tell its rate.
            fewer = server not in ("ours", "C, in memory")
            jobs = chosen.jobs // 20 if fewer else chosen.jobs
            figures[server].append(measure(chosen.gearload, start, SCENARIOS[name], jobs))
    return {server: statistics.median(values) for server, values in figures.items()}


def compare(chosen: argparse.Namespace) -> None:
    """Run everything, print the table as it grows."""
    starts = servers(chosen.database, durable_c=chosen.durable_c)
    print(f"{chosen.rounds} rounds, {chosen.jobs:,} jobs of 100 bytes, {os.cpu_count()} processors\n")
    print("| | " + " | ".join(starts) + " | " + " | ".join(f"ours / {other}" for other in list(starts)[1:]) + " |")
    print("|---" * (2 * len(starts)) + "|")
    for name in chosen.scenarios or SCENARIOS:
        found = medians(chosen, starts, name)
        form = "{:.3f} ms" if SCENARIOS[name].lower else "{:,.0f}/s"
        ratios = [f"{found['ours'] / found[other]:.2f}" for other in list(starts)[1:]]
        print(
            f"| {name} | " + " | ".join([form.format(figure) for figure in found.values()] + ratios) + " |", flush=True
        )


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="default: all")
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", metavar="URL", help=f"tables {PREFIX}* in it are dropped; default: SQLite files")
    parser.add_argument("--durable-c", action="store_true", help="also the C server on the same database (slow)")
    parser.set_defaults(gearload=os.environ.get("GEARLOAD", ""))
    chosen = parser.parse_args()
    if not os.access(chosen.gearload, os.X_OK):
        parser.error("set GEARLOAD to the compiled load generator")
    compare(chosen)


if __name__ == "__main__":
    main()
