"""A server under a flood: what others saw before, during and after, and what is left of it."""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.floods.probe import Probe, Seen, Watch, percentile
from tests.harness.process import Process
from tests.harness.server import Server

MIB: Final = 1024 * 1024
SLOWER: Final = 20  # times that the server may be afterwards: it is not stuck, on a busy machine
SETTLING: Final = 60.0  # seconds that a server may take to see that everybody has gone
ENDING: Final = 120.0  # that a flood may take to its end, where it has one
# Memory that a server may take. It is told little, so that a flood that is not bounded shows soon.
LIMIT: Final = 64 * MIB
LIMITS: Final = ("--memory-limit", "64M", "--max-buffers", "64M", "--max-output", "16M")
# Itself; jobs; foreground jobs; packets on their way in and answers, one packet beyond each; a batch. As the allocator
# keeps them.
BASE: Final = 110 * MIB
BUDGET: Final = BASE + 4 * LIMIT + 2 * 64 * MIB + 2 * 32 * MIB
READING: Final = 8  # files, and threads, of the connections that read the table, made when they are first needed
A_CONNECTION: Final = 24 * 1024
A_FUNCTION: Final = 4 * 1024


@dataclass(frozen=True)
class Flood:
    """A flood: how many of what it makes, in `make test` and in `make test-floods`."""

    name: str
    short: int
    full: int
    what: str
    connections: int = 100  # about, at a time
    functions: int = 0  # that it may make
    settings: tuple[str, ...] = ()
    backlog: int = 0  # jobs that wait, as a share of `full`


FLOODS: Final = (
    Flood("idle", 1_000, 10_000, "idle connections", connections=10_000),
    Flood("come_and_go", 1_000, 1_000, "connections a second, opened and dropped"),
    Flood("deaf", 5, 50, "clients that ask without end and read nothing"),
    Flood("deaf_to_results", 5, 20, "clients whose results of 1 MiB they do not read"),
    Flood("trickle", 100, 1_000, "connections that send a byte a second", connections=1_000),
    Flood("four_gib", 10, 50, "connections at a time that declare 4 GiB"),
    Flood("can_do", 100_000, 1_000_000, "CAN_DO of one worker", functions=50_000),
    Flood("new_functions", 100_000, 1_000_000, "background jobs, each of a new function", functions=100_000),
    Flood("submit", 5, 40, "connections that submit background jobs without end"),
    Flood("nobody_works", 5, 20, "connections with foreground jobs that nobody does"),
    Flood("half_packets", 50, 1_000, "connections that send half of 64 MiB", connections=1_000),
    Flood("echoes", 1_000, 100_000, "ECHO_REQ of 1 MiB, answers not read"),
    Flood("listings", 2, 4, "connections that ask for show jobs without end", backlog=250_000),
    Flood("leave", 1_000, 50_000, "foreground jobs of each of 10 clients at a time, which then leave"),
    Flood("hoard", 1_000, 10_000, "jobs of each of 10 workers at a time, which then leave", backlog=50_000),
    Flood("delayed", 10_000, 1_000_000, "jobs that are due in the same second"),
    Flood("statuses", 4, 20, "connections that ask for jobs that are in the table only", backlog=250_000),
)


class State(NamedTuple):
    """What a server has of what the system counts."""

    resident: int  # bytes
    peak: int  # bytes, since `forget_peak`
    files: int
    threads: int
    peers: int


@dataclass
class Outcome:
    """What a flood did to others and to the server."""

    flood: Flood
    before: Seen
    during: Seen
    after: Seen
    rate_before: float
    rate_after: float
    state_before: State
    state_after: State
    peak: int
    said: dict[str, Any]
    stderr: str

    @property
    def budget(self) -> int:
        """Bytes that the server may take at its peak."""
        return BUDGET + self.flood.connections * A_CONNECTION + self.flood.functions * A_FUNCTION


def state_of(server: Server) -> State:
    """Look at it from outside, and count whom it knows."""
    process = Path(f"/proc/{server.pid}")
    memory = {
        line.split(":")[0]: line.split()[1] for line in (process / "status").read_text().splitlines() if "kB" in line
    }
    with server.connect() as operator:
        peers = len(operator.text("workers", 60)) - 1  # but for the operator
    return State(
        int(memory["VmRSS"]) * 1024,
        int(memory["VmHWM"]) * 1024,
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        peers,
    )


def forget_peak(server: Server) -> None:
    """From now on the peak is that of the flood."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")


def settled(server: Server, before: State) -> State:
    """Wait until it has let go of all who have left."""
    until = time.monotonic() + SETTLING
    while (now := state_of(server)).peers > before.peers or now.files > before.files + READING:
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return now


def undergo(server: Server, flood: Flood, number: int, seconds: float, calm: float = 2.0) -> Outcome:
    """Let a flood come over a server for so long, after and before so many calm seconds."""
    probe = Probe(server.port)
    try:
        probe.rate(0.3)  # everything is loaded
        state_before = state_of(server)
        rate_before = probe.rate(calm / 2)
        before = watched(probe, calm)
        forget_peak(server)
        watch = Watch(probe)
        try:
            said = pour(server, flood, number, seconds)
        finally:
            during = watch.stop()
        peak = state_of(server).peak
        state_after = settled(server, state_before)
        after = watched(probe, calm)
        rate_after = recovered(probe, rate_before / SLOWER, calm / 2)
    finally:
        probe.close()
    return Outcome(
        flood, before, during, after, rate_before, rate_after, state_before, state_after, peak, said, server.stderr
    )


def recovered(probe: Probe, wanted: float, seconds: float) -> float:
    """Foreground jobs a second, measured again for a while where they are too few: other work may be in the way."""
    until = time.monotonic() + SETTLING
    while (rate := probe.rate(seconds)) <= wanted and time.monotonic() < until:
        pass
    return rate


def watched(probe: Probe, seconds: float) -> Seen:
    """What others see in so many seconds."""
    watch = Watch(probe)
    time.sleep(seconds)
    return watch.stop()


def pour(server: Server, flood: Flood, number: int, seconds: float) -> dict[str, Any]:
    """The flood itself."""
    command = [sys.executable, "-m", "tests.floods.generate", flood.name, str(server.port), str(number)]
    with Process(command, stdin=None) as generator:
        generator.expect(b"flooding", 120)
        time.sleep(seconds)
        generator.end_input()
        said: dict[str, Any] = json.loads(generator.expect(rb"(\{.*\})", ENDING)[1])
        return said


def p99(values: list[float]) -> float:
    """Seconds."""
    return percentile(values, 0.99)
