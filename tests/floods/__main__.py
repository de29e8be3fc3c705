"""Every flood in full, or those named, each on a server of its own, and a table: `python -m tests.floods [NAME ...]`.

FLOOD_SECONDS is how long each goes on once it has begun.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from gearmand_py.server import packets
from tests.floods.probe import Seen
from tests.floods.trial import FLOODS, LIMITS, MIB, READING, Flood, Outcome, p99, undergo
from tests.harness.server import Server

MOST: Final = 0.25  # seconds that others may wait, 99 in 100
COLUMNS: Final = (
    "flood",
    "others' p99, ms, foreground: before, during, after",
    "background",
    "foreground a second: before, after",
    "peak, MiB, of its budget",
    "files, peers left",
)
HEAD: Final = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main() -> None:
    """See above."""
    names = sys.argv[1:]
    seconds = float(os.environ.get("FLOOD_SECONDS", "10"))
    print(HEAD, flush=True)
    failed = []
    for flood in FLOODS:
        if not names or flood.name in names:
            outcome = tried(flood, seconds)
            print(row(outcome), flush=True)
            failed += complaints(outcome)
    for line in failed:
        print(line, file=sys.stderr)
    sys.exit(bool(failed))


def tried(flood: Flood, seconds: float) -> Outcome:
    """A flood over a fresh server."""
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory) / "queue.db", *LIMITS) as server:
        if flood.backlog:
            fill(server, flood.backlog * 4)
        outcome = undergo(server, flood, flood.full, seconds)
        print(flood.name, outcome.said, file=sys.stderr)
        print(*[line for line in outcome.stderr.splitlines() if "WARNING" in line][-5:], sep="\n", file=sys.stderr)
        return outcome


def fill(server: Server, jobs: int) -> None:
    """Jobs that wait."""
    with server.connect() as client:
        for _ in range(0, jobs, 1000):
            client._write(packets.request(packets.SUBMIT_JOB_BG, b"backlog", b"", b"") * 1000)
            for _ in range(1000):
                client.receive()


def row(outcome: Outcome) -> str:
    """A line of the table."""
    waits = [milliseconds(outcome, of) for of in ("foreground", "background")]
    rates = f"{outcome.rate_before:.0f}, {outcome.rate_after:.0f}"
    memory = f"{outcome.peak // MIB}, {outcome.budget // MIB}"
    left = (
        outcome.state_after.files - outcome.state_before.files,
        outcome.state_after.peers - outcome.state_before.peers,
    )
    what = f"{outcome.flood.full:,} {outcome.flood.what}"
    return f"| {what} | {waits[0]} | {waits[1]} | {rates} | {memory} | {left[0]}, {left[1]} |"


def milliseconds(outcome: Outcome, of: str) -> str:
    """Of one kind of job, before, during and after."""
    seen: list[Seen] = [outcome.before, outcome.during, outcome.after]
    return ", ".join(f"{p99(getattr(one, of)) * 1000:.1f}" for one in seen)


def complaints(outcome: Outcome) -> list[str]:
    """What is not as it must be."""
    name, found = outcome.flood.name, []
    for what, waits in zip(Seen._fields, outcome.during, strict=True):
        if p99(waits) > MOST:
            found.append(f"{name}: others wait {p99(waits) * 1000:.0f} ms for a {what} job")
    if outcome.peak > outcome.budget:
        found.append(f"{name}: {outcome.peak // MIB} MiB, more than {outcome.budget // MIB}")
    if outcome.state_after.files > outcome.state_before.files + READING:
        found.append(f"{name}: files are left open")
    return found


if __name__ == "__main__":
    main()
