"""TLS against plain, on one server that speaks both, in turn: jobs a second, and the server's processor time a job.

    make bench-tls
    make bench-tls ARGS="--rounds 5 --jobs 60000 --modes foreground"
    make bench-tls GEARLOAD=/path/to/gearload        # a generator in C, which takes -T for TLS

A generator that is slower with TLS than the server hides what the server can do; its processor time a job does not.
The tables at the end have medians; `ratio` is TLS as a part of plain, jobs a second of one whole processor.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from tests.databases.ports import free_port
from tests.harness.server import COMMAND, HOST, Server
from tests.tls.certificates import Authority

HEAD: Final = """\
| mode | plain jobs/s | TLS jobs/s | ratio | plain µs/job | TLS µs/job | ratio |
|---|---|---|---|---|---|---|"""
TICKS: Final = os.sysconf("SC_CLK_TCK")
GEARLOAD_MODES: Final = {"foreground": "fg"}  # the others have the same names


class Run(NamedTuple):
    """Jobs a second, and microseconds of the server a job."""

    rate: float
    cost: float


def processor(pid: int) -> float:
    """Seconds that a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def by_gearload(program: str, port: int, mode: str, options: argparse.Namespace, *, tls: bool) -> float:
    """Jobs a second."""
    load = [
        "-n",
        str(options.jobs),
        "-c",
        str(options.clients),
        "-W",
        str(options.clients),
        "-w",
        str(options.in_flight),
    ]
    words = [program, GEARLOAD_MODES.get(mode, mode), "-p", str(port), *(["-T"] if tls else []), *load, "-t", "600"]
    found = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return float(found["jobs_per_s"])


def by_bench(port: int, mode: str, options: argparse.Namespace, known: dict[str, str], *, tls: bool) -> float:
    """Jobs a second."""
    server = f"{'tls://' if tls else ''}{HOST}:{port}"
    load = [
        "-n",
        str(options.jobs),
        "-c",
        str(options.clients),
        "-W",
        str(options.clients),
        "-i",
        str(options.in_flight),
    ]
    words = [COMMAND, "bench", "--server", server, "--warm-up", "0", *load, "--json", mode]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=os.environ | known)
    (result,) = json.loads(done.stdout)["servers"]
    return float(result["modes"][mode]["jobs_per_second"])


def run(server: Server, port: int, mode: str, options: argparse.Namespace, known: dict[str, str]) -> Run:
    """One run on one of the server's ports."""
    tls = port != server.port
    before = processor(server.pid)
    if program := os.environ.get("GEARLOAD"):
        rate = by_gearload(program, port, mode, options, tls=tls)
    else:
        rate = by_bench(port, mode, options, known, tls=tls)
    return Run(rate, (processor(server.pid) - before) / options.jobs * 1e6)


def median(runs: list[Run]) -> Run:
    """Of each figure by itself."""
    return Run(*map(statistics.median, zip(*runs, strict=True)))


def compare(options: argparse.Namespace, directory: Path) -> None:
    """All rounds of all modes."""
    authority = Authority(directory / "authority")
    own, port = authority.issue("server"), free_port()
    known = authority.environment()
    print(HEAD)
    with Server(directory / "queue.db", "--ssl-port", str(port), *own.options) as server:
        for mode in options.modes:
            run(server, server.port, mode, options, known)  # warm
            rounds = [
                [run(server, each, mode, options, known) for each in (server.port, port)] for _ in range(options.rounds)
            ]
            plain, tls = (median(list(runs)) for runs in zip(*rounds, strict=True))
            rates = f"{plain.rate:,.0f} | {tls.rate:,.0f} | {tls.rate / plain.rate:.2f}"
            print(f"| {mode} | {rates} | {plain.cost:.1f} | {tls.cost:.1f} | {plain.cost / tls.cost:.2f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=40_000)
    parser.add_argument("--clients", type=int, default=8, help="and as many workers")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--modes", nargs="+", default=["foreground", "both"])
    with tempfile.TemporaryDirectory(prefix="gearmand-py-tls-") as directory:
        compare(parser.parse_args(), Path(directory))


if __name__ == "__main__":
    main()
