"""Power cuts under load: whatever was synced when the answer left is all that it takes.

A server on SQLite is traced while it is loaded. From the trace the disk is built as it may be after a cut at any moment
(disk.py), and opened: the database is whole, every acknowledged job is in it, and no job whose `cancel` was answered.
One of these disks is what the next server starts from, so that recoveries are cut short too.

`POWER_CUTS` is how many cuts (40), `POWER_CUTS_SEED` repeats a run that failed.
"""

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import pytest
from sqlalchemy import text

from gearmand_py.migrations import upgrade
from gearmand_py.server import packets
from gearmand_py.server.client import Client
from gearmand_py.server.ids import id_of
from gearmand_py.storage.base import JobRecord
from gearmand_py.storage.urls import storage_for
from tests.conftest import StartServer
from tests.durability.disk import Disk
from tests.durability.load import GONE, LATER, NOW, Mixed, Said, load_on, said
from tests.harness.server import Server
from tests.harness.strace import CHANGES, SYNCS, WRITES, Call, prefix, read_trace
from tests.load import drain, priority_of, sequence_of

CUTS: Final = int(os.environ.get("POWER_CUTS", "40"))
SEED: Final = os.environ.get("POWER_CUTS_SEED")
CUTS_A_SERVER: Final = 200
FEWEST_SERVERS: Final = 2
JOBS_A_SERVER: Final = 4000  # acknowledged: enough for the log to be written back, and begun again
FEWEST: Final = 20  # cancelled, and done
MANY: Final = 100  # cuts from which on the longer tests run too
LARGE: Final = b"large" * 180_000  # a trace has strings of up to a million bytes
LARGE_ONES: Final = 30  # more than what a file keeps for later
LONGEST_WAIT: Final = 120.0  # an idle file is looked at every 10 seconds
FILE: Final = "queue.db"


class Story:
    """One server's time on a queue: what it found, and what it said to whom."""

    def __init__(self, found: Iterable[int], gone: set[int], record: Mixed, spoken: Sequence[Said]) -> None:
        self._found = set(found)
        self._gone = gone  # cancelled before
        self._record = record
        self._spoken = spoken
        self._cancelling = {
            word.id for word in spoken if word.what == packets.JOB_CREATED and word.port in record.cancelling
        }

    def after_cut(self, line: int) -> tuple[set[int], set[int]]:
        """After a cut at this line: the jobs that must be there, and those that must not."""
        before = [word for word in self._spoken if word.line < line]
        acknowledged = {word.id for word in before if word.what == packets.JOB_CREATED}
        done = {
            word.id for word in before if word.what == packets.JOB_ASSIGN and word.sequence in self._record.executed
        }
        gone = {word.id for word in before if word.what == packets.TEXT}
        return (self._found | acknowledged) - done - self._cancelling, self._gone | gone


def test_every_acknowledged_job_is_there_after_a_power_cut(start_server: StartServer, tmp_path: Path) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"POWER_CUTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    servers = max(FEWEST_SERVERS, CUTS // CUTS_A_SERVER)
    contents: dict[str, bytes] = {}
    found: dict[int, JobRecord] = {}
    gone: set[int] = set()
    submitted = wanted = 0
    for number in range(servers):
        folder, trace = tmp_path / "queue", tmp_path / "trace"
        put_down(contents, folder)
        record = Mixed(submitted)
        server = start_server(name=f"queue/{FILE}", prefix=prefix(trace, WRITES | SYNCS | CHANGES))
        run_under_load(server, record, jobs=JOBS_A_SERVER, kill=number % 2 == 0)
        assert record.anomalies == []
        submitted = record.submitted
        calls = read_trace(trace)
        disk = Disk(folder, contents, calls)
        story = Story(found, gone, record, list(said(calls, record)))
        for line in moments(calls, folder, chance, CUTS // servers):
            contents = disk.after_cut(line, chance)
            found = rows_in(put_down(contents, tmp_path / "after"))
            there, away = story.after_cut(line)
            assert there <= found.keys(), f"lost after a cut at line {line}: {sorted(there - found.keys())[:10]}"
            assert not away & found.keys(), f"back after a cut at line {line}: {sorted(away & found.keys())[:10]}"
            check_rows(found.values(), submitted)
            wanted += len(there)
        gone = away
    assert wanted > 100 * CUTS, "there was little to lose"


@pytest.mark.parametrize("cuts", [CUTS // 10] if CUTS >= MANY else [])  # a trace of some hundred MB
def test_small_jobs_outlive_cuts_while_large_ones_come_and_go(
    start_server: StartServer, tmp_path: Path, cuts: int
) -> None:
    """Payloads of many pages are written and deleted, the file grows, gives its pages back, and is made anew."""
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"POWER_CUTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    folder, trace = tmp_path / "queue", tmp_path / "trace"
    folder.mkdir()
    server = start_server(name=f"queue/{FILE}", prefix=prefix(trace, WRITES | SYNCS | CHANGES))
    with server.connect() as client:
        small = submit(client, LATER, b"small", 10)
        submit(client, NOW, LARGE, LARGE_ONES)
        assert len(drain(server.port, Mixed(), NOW)) == LARGE_ONES
        assert server.database.stat().st_size > len(LARGE)
        wait_until(lambda: server.database.stat().st_size < len(LARGE))
        small += submit(client, LATER, b"small", 10)
    assert server.stop() == 0
    calls = read_trace(trace)
    assert {"ftruncate"} <= {call.name for call in calls if call.file == str(folder / FILE)}
    disk = Disk(folder, {}, calls)
    spoken = list(said(calls, Mixed()))
    for line in moments(calls, folder, chance, cuts):
        found = rows_in(put_down(disk.after_cut(line, chance), tmp_path / "after"))
        acknowledged = {word.id for word in spoken if word.what == packets.JOB_CREATED and word.line < line}
        taken = {word.id for word in spoken if word.what == packets.JOB_ASSIGN and word.line < line}
        assert acknowledged - taken <= found.keys(), f"lost after a cut at line {line}"
        assert all(bytes(found[id_].data) == b"small" for id_ in found.keys() & set(small))
        assert all(found[id_].data == LARGE for id_ in found.keys() - set(small))


def submit(client: Client, function: bytes, data: bytes, count: int) -> list[int]:
    """Jobs, one by one; their ids."""
    handles = [client.ask(packets.SUBMIT_JOB_BG, function, b"", data, answer=packets.JOB_CREATED) for _ in range(count)]
    return [id_of(handle) or 0 for handle in handles]


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again."""
    until = monotonic() + LONGEST_WAIT
    while not condition():
        assert monotonic() < until
        sleep(0.1)


def test_the_check_notices_that_commits_are_not_synced(start_server: StartServer, tmp_path: Path) -> None:
    chance = random.Random(1)
    folder, trace = tmp_path / "queue", tmp_path / "trace"
    folder.mkdir()
    how = prefix(trace, WRITES | SYNCS | CHANGES)
    server = start_server("--synchronous", "normal", name=f"queue/{FILE}", prefix=how)
    with server.connect() as client:
        acknowledged = set(submit(client, LATER, b"small", 100))
        server.kill()
    calls = read_trace(trace)
    disk = Disk(folder, {}, calls)
    line = calls[-1].ended + 1
    found = [rows_in(put_down(disk.after_cut(line, chance), tmp_path / "after")).keys() for _ in range(20)]
    assert any(acknowledged - rows for rows in found)


def run_under_load(server: Server, record: Mixed, *, jobs: int, kill: bool) -> None:
    """Until so many jobs are acknowledged, some worked on and some cancelled."""
    load = load_on(server.port, record)
    try:
        load.wait_until(lambda: len(record.acknowledged) >= jobs)
        load.wait_until(lambda: min(record.cancelled, record.results, len(record.executed)) >= FEWEST)
        if kill:
            server.kill()
    finally:
        load.stop()
    assert kill or server.stop() == 0


def moments(calls: Sequence[Call], folder: Path, chance: random.Random, count: int) -> list[int]:
    """Lines of a trace: when files were written or synced, a job acknowledged, the database made; the last one is late
    in it, for the next server.
    """
    files = [call.began for call in calls if folder in (Path(call.file), Path(call.file).parent)]
    answers = [call.ended for call in calls if call.name in WRITES and call.file.startswith("TCP")]
    chosen = [chance.choice(chance.choice((files, answers, answers, files[:50]))) for _ in range(count)]
    return [*(line + chance.randint(0, 1) for line in chosen), chance.choice(files[len(files) // 2 :])]


def put_down(contents: Mapping[str, bytes], folder: Path) -> Path:
    """A directory with these files, and the path of the database."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder / FILE


def rows_in(path: Path) -> dict[int, JobRecord]:
    """Open a database as a server does, and look whether it is whole: all its rows."""

    async def read() -> dict[int, JobRecord]:
        async with storage_for(f"sqlite:///{path}") as storage:
            await upgrade(storage.engine, storage.tables)
            (whole,) = (await (await storage.connection()).execute(text("PRAGMA integrity_check"))).scalars()
            assert whole == "ok", whole
            return {row.id: row for row in await storage.load(0, 1 << 40)}

    return asyncio.run(read())


def check_rows(rows: Iterable[JobRecord], submitted: int) -> None:
    """Each row is a job as it was submitted."""
    for row in rows:
        if row.function != GONE:
            sequence = sequence_of(bytes(row.data))
            assert sequence < submitted
            assert row.function in (NOW, LATER)
            assert row.unique == b"unique %d" % sequence
            assert row.priority == priority_of(sequence)
