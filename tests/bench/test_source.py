"""Which jobs a process submits, and when they are due."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearmand_py.server import packets
from gearmand_py.server.bench.load import Load, Phase, Share
from gearmand_py.server.bench.source import SECOND, STAMP, Job, Source
from gearmand_py.server.client import Address
from gearmand_py.server.codec import Connection

LOAD: Final = Load(
    jobs=100,
    seconds=None,
    clients=8,
    workers=8,
    in_flight=16,
    payload=(100, 100),
    priorities=(0, 1, 0),
    unique=True,
    functions=1,
    functions_per_worker=1,
    rate=None,
)
START: Final = 10**12
RUN: Final = b"this run"


def phase(load: Load, first: int = 0) -> Phase:
    return Phase(Address("127.0.0.1"), load, RUN, first, submits=True, works=False)


def source(load: Load, share: Share = Share(0, 1), first: int = 0) -> Source:  # noqa: B008 (it is frozen)
    return Source(phase(load, first), share, START)


def arguments(job: Job) -> tuple[int, bytes, bytes, bytes]:
    """Kind, function, unique and data of its packet."""
    ((kind, body),) = Connection(packets.REQUEST).feed(job.packet)
    function, unique, data = body.split(b"\0", 2)
    return kind, function, unique, data


@given(st.integers(0, 300), st.integers(1, 5), st.integers(1, 40), st.none() | st.floats(1, 10**6))
def test_the_processes_together_submit_each_job_once(jobs: int, count: int, room: int, rate: float | None) -> None:
    load = replace(LOAD, jobs=jobs, rate=rate)
    late = START + 10**6 * SECOND
    numbers = []
    for index in range(count):
        its = source(load, Share(index, count), first=7)
        while taken := its.take(room, late):
            assert len(taken) <= room
            numbers += [job.number for job in taken]
        assert its.ended(late)
        assert its.wait(late) is None
    assert sorted(numbers) == list(range(7, 7 + jobs))


def test_a_job_is_due_when_it_is_wanted() -> None:
    assert [job.due for job in source(LOAD).take(2, START + 5)] == [START + 5] * 2


def test_with_a_rate_jobs_are_due_in_time_however_late_they_are_taken() -> None:
    paced = source(replace(LOAD, rate=10.0))
    assert [job.due - START for job in paced.take(100, START)] == [0]
    assert paced.wait(START) == SECOND // 10
    assert paced.take(100, START + SECOND // 10 - 1) == []
    stalled = START + SECOND  # the server took none for so long: they are late, not left out
    assert paced.wait(stalled) == 0
    assert [job.due - START for job in paced.take(3, stalled)] == [SECOND // 10, SECOND // 5, 3 * SECOND // 10]


@given(st.integers(1, 3), st.floats(0.1, 3), st.none() | st.integers(1, 500), st.integers(0, 5 * SECOND))
def test_nothing_is_due_after_the_last_second(count: int, seconds: float, rate: int | None, later: int) -> None:
    for index in range(count):
        timed = source(replace(LOAD, jobs=None, seconds=seconds, rate=rate), Share(index, count))
        end = START + int(seconds * SECOND)
        taken = timed.take(10_000, end + later)
        assert timed.ended(end + later)
        assert all(job.due < end for job in taken)
        assert bool(rate) or not taken


def test_a_payload_is_its_stamp_and_noise() -> None:
    for job in source(LOAD, first=40).take(3, START):
        kind, function, unique, data = arguments(job)
        assert (kind, function) == (packets.SUBMIT_JOB_BG, b"bench-%s-0" % RUN.hex().encode())
        assert STAMP.unpack_from(data) == (RUN, job.number, START)
        assert (len(unique), len(data)) == (32, 100)


def test_unique_keys_are_random_or_none() -> None:
    assert len({arguments(job)[2] for job in source(replace(LOAD, jobs=3000)).take(3000, START)}) == 3000
    assert {arguments(job)[2] for job in source(replace(LOAD, unique=False)).take(100, START)} == {b""}


def test_sizes_are_those_of_the_range() -> None:
    load = replace(LOAD, jobs=5000, payload=(24, 30))
    assert {len(arguments(job)[3]) for job in source(load).take(5000, START)} == set(range(24, 31))


def test_priorities_have_their_shares() -> None:
    load = replace(LOAD, jobs=10_210, priorities=(1, 0, 1))
    kinds = [arguments(job)[0] for job in source(load).take(10_210, START)]
    high = kinds.count(packets.SUBMIT_JOB_HIGH_BG)
    assert high + kinds.count(packets.SUBMIT_JOB_LOW_BG) == len(kinds)
    assert 0.35 < high / len(kinds) < 0.65  # ten deviations of the pattern


def test_functions_take_turns() -> None:
    functions = [arguments(job)[1] for job in source(replace(LOAD, functions=3)).take(6, START)]
    assert functions == [phase(LOAD).function(number) for number in (0, 1, 2, 0, 1, 2)]


@pytest.mark.parametrize(("workers", "each", "functions"), [(4, 3, 10), (1, 10, 10), (10, 1, 10), (7, 2, 10)])
def test_workers_together_offer_every_function(workers: int, each: int, functions: int) -> None:
    shared = phase(replace(LOAD, functions=functions, functions_per_worker=each))
    offered = {function for worker in range(workers) for function in shared.abilities(worker)}
    assert offered == {shared.function(number) for number in range(functions)}


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20))
def test_each_client_and_worker_is_in_one_process(count: int, clients: int, workers: int) -> None:
    load = replace(LOAD, clients=clients, workers=workers)
    shares = [Share(index, count) for index in range(count)]
    assert sorted(number for share in shares for number in share.clients(load)) == list(range(clients))
    assert sorted(number for share in shares for number in share.workers(load)) == list(range(workers))
