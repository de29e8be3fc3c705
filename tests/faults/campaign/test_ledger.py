"""The ledger finds what it is there to find, and nothing in what may be."""

from collections.abc import Iterator

import pytest

from tests.faults.campaign.ledger import Kind, Ledger, Submission

WORKER, OTHER = 1, 2
F = b"f"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(params=[False, True], ids=["no restart", "restart"])
def restarts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def submit(ledger: Ledger, number: int, kind: Kind = Kind.BACKGROUND, unique: bytes = b"", priority: int = 1) -> None:
    ledger.sent(Submission(number, kind, F, priority, unique))


def store(ledger: Ledger, number: int, id_: int, unique: bytes = b"") -> None:
    submit(ledger, number, unique=unique)
    ledger.created(number, id_)


def run(ledger: Ledger, number: int, id_: int, worker: int = WORKER) -> None:
    ledger.handed_out(worker, id_, number, F)
    ledger.ended(worker, id_)
    ledger.read(worker, id_)


def only(ledger: Ledger, text: str) -> None:
    (anomaly,) = ledger.anomalies
    assert text in anomaly


def test_a_quiet_round(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        store(ledger, number, number * 10)
    for number in (1, 2, 3):
        run(ledger, number, number * 10)
    ledger.settle(set())
    assert ledger.anomalies == []
    assert ledger.counts["acknowledged in the background"] == ledger.counts["ended"] == 3


def test_a_lost_job(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.settle(set())
    only(ledger, "lost")


def test_a_job_that_was_begun_and_never_ended(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.worker_gone(WORKER, 0)
    ledger.settle(set())
    only(ledger, "lost")


def test_a_job_whose_end_the_server_did_not_take(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.ended(WORKER, 10)
    ledger.not_taken(WORKER, 10)
    ledger.settle(set())
    only(ledger, "lost")


def test_a_dead_job_is_not_lost() -> None:
    ledger = Ledger(limited=True)
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.worker_gone(WORKER, 0)
    ledger.settle({10})
    assert ledger.anomalies == []


@pytest.mark.parametrize("limited", [False, True])
def test_a_job_that_died_unseen(limited: bool) -> None:
    ledger = Ledger(limited=limited)
    store(ledger, 1, 10)
    ledger.settle({10})
    only(ledger, "dead")


def test_a_job_that_died_of_a_worker_that_never_heard_of_it() -> None:
    ledger = Ledger(limited=True)
    for number in (1, 2):
        store(ledger, number, number * 10)
    ledger.worker_gone(WORKER, 1)
    ledger.settle({10, 20})
    only(ledger, "dead")


def test_two_live_jobs_with_one_key(ledger: Ledger, restarts: bool) -> None:
    store(ledger, 1, 10, b"key")
    if restarts:
        ledger.killed()
    store(ledger, 2, 20, b"key")
    only(ledger, "at the same time")


def test_a_key_is_free_once_its_job_has_ended(ledger: Ledger) -> None:
    store(ledger, 1, 10, b"key")
    run(ledger, 1, 10)
    store(ledger, 2, 20, b"key")
    assert ledger.anomalies == []


def test_a_job_that_comes_back_beside_its_successor(ledger: Ledger) -> None:
    store(ledger, 1, 10, b"key")
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.ended(WORKER, 10)
    store(ledger, 2, 20, b"key")
    ledger.killed()
    ledger.handed_out(OTHER, 10, 1, F)
    only(ledger, "at the same time")


def test_submissions_that_join(ledger: Ledger) -> None:
    store(ledger, 1, 10, b"key")
    store(ledger, 2, 10, b"key")
    run(ledger, 1, 10)
    ledger.settle(set())
    assert ledger.anomalies == []


def test_a_submission_that_joined_and_ran_by_itself(ledger: Ledger) -> None:
    store(ledger, 1, 10, b"key")
    store(ledger, 2, 10, b"key")
    run(ledger, 1, 10)
    ledger.handed_out(WORKER, 20, 2, F)
    only(ledger, "was told of job 10 and ran as job 20")


def test_a_handle_of_a_job_with_another_key(ledger: Ledger) -> None:
    store(ledger, 1, 10, b"key")
    store(ledger, 2, 10, b"another")
    only(ledger, "whose key is")


def test_an_overtaken_job(ledger: Ledger) -> None:
    for number in (1, 2):
        store(ledger, number, number * 10)
    run(ledger, 2, 20)
    run(ledger, 1, 10)
    ledger.settle(set())
    only(ledger, "overtaken")


def test_priorities_and_those_who_come_back_may_overtake(ledger: Ledger) -> None:
    submit(ledger, 1, priority=2)
    ledger.created(1, 10)
    store(ledger, 2, 20)
    store(ledger, 3, 30)
    ledger.handed_out(OTHER, 20, 2, F)
    run(ledger, 3, 30)
    ledger.worker_gone(OTHER, 0)
    run(ledger, 2, 20)
    run(ledger, 1, 10)
    assert ledger.anomalies == []


def test_a_worker_may_be_gone_before_it_hears_of_its_job(ledger: Ledger) -> None:
    for number in (1, 2, 3, 4):
        store(ledger, number, number * 10)
    run(ledger, 2, 20)
    run(ledger, 1, 10)
    ledger.worker_gone(OTHER, 1)  # this is often seen later
    ledger.settle({30, 40})
    assert "overtaken" not in str(ledger.anomalies)
    run(ledger, 4, 40)
    run(ledger, 3, 30)
    ledger.settle(set())
    assert "overtaken" in ledger.anomalies[-1]


def test_a_job_with_two_workers(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.handed_out(OTHER, 10, 1, F)
    only(ledger, "while worker 1 had it")


def reasons_to_come_back(ledger: Ledger) -> Iterator[None]:
    """Of the job that a worker has."""
    ledger.worker_gone(WORKER, 0)
    yield
    ledger.killed()
    yield
    ledger.doubt()
    yield
    ledger.gave_up(WORKER, 10)
    yield


def test_reasons_to_come_back(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    for _ in reasons_to_come_back(ledger):
        ledger.handed_out(WORKER, 10, 1, F)
    assert ledger.anomalies == []


def test_a_job_that_comes_back_after_its_end(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    run(ledger, 1, 10)
    ledger.handed_out(OTHER, 10, 1, F)
    only(ledger, "knew of its end")


def test_an_end_that_may_not_have_been_read(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.ended(WORKER, 10)
    ledger.worker_gone(WORKER, 0)
    run(ledger, 1, 10, OTHER)
    assert ledger.anomalies == []


def test_an_end_may_be_forgotten_by_a_kill_unless_it_is_on_disk(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    run(ledger, 1, 10)
    ledger.killed()
    run(ledger, 1, 10)
    assert ledger.anomalies == []
    store(ledger, 2, 20)
    ledger.killed()
    run(ledger, 1, 10)
    only(ledger, "on disk")


def test_a_refused_job_that_runs(ledger: Ledger) -> None:
    submit(ledger, 1)
    ledger.refused(1, "disk full")
    ledger.handed_out(WORKER, 10, 1, F)
    only(ledger, "refused and ran all the same")


def test_a_job_that_runs_and_is_refused(ledger: Ledger) -> None:
    submit(ledger, 1)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.refused(1, "disk full")
    only(ledger, "after it had run")


def test_a_refused_job_may_run_after_a_kill_unless_its_removal_is_on_disk(ledger: Ledger) -> None:
    submit(ledger, 1)
    ledger.refused(1, "disk full")
    ledger.killed()
    run(ledger, 1, 10)
    assert ledger.anomalies == []
    submit(ledger, 2)
    ledger.refused(2, "disk full")
    store(ledger, 3, 30)
    ledger.killed()
    ledger.handed_out(WORKER, 20, 2, F)
    only(ledger, "refused and ran all the same")


def test_a_refused_job_goes_on_for_a_foreground_client_that_joined_it(ledger: Ledger) -> None:
    submit(ledger, 1, unique=b"key")
    submit(ledger, 2, Kind.FOREGROUND, b"key")
    ledger.refused(1, "disk full")
    ledger.created(2, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    assert ledger.anomalies == []


def test_a_foreground_client_without_an_answer(ledger: Ledger) -> None:
    submit(ledger, 1, Kind.FOREGROUND)
    ledger.created(1, 10)
    submit(ledger, 2, Kind.FOREGROUND)
    ledger.created(2, 20)
    ledger.answered(2)
    submit(ledger, 3, Kind.FOREGROUND)
    ledger.cut_off(3)
    ledger.settle(set())
    only(ledger, "never answered")


def test_a_foreground_job_is_no_promise(ledger: Ledger) -> None:
    submit(ledger, 1, Kind.FOREGROUND)
    ledger.created(1, 10)
    ledger.cut_off(1)
    ledger.settle(set())
    assert ledger.anomalies == []


def test_a_foreground_job_that_was_joined_in_the_background_is(ledger: Ledger) -> None:
    submit(ledger, 1, Kind.FOREGROUND, b"key")
    ledger.created(1, 10)
    ledger.cut_off(1)
    store(ledger, 2, 10, b"key")
    ledger.settle(set())
    only(ledger, "lost")


def test_a_job_that_the_server_does_not_know(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    store(ledger, 2, 20)
    run(ledger, 1, 10)
    ledger.unknown(10)
    assert ledger.anomalies == []
    ledger.unknown(20)
    only(ledger, "does not know it")


def test_a_payload_that_nobody_sent(ledger: Ledger) -> None:
    ledger.handed_out(WORKER, 10, 1, F)
    only(ledger, "payload of submission 1")


def test_a_payload_of_another_function(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, b"g")
    only(ledger, "payload of submission 1")


def test_nothing_comes_back_from_before_an_empty_table(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    run(ledger, 1, 10)
    ledger.settle(set())
    ledger.close_round()
    ledger.killed()
    ledger.handed_out(WORKER, 10, 1, F)
    only(ledger, "on disk")


def test_a_worker_that_is_late_ends_nothing(ledger: Ledger) -> None:
    store(ledger, 1, 10)
    ledger.handed_out(WORKER, 10, 1, F)
    ledger.may_lose(WORKER)
    ledger.handed_out(OTHER, 10, 1, F)
    ledger.ended(WORKER, 10)
    ledger.worker_gone(OTHER, 0)
    ledger.settle(set())
    only(ledger, "lost")
