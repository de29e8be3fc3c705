"""Workers: what they are handed, what they can do, and when they are woken."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    ALL_YOURS,
    CAN_DO,
    CAN_DO_TIMEOUT,
    CANT_DO,
    ERROR,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    RESET_ABILITIES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
)
from gearmand_py.server.peers import Peer
from tests.core import Core

GRABS: Final = [GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL]


@pytest.fixture
def core() -> Core:
    return Core()


def woken(core: Core, *peers: Peer) -> list[int]:
    """How many NOOPs each peer has got since the last look."""
    return [core.received(peer).count((NOOP,)) for peer in peers]


def work(core: Core, peer: Peer) -> list[tuple[bytes, bytes]]:
    """Grab and complete until there is nothing left: function and data of the jobs, in order."""
    found: list[tuple[bytes, bytes]] = []
    while True:
        core.send(peer, GRAB_JOB)
        (answer,) = core.received(peer)
        if answer == (NO_JOB,):
            return found
        _, handle, function, data = answer
        found.append((function, data))
        core.send(peer, WORK_COMPLETE, handle, b"")


# ---- what is handed out


def test_nothing_to_do(core: Core) -> None:
    worker = core.worker(b"f")
    for kind in GRABS:
        core.send(worker, kind)

    assert core.received(worker) == [(NO_JOB,)] * 3


def test_who_can_do_nothing_gets_nothing(core: Core) -> None:
    peer = core.connect()
    core.submit(peer, b"f")
    core.send(peer, GRAB_JOB)

    assert core.received(peer) == [(NO_JOB,)]


def test_each_grab_has_its_answer(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    one = core.submit(client, b"f", b"data", b"key")
    two = core.submit(client, b"f", b"data")
    three = core.submit(client, b"f", b"da\0ta", b"-")
    for kind in GRABS:
        core.send(worker, kind)

    assert core.received(worker) == [
        (JOB_ASSIGN, one, b"f", b"data"),
        (JOB_ASSIGN_UNIQ, two, b"f", b"", b"data"),
        (JOB_ASSIGN_UNIQ, three, b"f", b"-", b"da\0ta"),
    ]


def test_a_job_is_handed_out_once(core: Core) -> None:
    one, two = core.worker(b"f"), core.worker(b"f")
    core.submit(core.connect(), b"f")
    core.send(one, GRAB_JOB)
    core.send(two, GRAB_JOB)

    assert core.received(one)[0][0] == JOB_ASSIGN
    assert core.received(two) == [(NO_JOB,)]


def test_the_highest_priority_goes_first_over_all_functions(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g")
    for number, (function, kind) in enumerate(
        [
            (b"f", SUBMIT_JOB_LOW),
            (b"g", SUBMIT_JOB_LOW_BG),
            (b"f", SUBMIT_JOB),
            (b"g", SUBMIT_JOB_BG),
            (b"g", SUBMIT_JOB_HIGH_BG),
            (b"g", SUBMIT_JOB_HIGH),
        ]
    ):
        core.submit(client, function, b"%d" % number, kind=kind)

    assert [data for _, data in work(core, worker)] == [b"4", b"5", b"2", b"3", b"0", b"1"]


def test_round_robin_over_the_functions_of_a_worker(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g", b"h")
    for function in (b"f", b"g", b"h"):
        for number in range(2):
            core.submit(client, function, b"%d" % number)

    assert [function for function, _ in work(core, worker)] == [b"f", b"g", b"h"] * 2


def test_round_robin_passes_over_functions_without_jobs(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g", b"h")
    for function in (b"f", b"f", b"h", b"h"):
        core.submit(client, function)

    assert [function for function, _ in work(core, worker)] == [b"f", b"h", b"f", b"h"]


def test_round_robin_after_the_worker_gave_up_functions(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g", b"h")
    for function in (b"f", b"g", b"h", b"f", b"f"):
        core.submit(client, function)
    for _ in range(3):
        core.grab(worker)
    core.send(worker, CANT_DO, b"g")
    core.send(worker, CANT_DO, b"h")

    assert core.grab(worker)
    assert core.grab(worker)
    assert core.grab(worker) is None


def test_a_worker_may_run_several_jobs_at_once(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    one, two = core.submit(client, b"f", b"1"), core.submit(client, b"f", b"2")
    assert (core.grab(worker), core.grab(worker)) == ((one, b"1"), (two, b"2"))

    core.send(worker, WORK_COMPLETE, two, b"b")
    core.send(worker, WORK_COMPLETE, one, b"a")
    assert core.received(client) == [(WORK_COMPLETE, two, b"b"), (WORK_COMPLETE, one, b"a")]


# ---- abilities


def test_can_do_twice_counts_once(core: Core) -> None:
    worker = core.worker(b"f", b"f")

    assert core.ask(worker, b"status\n") == b"f\t0\t0\t1\n.\n"
    core.send(worker, CANT_DO, b"f")
    core.submit(core.connect(), b"f")
    assert core.grab(worker) is None


def test_cant_do_what_it_never_could(core: Core) -> None:
    worker = core.worker(b"f")
    core.send(worker, CANT_DO, b"g")
    core.send(core.worker(b"g"), CANT_DO, b"f")

    assert core.received(worker) == []
    assert core.broker.functions[b"f"].workers


def test_reset_abilities(core: Core) -> None:
    worker = core.worker(b"f", b"g")
    core.submit(core.connect(), b"f")
    core.send(worker, RESET_ABILITIES)

    assert core.grab(worker) is None
    assert core.ask(worker, b"status\n") == b"f\t1\t0\t0\ng\t0\t0\t0\n.\n"


def test_all_yours_is_accepted(core: Core) -> None:
    worker = core.worker(b"f")
    core.send(worker, ALL_YOURS)

    assert core.received(worker) == []


@pytest.mark.parametrize(("name", "code"), [(b"", b"INVALID_PACKET"), (b"f" * 513, b"ARGUMENT_TOO_LARGE")])
@pytest.mark.parametrize("kind", [CAN_DO, CAN_DO_TIMEOUT])
def test_functions_that_cannot_be(core: Core, kind: int, name: bytes, code: bytes) -> None:
    worker = core.connect()
    core.send(worker, kind, name, *([b"1000"] if kind == CAN_DO_TIMEOUT else []))

    assert [packet[:2] for packet in core.received(worker)] == [(ERROR, code)]
    assert core.broker.functions == {}


# ---- sleeping


def test_a_sleeping_worker_is_woken_by_a_job_once(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f")
    core.submit(client, b"f")
    core.submit(client, b"f")

    assert woken(core, worker) == [1]


def test_going_to_sleep_with_a_job_waiting(core: Core) -> None:
    worker = core.worker(b"f", b"g")
    core.submit(core.connect(), b"g")
    core.send(worker, PRE_SLEEP)

    assert woken(core, worker) == [1]


def test_who_was_woken_at_once_does_not_sleep(core: Core) -> None:
    worker = core.worker(b"f")
    core.submit(core.connect(), b"f")
    core.send(worker, PRE_SLEEP)
    core.submit(core.connect(), b"f")

    assert woken(core, worker) == [1]


def test_a_job_for_somebody_else_wakes_nobody(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.submit(core.connect(), b"g")

    assert woken(core, worker) == [0]


def test_a_worker_that_is_awake_gets_no_noop(core: Core) -> None:
    worker = core.worker(b"f")
    core.submit(core.connect(), b"f")

    assert woken(core, worker) == [0]


def test_a_worker_asleep_for_two_functions_is_woken_once(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f", b"g")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"")
    core.send(client, SUBMIT_JOB_BG, b"g", b"", b"")
    core.commit()

    assert woken(core, worker) == [1]


def test_grabbing_ends_the_sleep(core: Core) -> None:
    worker = core.sleeper(b"f")
    assert core.grab(worker) is None
    core.submit(core.connect(), b"f")

    assert woken(core, worker) == [0]


def test_the_next_sleep_is_woken_again(core: Core) -> None:
    client, worker = core.connect(), core.sleeper(b"f")
    for _ in range(3):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
        assert woken(core, worker) == [1]
        core.drain(worker)
        core.send(worker, PRE_SLEEP)
    assert woken(core, worker) == [0]


def test_falling_asleep_twice_is_falling_asleep_once(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.send(worker, PRE_SLEEP)
    core.submit(core.connect(), b"f")

    assert woken(core, worker) == [1]


def test_a_sleeper_that_learns_a_function_is_woken_for_it(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.send(worker, CAN_DO, b"g")
    core.submit(core.connect(), b"g")

    assert woken(core, worker) == [1]


def test_a_sleeper_that_learns_a_function_with_a_job_waiting_is_woken_at_once(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.submit(core.connect(), b"g")
    core.send(worker, CAN_DO, b"g")

    assert woken(core, worker) == [1]


def test_a_sleeper_that_gives_up_a_function_is_not_woken_for_it(core: Core) -> None:
    worker = core.sleeper(b"f", b"g")
    core.send(worker, CANT_DO, b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, worker) == [0]

    core.submit(core.connect(), b"g")
    assert woken(core, worker) == [1]


def test_a_sleeper_that_changes_its_functions_still_sleeps(core: Core) -> None:
    """Only a NOOP or a GRAB_JOB ends a sleep; Python's gear sets its functions anew while it sleeps."""
    worker = core.sleeper(b"f")
    core.send(worker, RESET_ABILITIES)
    core.send(worker, CAN_DO, b"g")
    core.submit(core.connect(), b"g")

    assert woken(core, worker) == [1]


def test_a_sleeper_that_goes_is_not_woken(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.disconnect(worker)
    core.submit(core.connect(), b"f")

    assert woken(core, worker) == [0]
    core.check()


def test_every_sleeper_is_woken(core: Core) -> None:
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(core.connect(), b"f")

    assert woken(core, *workers) == [1, 1, 1]


@pytest.mark.parametrize(("count", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (9, [1, 1, 1])])
def test_worker_wakeup_limits_how_many(count: int, expected: list[int]) -> None:
    core = Core(worker_wakeup=count)
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(core.connect(), b"f")

    assert woken(core, *workers) == expected


def test_worker_wakeup_rotates() -> None:
    core = Core(worker_wakeup=1)
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(3)]
    seen = []
    for _ in range(6):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
        seen.append(woken(core, *workers).index(1))
        core.drain(workers[seen[-1]])
        core.send(workers[seen[-1]], PRE_SLEEP)

    assert seen == [0, 1, 2, 0, 1, 2]


def test_who_falls_asleep_again_beside_a_waiting_job_is_woken_and_sleeps_no_more() -> None:
    core = Core(worker_wakeup=1)
    one, two = core.sleeper(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [1, 0]

    core.send(two, PRE_SLEEP)
    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [0, 1]


def test_worker_wakeup_counts_each_job() -> None:
    core = Core(worker_wakeup=1)
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(client, b"f")
    core.submit(client, b"f")

    assert woken(core, *workers) == [1, 1, 0]


def test_worker_wakeup_counts_each_job_of_a_batch() -> None:
    core = Core(worker_wakeup=1)
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"1")
    core.send(client, SUBMIT_JOB_BG, b"f", b"", b"2")
    core.commit()

    assert woken(core, *workers) == [1, 1, 0]


def test_worker_wakeup_finds_another_when_the_woken_one_goes() -> None:
    core = Core(worker_wakeup=1)
    one, two = core.sleeper(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [1, 0]

    core.disconnect(one)
    assert woken(core, two) == [1]
