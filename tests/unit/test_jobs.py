"""The queues: first in first out, the returned ones first, and bounded whatever is taken out of them."""

from random import Random
from typing import Final

import pytest

from gearmand_py.server.jobs import NORMAL, STALE_SLACK, Function, Job, JobQueue, coalesce_key

FUNCTION: Final = Function(b"f")


def jobs(*ids: int) -> list[Job]:
    return [Job(id_, FUNCTION, b"", NORMAL, True, b"") for id_ in ids]


def queue_of(*waiting: Job) -> JobQueue:
    queue = JobQueue(Function(b"f"), NORMAL)
    for job in waiting:
        queue.push(job)
    return queue


def popped(queue: JobQueue) -> list[int]:
    return [queue.pop().id for _ in range(queue.size)]


def entries(queue: JobQueue) -> int:
    """How many jobs the queue keeps in memory, dead or alive."""
    return len(queue.ready) + len(queue.returned)


def test_first_in_first_out() -> None:
    queue = queue_of(*jobs(3, 1, 2))

    assert popped(queue) == [3, 1, 2]
    assert queue.size == 0


def test_a_popped_job_is_queued_no_more() -> None:
    (job,) = jobs(1)
    queue = queue_of(job)
    assert job.queued

    queue.pop()

    assert not job.queued


def test_returned_jobs_go_first_in_submission_order() -> None:
    queue = queue_of(*jobs(1, 2, 3, 4))
    first, second, third = (queue.pop() for _ in range(3))
    for job in (third, first, second):
        queue.give_back(job)

    assert popped(queue) == [1, 2, 3, 4]


def test_a_returned_job_goes_before_new_ones_that_came_meanwhile() -> None:
    queue = queue_of(*jobs(1))
    one = queue.pop()
    for job in jobs(2, 3):
        queue.push(job)
    queue.give_back(one)

    assert popped(queue) == [1, 2, 3]


def test_a_job_can_be_taken_out_of_the_middle() -> None:
    waiting = jobs(1, 2, 3)
    queue = queue_of(*waiting)

    queue.discard(waiting[1])

    assert queue.size == 2
    assert popped(queue) == [1, 3]


def test_a_returned_job_can_be_taken_out() -> None:
    queue = queue_of(*jobs(1, 2, 3))
    first, second = queue.pop(), queue.pop()
    queue.give_back(first)
    queue.give_back(second)

    queue.discard(first)

    assert popped(queue) == [2, 3]


def test_taking_jobs_out_of_the_back_leaves_no_more_dead_than_live_ones() -> None:
    waiting = jobs(*range(1000))
    queue = queue_of(*waiting)

    for job in reversed(waiting[1:]):
        queue.discard(job)
        assert entries(queue) <= 2 * queue.size + STALE_SLACK

    assert popped(queue) == [0]


def test_taking_returned_jobs_out_is_bounded_too() -> None:
    queue = queue_of(*jobs(*range(1000)))
    running = [queue.pop() for _ in range(1000)]
    for job in running:
        queue.give_back(job)

    for job in reversed(running[1:]):
        queue.discard(job)
        assert entries(queue) <= 2 * queue.size + STALE_SLACK

    assert popped(queue) == [0]


def test_jobs_that_come_and_are_taken_out_for_ever_are_bounded() -> None:
    queue = JobQueue(Function(b"f"), NORMAL)
    for number in range(10_000):
        (job,) = jobs(number)
        queue.push(job)
        queue.discard(job)

    assert entries(queue) <= STALE_SLACK + 1


def test_handing_jobs_out_does_not_leave_the_dead_ones_behind() -> None:
    waiting = jobs(*range(2000))
    queue = queue_of(*waiting)
    for job in waiting[1000:]:
        queue.discard(job)

    assert popped(queue) == list(range(1000))
    assert entries(queue) <= STALE_SLACK


@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_keeps_the_order(seed: int) -> None:
    waiting = jobs(*range(300))
    queue = queue_of(*waiting)
    running = [queue.pop() for _ in range(150)]
    Random(seed).shuffle(running)
    for job in running:
        queue.give_back(job)
    gone = [job for job in waiting if job.id % 5]
    for job in gone:
        queue.discard(job)

    assert popped(queue) == list(range(0, 300, 5))


def test_waiting_counts_all_priorities() -> None:
    function = Function(b"f")
    for queue, job in zip(function.queues, jobs(1, 2, 3), strict=True):
        queue.push(job)
    function.queues[0].pop()

    assert function.waiting == 2


# ---- what coalesces


def test_an_empty_unique_never_coalesces() -> None:
    assert coalesce_key(b"", b"data") is None


def test_a_dash_coalesces_on_data_that_is_not_empty() -> None:
    assert coalesce_key(b"-", b"data") == coalesce_key(b"-", b"data") != coalesce_key(b"-", b"other")
    assert coalesce_key(b"-", b"") is None


def test_a_dash_never_equals_somebodys_key() -> None:
    assert coalesce_key(b"-", b"data") != coalesce_key(b"data", b"data")


def test_other_uniques_coalesce_whatever_the_data() -> None:
    assert coalesce_key(b"key", b"data") == coalesce_key(b"key", b"other")
    assert coalesce_key(b"#", b"data") == coalesce_key(b"#", b"other") == b"#"


def test_the_row_of_a_job() -> None:
    job = Job(5, FUNCTION, b"key", NORMAL, True, b"data", 1234, b"sum", 2)

    assert job.record(9) == (5, b"f", b"key", NORMAL, 2, 9, 1234, b"sum", b"data")
    assert jobs(1)[0].record(0) == (1, b"f", None, NORMAL, 0, 0, 0, None, b"")
