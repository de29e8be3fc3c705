"""Workers: what they are handed, and what they can do. When they are woken: test_sleep.py."""

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
from gearmand_py.server.workforce import FEW
from tests.core import Core

GRABS: Final = [GRAB_JOB, GRAB_JOB_UNIQ, GRAB_JOB_ALL]


@pytest.fixture(params=[FEW, 0], ids=["few functions", "many functions"])
def core(request: pytest.FixtureRequest) -> Core:
    return Core(few=request.param)


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


def test_a_function_that_was_given_up_and_taken_on_again(core: Core) -> None:
    worker = core.worker(b"f", b"g", b"h")
    core.send(worker, CANT_DO, b"f")
    core.send(worker, CAN_DO, b"f")

    assert core.ask(worker, b"workers\n").endswith(b" : f h g\n.\n")
    core.submit(core.connect(), b"f", b"data")
    assert work(core, worker) == [(b"f", b"data")]


def test_the_listing_of_workers_has_each_in_its_own_order(core: Core) -> None:
    """Also those that can do the same."""
    core.worker(b"f", b"g", b"h")
    other = core.worker(b"h", b"f", b"g")

    assert core.ask(other, b"workers\n").splitlines() == [
        b"10 127.0.0.1 - : h g f",
        b"11 127.0.0.1 - : g f h",
        b".",
    ]


def test_time_limits_are_the_workers_own(core: Core) -> None:
    """Two workers with the same functions, and of these each with a limit of its own."""
    client, one, two = core.connect(), core.worker(b"f"), core.worker(b"g", b"f")
    core.send(one, CAN_DO_TIMEOUT, b"g", b"2000")
    core.send(two, CAN_DO_TIMEOUT, b"f", b"5000")
    core.submit(client, b"g")
    assert core.grab(one)
    assert core.broker.next_deadline(core.now, core.wall) == 2
    core.submit(client, b"f")
    assert core.grab(two)
    core.advance(2)
    assert core.broker.next_deadline(core.now, core.wall) == 3

    core.send(two, CAN_DO, b"f")
    core.advance(3)
    assert core.grab(two)
    assert core.grab(two)
    assert not core.broker.scheduled


def test_functions_of_equal_priority_take_turns_beside_one_of_a_higher(core: Core) -> None:
    client, worker = core.connect(), core.worker(b"f", b"g", b"h")
    for function in (b"g", b"g", b"h"):
        core.submit(client, function)
    found = []
    for _ in range(2):
        core.submit(client, b"f", kind=SUBMIT_JOB_HIGH)
        for _ in range(2):
            core.send(worker, GRAB_JOB)
            found.append(core.received(worker)[0][2])

    assert found == [b"f", b"g", b"f", b"h"]


def test_workers_that_can_do_the_same_take_turns_together() -> None:
    """With many functions: however many workers there are, no function waits for the others to be empty."""
    core = Core(few=0)
    client, workers = core.connect(), [core.worker(*names) for names in ((b"f", b"g", b"h"), (b"h", b"g", b"f"))]
    for function in (b"f", b"g", b"h") * 2:
        core.submit(client, function, function)

    assert [core.grab(workers[turn % 2])[1] for turn in range(6)] == [b"f", b"g", b"h"] * 2  # type: ignore[index]


@pytest.mark.parametrize("count", [FEW, FEW + 1, 3 * FEW, 40 * FEW])
def test_any_number_of_functions(count: int) -> None:
    core = Core()
    names = [b"function %d" % number for number in range(count)]
    client, worker = core.connect(), core.worker(*names)
    shown = b"".join(b" " + name.replace(b" ", b"\\x20") for name in reversed(names))
    assert core.ask(worker, b"workers\n").splitlines()[1] == b"11 127.0.0.1 - :" + shown
    for name in names:
        core.submit(client, name, name, kind=SUBMIT_JOB_BG)
    assert [function for function, _ in work(core, worker)] == names
    core.check()

    for name in names[1:]:
        core.send(worker, CANT_DO, name)
    core.check()
    for name in names:
        core.submit(client, name, name, kind=SUBMIT_JOB_BG)
    assert work(core, worker) == [(names[0], names[0])]
    core.disconnect(worker)
    core.check()
