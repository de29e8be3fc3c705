"""Acknowledged means committed, seen from the system calls: no JOB_CREATED leaves before its job is on the disk.

For each job the trace must show, in this order: its payload written to SQLite's write-ahead log; a sync of that log
that began after it, and ended; the send that carries its JOB_CREATED.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from gearmand_py.server.codec import Connection
from tests.conftest import StartServer
from tests.harness.process import DEADLINE
from tests.harness.server import Server
from tests.harness.strace import SYNCS, WRITES, Call, prefix, read_trace

LOG: Final = "-wal"
ONE_BY_ONE: Final = 20
CONNECTIONS: Final = 8
AT_ONCE: Final = 25

Jobs = dict[bytes, bytes]  # handle: payload


def payload(number: int) -> bytes:
    """Found in the log as it is: short enough to stay on one page."""
    return b"<payload %06d>" % number


def acknowledged(calls: Sequence[Call]) -> Iterator[tuple[bytes, int]]:
    """The handle in each JOB_CREATED that left, and the line where the send that completed it began."""
    connections: defaultdict[str, Connection] = defaultdict(lambda: Connection(packets.RESPONSE))
    for call in calls:
        if call.name in WRITES and call.file.startswith("TCP"):
            for kind, body in connections[call.file].feed(call.data):
                if kind == packets.JOB_CREATED:
                    yield body, call.began


def durable_from(calls: Sequence[Call], data: bytes) -> int | None:
    """The line from which on `data` is safe in the log."""
    log = [call for call in calls if call.file.endswith(LOG)]
    written = next((call.ended for call in log if call.name in WRITES and data in call.data), None)
    if written is None:
        return None
    return min((call.ended for call in log if call.name in SYNCS and call.began > written), default=None)


def acknowledged_too_early(calls: Sequence[Call], jobs: Mapping[bytes, bytes]) -> list[bytes]:
    """The payloads of the jobs that were acknowledged before they were safe; every job must have been acknowledged."""
    left = dict(acknowledged(calls))
    assert left.keys() == jobs.keys()
    return [
        data
        for handle, data in jobs.items()
        if (durable := durable_from(calls, data)) is None or durable > left[handle]
    ]


def submit_one_by_one(server: Server) -> Jobs:
    with server.connect() as client:
        return {submit(client, payload(number)): payload(number) for number in range(ONE_BY_ONE)}


def submit(client: Client, data: bytes) -> bytes:
    return client.ask(packets.SUBMIT_JOB_BG, b"f", b"", data, answer=packets.JOB_CREATED)


def submit_at_once(server: Server) -> Jobs:
    """Many jobs on several connections, all under way before the first answer is read; answers come in order."""
    jobs: Jobs = {}
    clients = [server.connect() for _ in range(CONNECTIONS)]
    for number in range(CONNECTIONS * AT_ONCE):
        clients[number % CONNECTIONS].send(packets.SUBMIT_JOB_BG, b"f", b"", payload(number))
    for number in range(CONNECTIONS * AT_ONCE):
        kind, handle = clients[number % CONNECTIONS].receive(DEADLINE)
        assert kind == packets.JOB_CREATED
        jobs[handle] = payload(number)
    for client in clients:
        client.close()
    return jobs


@pytest.mark.parametrize("load", [submit_one_by_one, submit_at_once])
def test_a_job_is_synced_before_it_is_acknowledged(
    start_server: StartServer, tmp_path: Path, load: Callable[[Server], Jobs]
) -> None:
    trace = tmp_path / "trace"
    server = start_server(prefix=prefix(trace))
    jobs = load(server)
    assert server.stop() == 0
    assert acknowledged_too_early(read_trace(trace), jobs) == []


def test_the_check_notices_that_no_sync_is_made(start_server: StartServer, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    server = start_server("--synchronous", "normal", prefix=prefix(trace))
    jobs = submit_one_by_one(server)
    assert server.stop() == 0  # this syncs what there is, long after the acknowledgements
    assert acknowledged_too_early(read_trace(trace), jobs) == list(jobs.values())


def test_the_check_notices_an_acknowledgement_during_the_sync(tmp_path: Path) -> None:
    created = packets.response(packets.JOB_CREATED, b"H:x:1").hex(" ").replace(" ", r"\x")
    log, data = (text.hex(" ").replace(" ", r"\x") for text in (b"/q.db-wal", payload(1)))
    trace = tmp_path / "trace"
    trace.write_text(
        rf"""7 pwrite64(3<\x{log}>, "\x{data}", 16, 0) = 16
7 fdatasync(3<\x{log}> <unfinished ...>
6 sendto(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x{created}", 17, 0, NULL, 0) = 17
7 <... fdatasync resumed>)         = 0
"""
    )
    assert acknowledged_too_early(read_trace(trace), {b"H:x:1": payload(1)}) == [payload(1)]
