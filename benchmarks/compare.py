"""Ours, durable, beside the C gearmand on the same machine in the same run.

    make bench GEARLOAD=/path/to/gearload
    make bench GEARLOAD=/path/to/gearload ARGS="--jobs 50000 --rounds 5 work both"

Each round runs a scenario on each server in turn, every time on a fresh server with an empty queue; the medians and
the ratio ours / C of the medians are printed as a Markdown table. Absolute rates drift with the machine: look at the
ratios.
"""

import argparse
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def ours(folder: Path) -> list[str]:
    """gearmand-py, every commit synced."""
    return [
        str(Path(sys.executable).with_name("gearmand-py")),
        *("--port", str(PORT), "--database", f"sqlite:///{folder}/queue.db", "--synchronous", "full"),
        *("--verbose", "ERROR"),
    ]


def c_memory(_folder: Path) -> list[str]:
    """The C server, nothing durable."""
    return [c_server(), "--listen=127.0.0.1", f"--port={PORT}", "--log-file=none"]


def c_sqlite(folder: Path) -> list[str]:
    """The C server, durable."""
    return [*c_memory(folder), "--queue-type=libsqlite3", f"--libsqlite3-db={folder}/c.db"]


SERVERS = {"ours": ours, "C, in memory": c_memory, "C, SQLite": c_sqlite}


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


def measure(gearload: str, server: str, scenario: Scenario, jobs: int) -> float:
    """One run on a fresh server."""
    with tempfile.TemporaryDirectory() as folder, running(SERVERS[server](Path(folder))):
        result: Result = {}
        for step in scenario.steps:
            command = [gearload, *step, "-p", str(PORT), "-n", str(scenario.jobs or jobs), "-t", "600"]
            result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            if result.get("errors") or result.get("doubled"):
                sys.exit(f"compare: {server} made errors: {result}")
    figure: Any = result
    for key in scenario.figure:
        figure = figure[key]
    return float(figure)


def compare(gearload: str, names: list[str], servers: list[str], jobs: int, rounds: int) -> None:
    """Run everything, print the table as it grows."""
    print(f"{rounds} rounds, {jobs:,} jobs of 100 bytes, {os.cpu_count()} processors\n")
    print("| | " + " | ".join(servers) + " | " + " | ".join(f"ours / {other}" for other in servers[1:]) + " |")
    print("|---" * (2 * len(servers)) + "|")
    for name in names:
        scenario = SCENARIOS[name]
        figures: dict[str, list[float]] = {server: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                # The durable C server commits job by job: a thousandth of the work is enough to tell its rate.
                fewer = jobs // 20 if server == "C, SQLite" else jobs
                figures[server].append(measure(gearload, server, scenario, fewer))
        medians = {server: statistics.median(values) for server, values in figures.items()}
        shown = [f"{medians[server]:.3f} ms" if scenario.lower else f"{medians[server]:,.0f}/s" for server in servers]
        ratios = [f"{medians['ours'] / medians[other]:.2f}" for other in servers[1:]]
        print(f"| {name} | " + " | ".join(shown + ratios) + " |", flush=True)


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="default: all")
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durable-c", action="store_true", help="also the C server on SQLite (slow)")
    chosen = parser.parse_args()
    gearload = os.environ.get("GEARLOAD")
    if not gearload or not os.access(gearload, os.X_OK):
        parser.error("set GEARLOAD to the compiled load generator")
    servers = [server for server in SERVERS if chosen.durable_c or server != "C, SQLite"]
    compare(gearload, chosen.scenarios or list(SCENARIOS), servers, chosen.jobs, chosen.rounds)


if __name__ == "__main__":
    main()
