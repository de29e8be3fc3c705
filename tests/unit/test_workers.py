"""Workers: what they are handed, when they are woken, and what their reports become."""

from typing import Final

import pytest

from gearmand_py.server.packets import (
    ALL_YOURS,
    CAN_DO,
    CAN_DO_TIMEOUT,
    CANT_DO,
    ERROR,
    GET_STATUS,
    GRAB_JOB,
    GRAB_JOB_ALL,
    GRAB_JOB_UNIQ,
    JOB_ASSIGN,
    JOB_ASSIGN_UNIQ,
    NO_JOB,
    NOOP,
    OPTION_REQ,
    OPTION_RES,
    PRE_SLEEP,
    RESET_ABILITIES,
    STATUS_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    SUBMIT_JOB_LOW_BG,
    WORK_COMPLETE,
    WORK_DATA,
    WORK_EXCEPTION,
    WORK_FAIL,
    WORK_STATUS,
    WORK_WARNING,
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


# ---- jobs that come back


def come_back(core: Core, worker: Peer, how: str) -> None:
    match how:
        case "gone":
            core.disconnect(worker)
        case "CANT_DO":
            core.send(worker, CANT_DO, b"f")
        case "RESET_ABILITIES":
            core.send(worker, RESET_ABILITIES)


@pytest.mark.parametrize("how", ["gone", "CANT_DO", "RESET_ABILITIES"])
def test_a_job_whose_worker_gave_up_is_run_by_another(core: Core, how: str) -> None:
    client, worker, other = core.connect(), core.worker(b"f"), core.sleeper(b"f")
    handle = core.submit(client, b"f", b"data")
    core.grab(worker)
    core.received(other)
    core.send(other, PRE_SLEEP)
    come_back(core, worker, how)

    assert core.received(other) == [(NOOP,)]
    assert core.grab(other) == (handle, b"data")
    core.send(other, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]
    core.check()


@pytest.mark.parametrize("how", ["gone", "CANT_DO", "RESET_ABILITIES"])
@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_jobs_come_back_at_the_head_in_submission_order(core: Core, how: str, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    for number in range(4):
        core.submit(client, b"f", b"%d" % number, kind=kind)
    for _ in range(3):
        core.grab(worker)
    come_back(core, worker, how)

    assert core.drain(core.worker(b"f")) == [b"0", b"1", b"2", b"3"]


def test_a_job_comes_back_to_its_own_priority(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.submit(client, b"f", b"low", kind=SUBMIT_JOB_LOW)
    core.grab(worker)
    core.submit(client, b"f", b"high", kind=SUBMIT_JOB_HIGH)
    core.disconnect(worker)

    assert core.drain(core.worker(b"f")) == [b"high", b"low"]


def test_cant_do_gives_back_only_that_functions_jobs(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g")
    core.submit(client, b"f")
    handle = core.submit(client, b"g")
    core.grab(worker)
    core.grab(worker)
    core.send(worker, CANT_DO, b"f")
    core.send(worker, WORK_COMPLETE, handle, b"")

    assert core.received(client) == [(WORK_COMPLETE, handle, b"")]
    assert core.drain(core.worker(b"f")) == [b""]


def test_a_report_on_a_job_that_was_given_back_finds_no_job(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, CANT_DO, b"f")
    core.send(worker, WORK_COMPLETE, handle, b"")

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found")]
    assert core.received(client) == []


def test_the_status_of_a_job_that_came_back_is_zeroed(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_STATUS, handle, b"1", b"2")
    core.received(client)
    core.disconnect(worker)

    core.send(client, GET_STATUS, handle)
    assert core.received(client) == [(STATUS_RES, handle, b"1", b"0", b"0", b"0")]


# ---- attempts


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_attempts_are_unlimited_by_default(core: Core, kind: int) -> None:
    handle = core.submit(core.connect(), b"f", b"data", kind=kind)
    for _ in range(100):
        worker = core.worker(b"f")
        assert core.grab(worker) == (handle, b"data")
        core.disconnect(worker)

    assert core.ask(core.connect(), b"show jobs\n") == b"%b\t100\t0\t%d\n.\n" % (handle, kind == SUBMIT_JOB_BG)


@pytest.mark.parametrize(("retries", "runs"), [(0, 1), (1, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_job_retries_is_the_number_of_runs(retries: int, runs: int, kind: int) -> None:
    core = Core(job_retries=retries)
    handle = core.submit(core.connect(), b"f", b"data", kind=kind)
    for _ in range(runs):
        worker = core.worker(b"f")
        assert core.grab(worker) == (handle, b"data")
        core.disconnect(worker)

    assert core.grab(core.worker(b"f")) is None
    assert core.broker.jobs == {}
    core.check()


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_when_attempts_run_out_the_clients_are_told(kind: int) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"", b"key", kind)
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    core.disconnect(worker)

    assert core.received(two) == [(WORK_FAIL, handle)]
    assert core.received(one) == ([(WORK_FAIL, handle)] if kind == SUBMIT_JOB else [])


def test_attempts_outlive_a_crash() -> None:
    core = Core(job_retries=3)
    handle = core.submit(core.connect(), b"f", b"data", kind=SUBMIT_JOB_BG)
    for _ in range(2):
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)
    core.commit()
    core.crash()

    assert core.ask(core.connect(), b"show jobs\n") == handle + b"\t2\t0\t1\n.\n"
    worker = core.worker(b"f")
    core.grab(worker)
    core.disconnect(worker)
    assert core.broker.jobs == {}


def dead_job(core: Core, unique: bytes = b"") -> bytes:
    """A background job whose one attempt was in vain."""
    worker = core.worker(b"f")
    handle = core.submit(core.connect(), b"f", b"data", unique, kind=SUBMIT_JOB_BG)
    core.grab(worker)
    core.disconnect(worker)
    core.commit()
    return handle


def test_a_background_job_is_kept_as_a_dead_one() -> None:
    core = Core(job_retries=1)
    dead_job(core)

    (row,) = core.table.rows.values()
    assert (row.run_at, row.attempts, row.data) == (-1, 1, b"data")
    core.crash()
    assert core.grab(core.worker(b"f")) is None
    assert core.broker.jobs == {}
    assert len(core.table.rows) == 1


def test_a_dead_job_is_not_joined() -> None:
    core = Core(job_retries=1)
    handle = dead_job(core, b"key")
    assert core.submit(core.connect(), b"f", b"data", b"key") != handle

    core.crash()
    assert core.submit(core.connect(), b"f", b"data", b"key") != handle


@pytest.mark.parametrize("crash", [False, True])
def test_a_dead_job_is_removed_by_cancel(crash: bool) -> None:
    core = Core(job_retries=1)
    handle = dead_job(core)
    if crash:
        core.crash()

    operator = core.connect()
    assert core.ask(operator, b"cancel job %b\n" % handle) == b""
    core.commit()
    assert core.raw(operator) == b"OK\r\n"
    assert core.table.rows == {}
    assert core.ask(operator, b"cancel job %b\n" % handle) == b"ERR UNKNOWN_JOB\r\n"


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_that_dies_before_its_background_join_is_committed_is_kept(taken: bool) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    if taken:
        core.take()
    core.disconnect(worker)
    core.commit()
    core.commit()

    assert core.received(one) == [(WORK_FAIL, handle)]
    (row,) = core.table.rows.values()
    assert (row.run_at, row.attempts) == (-1, 1)


@pytest.mark.parametrize("taken", [False, True])
def test_a_job_that_dies_before_its_background_join_is_committed_can_be_cancelled(taken: bool) -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    if taken:
        core.take()
    core.disconnect(worker)
    core.ask(core.connect(), b"cancel job %b\n" % handle)
    core.commit()
    core.commit()

    assert core.table.rows == {}


def test_a_job_that_died_with_its_row_refused_is_forgotten() -> None:
    core = Core(job_retries=1)
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"data", b"key")
    core.send(two, SUBMIT_JOB_BG, b"f", b"key", b"")
    core.grab(worker)
    core.disconnect(worker)
    core.refuse()

    assert core.received(two) == [(ERROR, b"QUEUE_ERROR", b"disk full")]
    assert core.ask(core.connect(), b"cancel job %b\n" % handle) == b"ERR UNKNOWN_JOB\r\n"


# ---- reports


@pytest.mark.parametrize(
    ("report", "ends"),
    [
        ((WORK_DATA, b"da\0ta"), False),
        ((WORK_WARNING, b"da\0ta"), False),
        ((WORK_STATUS, b"1", b"2"), False),
        ((WORK_STATUS, b"half", b"of it"), False),
        ((WORK_COMPLETE, b"da\0ta"), True),
        ((WORK_COMPLETE, b""), True),
        ((WORK_FAIL,), True),
    ],
)
def test_reports_go_to_every_client_as_they_came(
    core: Core, report: tuple[int, *tuple[bytes, ...]], ends: bool
) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    handle = core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    kind, *arguments = report
    core.send(worker, kind, handle, *arguments)

    assert core.received(one) == core.received(two) == [(kind, handle, *arguments)]
    assert core.received(worker) == []
    assert (core.broker.jobs == {}) is ends
    core.check()


NOT_FOUND: Final = {
    WORK_DATA: b"Job does not exist on server",
    WORK_WARNING: b"Job does not exist on server",
    WORK_STATUS: b"Job given in work result not found",
    WORK_COMPLETE: b"Job given in work result not found",
    WORK_FAIL: b"Job given in work result not found",
    WORK_EXCEPTION: b"An exception was received for a job that does not exist",
}
ARGUMENTS: Final = {WORK_STATUS: (b"1", b"2"), WORK_FAIL: ()}


@pytest.mark.parametrize("kind", NOT_FOUND)
@pytest.mark.parametrize("handle", [b"", b"H:here:1", b"x"])
def test_a_report_on_no_job(core: Core, kind: int, handle: bytes) -> None:
    worker = core.worker(b"f")
    core.send(worker, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]


@pytest.mark.parametrize("kind", NOT_FOUND)
def test_only_who_grabbed_a_job_may_report_on_it(core: Core, kind: int) -> None:
    client, worker, other = core.connect(), core.worker(b"f"), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(other, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(other) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]
    assert core.received(client) == []
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]


@pytest.mark.parametrize("kind", NOT_FOUND)
def test_a_report_after_the_end(core: Core, kind: int) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_COMPLETE, handle, b"")
    core.send(worker, kind, handle, *ARGUMENTS.get(kind, (b"data",)))

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[kind])]


@pytest.mark.parametrize("kind", [WORK_COMPLETE, WORK_DATA, WORK_WARNING, WORK_EXCEPTION])
def test_a_report_short_of_its_data_is_refused_and_not_passed_on(core: Core, kind: int) -> None:
    """A client's library would look for the missing NUL in what comes next, as the C server does."""
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, OPTION_REQ, b"exceptions")
    core.received(client)
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, kind, handle)

    assert core.received(client) == []
    assert [packet[:2] for packet in core.received(worker)] == [(ERROR, b"INVALID_PACKET")]
    core.send(worker, WORK_COMPLETE, handle, b"result")
    assert core.received(client) == [(WORK_COMPLETE, handle, b"result")]


def test_a_failure_ended_by_a_nul(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)
    core.send(worker, WORK_FAIL, handle + b"\0")

    assert core.received(client) == [(WORK_FAIL, handle)]


# ---- exceptions


@pytest.mark.parametrize("option", [b"exceptions", b"EXCEPTIONS", b"eXceptions"])
def test_clients_that_asked_for_exceptions_get_them_and_the_others_a_failure(core: Core, option: bytes) -> None:
    one, two, worker = core.connect(), core.connect(), core.worker(b"f")
    core.send(one, OPTION_REQ, option)
    assert core.received(one) == [(OPTION_RES, option)]
    handle = core.submit(one, b"f", b"", b"key")
    core.submit(two, b"f", b"", b"key")
    core.grab(worker)
    core.send(worker, WORK_EXCEPTION, handle, b"it\0broke")

    assert core.received(one) == [(WORK_EXCEPTION, handle, b"it\0broke")]
    assert core.received(two) == [(WORK_FAIL, handle)]
    assert core.received(worker) == []


def test_an_exception_is_the_end_of_the_job(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", kind=SUBMIT_JOB_BG)
    core.grab(worker)
    core.send(worker, WORK_EXCEPTION, handle, b"it broke")
    core.send(worker, WORK_FAIL, handle)
    core.commit()

    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[WORK_FAIL])]
    assert core.broker.jobs == {}
    assert core.table.rows == {}


@pytest.mark.parametrize("option", [b"", b"exception", b"exceptions2", b"\xff"])
def test_there_is_no_other_option(core: Core, option: bytes) -> None:
    client = core.connect()
    core.send(client, OPTION_REQ, option)

    assert core.received(client) == [(ERROR, b"UNKNOWN_OPTION", b"Server does not recognize given option")]


# ---- cancelled while it runs


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
@pytest.mark.parametrize("report", [WORK_COMPLETE, WORK_FAIL, WORK_EXCEPTION])
def test_the_late_result_of_a_cancelled_job_is_dropped(core: Core, kind: int, report: int) -> None:
    client, worker, operator = core.connect(), core.worker(b"f"), core.connect()
    handle = core.submit(core.connect(), b"f", b"", b"key", kind)
    core.submit(client, b"f", b"", b"key")
    core.grab(worker)
    core.ask(operator, b"cancel job %b\n" % handle)
    assert core.received(client) == [(WORK_FAIL, handle)]

    core.send(worker, WORK_STATUS, handle, b"1", b"2")
    core.send(worker, WORK_DATA, handle, b"data")
    core.send(worker, report, handle, *ARGUMENTS.get(report, (b"data",)))
    assert core.received(worker) == []
    assert core.received(client) == []

    core.send(worker, report, handle, *ARGUMENTS.get(report, (b"data",)))
    assert core.received(worker) == [(ERROR, b"JOB_NOT_FOUND", NOT_FOUND[report])]
    core.check()


def test_a_cancelled_job_can_be_submitted_again_at_once(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f", b"", b"key", SUBMIT_JOB_BG)
    core.grab(worker)
    core.ask(core.connect(), b"cancel job %b\n" % handle)

    assert core.submit(client, b"f", b"", b"key", SUBMIT_JOB_BG) != handle


def test_a_cancelled_delayed_job_never_runs(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f")
    core.send(client, SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 10), b"data")
    core.commit()
    ((_, handle),) = core.received(client)
    core.ask(core.connect(), b"cancel job %b\n" % handle)
    core.commit()
    core.advance(20)

    assert core.grab(worker) is None
    assert core.table.rows == {}
    core.check()
