"""An import that is killed or stopped at any point, and started again: nothing is lost, and nothing runs twice.

`IMPORT_ROUNDS` is how often (2), `IMPORT_SEED` repeats a run that failed.
"""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from tests.command.running import GearmandPy
from tests.conftest import StartServer
from tests.databases.queues import Queue
from tests.harness.process import Process
from tests.importing.imported import DONE, NOT_ALL, jobs, rows_done, run_import, words, work
from tests.importing.legacy import Legacy, in_file, job

SEED: Final = os.environ.get("IMPORT_SEED")
ROUNDS: Final = int(os.environ.get("IMPORT_ROUNDS", "2"))
ROWS: Final = 30_000  # 6 pages
WORKED: Final = 1000  # between two runs
TAKEN: Final = b"taken"
TRIES: Final = 5  # to meet an import under way, which on a loaded machine may be done before we look
DEADLINE: Final = 120.0


@pytest.fixture
def chance() -> random.Random:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"IMPORT_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


def fill(source: Legacy, rows: int = ROWS) -> None:
    """A third has no unique key, so that only the bookkeeping knows what was imported."""
    source.make(
        *(job(b"" if n % 3 == 0 else b"k%d" % n, b"f", n % 3, b"%d" % n) for n in range(rows)),
        constraint=False,
    )


def wait_for(importing: Process, queue: Queue, rows: int) -> bool:
    """Until that many rows are done, or the import has ended."""
    until = time.monotonic() + DEADLINE
    while importing.is_running:
        assert time.monotonic() < until
        try:
            if rows_done(queue) >= rows:
                return True
        except sqlite3.OperationalError:  # the moment in which the file becomes one with a log
            continue
    return False


def test_killed_and_worked_on_in_between(
    gearmand_py: GearmandPy,
    start_server: StartServer,
    file_source: Legacy,
    queue: Queue,
    chance: random.Random,
) -> None:
    fill(file_source)
    executed: Counter[bytes] = Counter()
    reached: list[int] = []
    server = None
    for _ in range(ROUNDS):
        importing = gearmand_py.start(*words(file_source, queue))
        wait_for(importing, queue, chance.randint(-1, ROWS))
        importing.close()
        server = server or start_server(database=queue.url)
        server.restart()
        reached.append(rows_done(queue))
        executed.update(data for _, data in work(server.port, b"f", WORKED))
        assert server.stop() == 0
    ended = run_import(gearmand_py, file_source, queue)
    assert ended.status == DONE, ended
    assert reached == sorted(reached)
    assert server
    server.restart()
    executed.update(data for _, data in work(server.port, b"f"))
    assert executed == Counter(b"%d" % n for n in range(ROWS))
    assert server.stop() == 0
    assert f"{ROWS:,} imported, 0 refused".encode() in run_import(gearmand_py, file_source, queue).stdout


def test_the_order_is_that_of_an_import_in_one_piece(
    gearmand_py: GearmandPy, file_source: Legacy, queue: Queue, chance: random.Random
) -> None:
    fill(file_source)
    for _ in range(ROUNDS):
        importing = gearmand_py.start(*words(file_source, queue))
        wait_for(importing, queue, chance.randint(-1, ROWS))
        importing.close()
    assert run_import(gearmand_py, file_source, queue).status == DONE
    assert [job.data for job in jobs(queue)] == [b"%d" % n for n in range(ROWS)]


def stopped(gearmand_py: GearmandPy, source: Legacy, queue: Queue, number: signal.Signals) -> Process:
    """An import that was sent a signal under way, and has ended."""
    for _ in range(TRIES):
        importing = gearmand_py.start(*words(source, queue))
        wait_for(importing, queue, 1)
        importing.send_signal(number)
        if importing.wait() != DONE:
            return importing
        forget(queue)
    pytest.fail("each time it was done")


def forget(queue: Queue) -> None:
    """As if nothing had been imported."""
    for statement in ("DELETE FROM gearman_import", "DELETE FROM gearman_job"):
        if queue.kind == "sqlite":
            in_file(Path(str(queue.url.database)), statement)
        else:
            queue.query(statement)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_stopped_after_the_page_under_way(
    gearmand_py: GearmandPy, file_source: Legacy, queue: Queue, number: signal.Signals
) -> None:
    fill(file_source)
    importing = stopped(gearmand_py, file_source, queue, number)
    assert importing.wait() == NOT_ALL, importing.stderr
    done = rows_done(queue)
    assert 0 < done < ROWS
    said = f"stopped after {done:,} of {ROWS:,} rows: the same command goes on from there\n"
    assert importing.stdout.decode().endswith(said)
    ended = run_import(gearmand_py, file_source, queue)
    assert ended.status == DONE
    assert f"{ROWS:,} rows read, {ROWS:,} imported, 0 refused".encode() in ended.stdout
    assert len(jobs(queue)) == ROWS


def test_stopped_while_a_server_sends_its_rows(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    """The rest is not read for that."""
    fill(source)
    importing = stopped(gearmand_py, source, file_queue, signal.SIGTERM)
    assert importing.wait() == NOT_ALL
    assert 0 < rows_done(file_queue) < ROWS
    assert importing.stderr.count("\n") == 1, importing.stderr
    ended = run_import(gearmand_py, source, file_queue)
    assert (ended.status, ended.stderr) == (DONE, "")
    assert [job.data for job in jobs(file_queue)] == [b"%d" % n for n in range(ROWS)]


def cut_short(gearmand_py: GearmandPy, source: Legacy, queue: Queue) -> int:
    """Stop an import somewhere; returns how many rows are done."""
    for _ in range(TRIES):
        importing = gearmand_py.start(*words(source, queue))
        wait_for(importing, queue, 1)
        importing.close()
        if 0 < (done := rows_done(queue)) < ROWS:
            return done
        forget(queue)
    pytest.fail("each time it was done")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM gearman_queue WHERE rowid > 5", "were done, 5 are there)"),
        ("DELETE FROM gearman_queue WHERE rowid = 1", "(other rows now)"),
        ("UPDATE gearman_queue SET data = 'other' WHERE rowid = 2", "(other rows now)"),
        ("UPDATE gearman_queue SET rowid = 1000000 WHERE rowid = 3", "(other rows now)"),
    ],
    ids=["few are left", "one is gone", "other data", "in another order"],
)
def test_a_source_that_has_changed_is_not_gone_on_with(
    gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue, change: str, told: str
) -> None:
    fill(file_source)
    done = cut_short(gearmand_py, file_source, file_queue)
    in_file(Path(str(file_source.url.database)), change)
    ended = run_import(gearmand_py, file_source, file_queue)
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    assert f"was cut short after {done:,} rows, and the source has changed since " in ended.stderr
    assert told in ended.stderr
    assert "--restart begins anew" in ended.stderr
    assert len(jobs(file_queue)) == done


def test_anew_after_the_source_has_changed(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    file_source.make(*(job(b"%d" % n) for n in range(ROWS)))
    done = cut_short(gearmand_py, file_source, file_queue)
    in_file(Path(str(file_source.url.database)), "DELETE FROM gearman_queue WHERE rowid = 1")
    ended = run_import(gearmand_py, file_source, file_queue, "--restart")
    assert ended.status == DONE
    counts = f"{ROWS - 1:,} rows read, {ROWS - done:,} imported, {done - 1:,} in the queue already, 0 refused"
    assert counts in ended.stdout.decode()
    assert len(jobs(file_queue)) == ROWS


def test_what_was_refused_before_stays_counted(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    file_source.make(*(job(b"%d" % n, b"" if n in {7, ROWS - 1} else b"f") for n in range(ROWS)))
    cut_short(gearmand_py, file_source, file_queue)
    ended = run_import(gearmand_py, file_source, file_queue)
    assert ended.status == NOT_ALL
    assert f"{ROWS:,} rows read, {ROWS - 2:,} imported, 2 refused".encode() in ended.stdout
    assert ended.stderr.startswith(f"row {ROWS:,}, ")


def test_ids_behind_those_of_an_import_that_was_cut_short_are_left_to_it(
    gearmand_py: GearmandPy, start_server: StartServer, file_source: Legacy, queue: Queue
) -> None:
    """A server in between gives others, even if nothing of what it did is left in the table."""
    fill(file_source)
    cut_short(gearmand_py, file_source, queue)
    server = start_server(database=queue.url)
    work(server.port, b"f")
    with server.connect() as client:
        handle = client.ask(packets.SUBMIT_JOB_BG, b"f", b"", b"", answer=packets.JOB_CREATED)
    assert len(work(server.port, b"f")) == 1
    assert server.stop() == 0
    assert queue.length == 0
    assert run_import(gearmand_py, file_source, queue).status == DONE
    (highest,) = queue.query("SELECT max(id) FROM gearman_job")[0]
    assert highest < int(handle.rpartition(b":")[2])


def test_ids_that_are_taken_by_then_are_left_alone(
    gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue
) -> None:
    """As after a clock that was set back: a job of a server lies where the next page was to be."""
    fill(file_source)
    done = cut_short(gearmand_py, file_source, file_queue)
    file = Path(str(file_queue.url.database))
    taken = "(SELECT max(id) + 100 FROM gearman_job)"
    in_file(
        file,
        f"INSERT INTO gearman_job SELECT {taken}, 'f', NULL, 1, 0, 0, 0, NULL, x'{TAKEN.hex()}' FROM gearman_import",
    )
    assert run_import(gearmand_py, file_source, file_queue).status == DONE
    payloads = [job.data for job in jobs(file_queue)]
    assert [data for data in payloads if data != TAKEN] == [b"%d" % n for n in range(ROWS)]
    assert len(payloads) == ROWS + 1
    assert payloads.index(TAKEN) == done
