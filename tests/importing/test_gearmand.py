"""Queues that a real C gearmand has written are imported, and run to the last job.

`IMPORT_JOBS` is how many (2,000); `make test-import` takes 100,000.
"""

import hashlib
import os
import time
from itertools import groupby
from typing import Final

from gearmand_py.server import packets
from tests.command.running import GearmandPy, Worker
from tests.conftest import StartServer
from tests.databases.queues import Queue
from tests.importing.gearmand import Gearmand, Submission
from tests.importing.imported import DEADLINE, DONE, jobs, run_import, words, work
from tests.importing.legacy import Legacy

JOBS: Final = int(os.environ.get("IMPORT_JOBS", "2000"))
FUNCTIONS: Final = (b"resize", "größe".encode())
SUBMITS: Final = (packets.SUBMIT_JOB_HIGH_BG, packets.SUBMIT_JOB_BG, packets.SUBMIT_JOB_LOW_BG)  # by priority
PAST: Final = b"1000000000"
# The year 2100, which gearmand's column in MySQL takes for a time before 1970, and the one in PostgreSQL not at all.
FAR: Final = {"sqlite": 4_102_444_800, "postgresql": 2_000_000_000, "mysql": 4_102_444_800}
SECONDS_TO_COME: Final = 5
EVERY: Final = 50  # a delayed job of each kind


def payload(number: int) -> bytes:
    """Binary, of any length up to 150 bytes; sometimes none at all."""
    if number % 10 == 0:
        return b""
    return hashlib.sha512(b"%d" % number).digest() * 3 * (number % 50 > 0) + bytes(number % 150)


def submission(number: int, soon: int, far: int) -> Submission:
    """By their number: two functions, three priorities, and some delayed jobs."""
    function, unique, data = FUNCTIONS[number % 2], b"job %d" % number, payload(number)
    delays = {0: b"%d" % far, 1: b"%d" % soon, 2: PAST}
    if when := delays.get(number % EVERY):
        return Submission(packets.SUBMIT_JOB_EPOCH, function, unique, data, when)
    return Submission(SUBMITS[number % 3], function, unique, data)


def number_of(unique: bytes) -> int:
    """Of a job, by its key."""
    return int(unique.split()[1])


def is_delayed(number: int) -> bool:
    """Not in the order of the others."""
    return number % EVERY in {0, 1}


def priority(number: int) -> int:
    """As submitted; SUBMIT_JOB_EPOCH knows none."""
    return 1 if number % EVERY in {0, 1, 2} else number % 3


def test_all_jobs_run_in_order(
    gearmand_py: GearmandPy, start_server: StartServer, source: Legacy, file_queue: Queue
) -> None:
    soon, far = int(time.time()) + SECONDS_TO_COME, FAR[source.family]
    with Gearmand(source) as gearmand:
        gearmand.submit(submission(number, soon, far) for number in range(JOBS))
    before = source.execute(f"SELECT * FROM {source.table}")
    assert len(before) == JOBS

    importing = gearmand_py.start(*words(source, file_queue))
    assert importing.wait(600) == DONE, importing.stderr
    assert f"{JOBS:,} rows read, {JOBS:,} imported, 0 refused".encode() in importing.stdout

    server = start_server(database=file_queue.url)
    for function in FUNCTIONS:
        done = run_all(server.port, function)
        numbers = [number_of(unique) for unique, _ in done]
        assert all(data == payload(number) for number, (_, data) in zip(numbers, done, strict=True))
        mine = range(FUNCTIONS.index(function), JOBS, len(FUNCTIONS))
        assert sorted(numbers) == [number for number in mine if number % EVERY != 0]
        in_order = [number for number in numbers if not is_delayed(number)]
        assert [key for key, _ in groupby(map(priority, in_order))] == [0, 1, 2]
        assert in_order == sorted(in_order, key=lambda number: (priority(number), number))
    assert server.stop() == 0
    left = [(job.run_at, number_of(job.unique or b"")) for job in jobs(file_queue)]
    assert left == [(far, number) for number in range(0, JOBS, EVERY)]

    assert source.execute(f"SELECT * FROM {source.table}") == before


def run_all(port: int, function: bytes) -> list[tuple[bytes, bytes]]:
    """All that can run now, and those that can soon."""
    mine = range(FUNCTIONS.index(function), JOBS, len(FUNCTIONS))
    far, soon = (sum(number % EVERY == kind for number in mine) for kind in (0, 1))
    done = work(port, function, stay=far + soon)
    early = sum(number_of(unique) % EVERY == 1 for unique, _ in done)
    if early < soon:
        wait_for_the_next(port, function)
    return done + work(port, function, stay=far)


def wait_for_the_next(port: int, function: bytes) -> None:
    """Be woken for a job, and leave it to others."""
    worker = Worker(port, function)
    worker.client.send(packets.PRE_SLEEP)
    assert worker.client.receive(SECONDS_TO_COME + DEADLINE)[0] == packets.NOOP
    worker.close()


def test_what_gearmand_itself_makes_of_odd_jobs(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    """A key of 64 bytes loses its last one."""
    odd = [
        Submission(packets.SUBMIT_JOB_BG, b"f", b"", b"no key"),
        Submission(packets.SUBMIT_JOB_BG, b"f", b"u" * 64, b"a long key"),
        Submission(packets.SUBMIT_JOB_BG, b"f", b"-", b"by data"),
        Submission(packets.SUBMIT_JOB_BG, b"f" * 200, b"k", b""),
    ]
    with Gearmand(source) as gearmand:
        gearmand.submit(odd)
    assert run_import(gearmand_py, source, file_queue).status == DONE
    found = [(job.unique, job.function, job.data) for job in jobs(file_queue)]
    assert found == [
        (None, b"f", b"no key"),
        (b"u" * 63, b"f", b"a long key"),
        (b"-", b"f", b"by data"),
        (b"k", b"f" * 200, b""),
    ]


def test_bytes_that_are_no_text(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    """SQLite keeps them; the other databases of gearmand's refuse the job, or cut the name."""
    with Gearmand(file_source) as gearmand:
        gearmand.submit([Submission(packets.SUBMIT_JOB_BG, b"caf\xe9", b"\xff\xfe", bytes(range(256)))])
    assert run_import(gearmand_py, file_source, file_queue).status == DONE
    assert [(job.unique, job.function, job.data) for job in jobs(file_queue)] == [
        (b"\xff\xfe", b"caf\xe9", bytes(range(256)))
    ]
