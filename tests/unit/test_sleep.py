"""When workers sleep, and when they are woken: by the jobs that they can run, and by no more than that takes."""

import pytest

from gearmand_py.server.packets import (
    CAN_DO,
    CANT_DO,
    NOOP,
    PRE_SLEEP,
    RESET_ABILITIES,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
)
from gearmand_py.server.peers import Peer
from gearmand_py.server.workforce import FEW, WAKE_PATIENCE
from tests.core import Core

FEW_OR_MANY = pytest.mark.parametrize("few", [FEW, 0], ids=["few functions", "many functions"])


@pytest.fixture(params=[FEW, 0], ids=["few functions", "many functions"])
def core(request: pytest.FixtureRequest) -> Core:
    return Core(few=request.param)


def woken(core: Core, *peers: Peer) -> list[int]:
    """How many NOOPs each peer has got since the last look."""
    return [core.received(peer).count((NOOP,)) for peer in peers]


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


@FEW_OR_MANY
def test_every_sleeper_can_be_woken(few: int) -> None:
    core = Core(worker_wakeup=0, few=few)
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(core.connect(), b"f")

    assert woken(core, *workers) == [1, 1, 1]


@pytest.mark.parametrize(("count", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (9, [1, 1, 1])])
@FEW_OR_MANY
def test_how_many_a_job_wakes(few: int, count: int, expected: list[int]) -> None:
    core = Core(worker_wakeup=count, few=few)
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(core.connect(), b"f")

    assert woken(core, *workers) == expected


def test_who_slept_longest_is_woken_first(core: Core) -> None:
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(3)]
    seen = []
    for _ in range(6):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
        seen.append(woken(core, *workers).index(1))
        core.drain(workers[seen[-1]])
        core.send(workers[seen[-1]], PRE_SLEEP)

    assert seen == [0, 1, 2, 0, 1, 2]


def test_workers_with_few_and_with_many_functions_sleep_in_one_line() -> None:
    core = Core(few=1)
    client = core.connect()
    workers = [core.sleeper(*names) for names in ((b"f",), (b"f", b"g"), (b"g", b"f"), (b"f", b"h"), (b"f",))]
    seen = []
    for _ in range(10):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
        seen.append(woken(core, *workers).index(1))
        core.drain(workers[seen[-1]])
        core.send(workers[seen[-1]], PRE_SLEEP)

    assert seen == [0, 1, 2, 3, 4] * 2


def test_a_sleeper_that_changes_its_functions_goes_to_the_end_of_the_line(core: Core) -> None:
    one, two = core.sleeper(b"f"), core.sleeper(b"f")
    core.send(one, CAN_DO, b"g")
    core.submit(core.connect(), b"f")

    assert woken(core, one, two) == [0, 1]


def test_who_falls_asleep_beside_a_job_that_somebody_comes_for_sleeps(core: Core) -> None:
    one, two = core.sleeper(b"f"), core.worker(b"f", b"g")
    core.submit(core.connect(), b"f")
    core.send(two, PRE_SLEEP)
    assert woken(core, one, two) == [1, 0]

    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [0, 1]


def test_who_falls_asleep_beside_jobs_is_woken_for_the_one_that_nobody_comes_for(core: Core) -> None:
    one, two = core.sleeper(b"f"), core.worker(b"f", b"g")
    core.submit(core.connect(), b"f")
    core.submit(core.connect(), b"g")
    core.send(two, PRE_SLEEP)

    assert woken(core, one, two) == [1, 1]


@FEW_OR_MANY
def test_who_learns_a_function_beside_a_job_is_woken_where_all_are(few: int) -> None:
    core = Core(worker_wakeup=0, few=few)
    one, two = core.sleeper(b"f"), core.sleeper(b"g")
    core.submit(core.connect(), b"f")
    core.send(two, CAN_DO, b"f")

    assert woken(core, one, two) == [1, 1]


@FEW_OR_MANY
def test_who_falls_asleep_beside_a_job_is_woken_where_all_are(few: int) -> None:
    core = Core(worker_wakeup=0, few=few)
    one, two = core.sleeper(b"f"), core.worker(b"f")
    core.submit(core.connect(), b"f")
    core.send(two, PRE_SLEEP)

    assert woken(core, one, two) == [1, 1]


def test_each_job_wakes_somebody(core: Core) -> None:
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(3)]
    core.submit(client, b"f")
    core.submit(client, b"f")

    assert woken(core, *workers) == [1, 1, 0]


def test_each_job_of_a_batch_wakes_somebody(core: Core) -> None:
    client = core.connect()
    workers = [core.sleeper(b"f") for _ in range(4)]
    for number, kind in enumerate((SUBMIT_JOB_BG, SUBMIT_JOB_BG, SUBMIT_JOB_HIGH_BG)):
        core.send(client, kind, b"f", b"", b"%d" % number)
    core.commit()

    assert woken(core, *workers) == [1, 1, 1, 0]


def test_a_job_that_comes_back_wakes_somebody(core: Core) -> None:
    worker, sleeper = core.worker(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f", kind=SUBMIT_JOB_BG)
    assert core.grab(worker)
    assert woken(core, sleeper) == [1]
    assert core.grab(sleeper) is None
    core.send(sleeper, PRE_SLEEP)

    core.disconnect(worker)
    assert woken(core, sleeper) == [1]


# ---- a worker that was woken and does not come


@pytest.mark.parametrize("kind", [CANT_DO, RESET_ABILITIES, PRE_SLEEP])
def test_another_is_woken_when_one_will_not_come(core: Core, kind: int) -> None:
    one, two = core.sleeper(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [1, 0]

    core.send(one, kind, *([b"f"] if kind == CANT_DO else []))
    assert woken(core, two) == [1]


def test_another_is_woken_when_one_goes(core: Core) -> None:
    one, two = core.sleeper(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, one, two) == [1, 0]

    core.disconnect(one)
    assert woken(core, two) == [1]


def test_another_is_woken_when_one_takes_something_else(core: Core) -> None:
    client, both, one = core.connect(), core.sleeper(b"f", b"g"), core.sleeper(b"f")
    core.submit(client, b"f")
    assert woken(core, both, one) == [1, 0]
    core.submit(client, b"g", kind=SUBMIT_JOB_HIGH)

    assert core.grab(both)
    assert woken(core, one) == [1]


def test_nobody_else_is_woken_when_one_gives_up_something_else(core: Core) -> None:
    one, two = core.sleeper(b"f", b"g"), core.sleeper(b"f", b"g")
    core.submit(core.connect(), b"f")
    core.send(one, CANT_DO, b"g")

    assert woken(core, one, two) == [1, 0]


def test_nobody_else_is_woken_when_somebody_has_the_job_already(core: Core) -> None:
    one, two, awake = core.sleeper(b"f"), core.sleeper(b"f"), core.worker(b"f")
    core.submit(core.connect(), b"f")
    assert core.grab(awake)
    core.disconnect(one)

    assert woken(core, two) == [0]


def test_a_worker_that_hangs_holds_up_no_job(core: Core) -> None:
    one, two, three = core.sleeper(b"f"), core.sleeper(b"f"), core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert core.broker.next_deadline(core.now, core.wall) == WAKE_PATIENCE
    core.advance(WAKE_PATIENCE / 2)
    assert woken(core, one, two, three) == [1, 0, 0]

    core.advance(WAKE_PATIENCE / 2)
    assert woken(core, one, two, three) == [0, 1, 0]
    core.advance(WAKE_PATIENCE)
    assert woken(core, one, two, three) == [0, 0, 1]
    core.check()


def test_a_worker_that_hangs_does_not_count_for_the_next_job(core: Core) -> None:
    client, hung, worker = core.connect(), core.sleeper(b"f"), core.sleeper(b"f", b"g")
    core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.advance(WAKE_PATIENCE)
    assert woken(core, hung, worker) == [1, 1]
    assert core.drain(worker)
    core.send(worker, PRE_SLEEP)

    core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    assert woken(core, hung, worker) == [0, 1]


def test_nothing_is_scheduled_once_those_woken_have_come(core: Core) -> None:
    worker = core.sleeper(b"f")
    core.submit(core.connect(), b"f")
    assert woken(core, worker) == [1]
    assert core.broker.scheduled
    assert core.grab(worker)
    assert not core.broker.scheduled


def test_one_noop_a_job_however_many_sleep(core: Core) -> None:
    client = core.connect()
    workers = [core.sleeper(b"f", b"g") for _ in range(50)]
    noops = 0
    for _ in range(200):
        core.submit(client, b"f", kind=SUBMIT_JOB_BG)
        got = woken(core, *workers)
        noops += sum(got)
        core.drain(workers[got.index(1)])
        core.send(workers[got.index(1)], PRE_SLEEP)

    assert noops == 200
