"""The ledger of all jobs, from what processes have seen."""

from dataclasses import replace

import pytest

from gearmand_py.server.bench.session import Ledger
from gearmand_py.server.bench.tally import Tally
from tests.bench.test_source import LOAD, phase


def tally(acknowledged: str = "", ran: str = "", answered: str = "", *, foreground: bool = False) -> Tally:
    """Jobs are digits."""
    made = Tally(foreground=foreground)
    made.submitted = len(acknowledged)
    for marks, numbers in ((made.acked, acknowledged), (made.ran, ran), (made.answered, answered)):
        for number in numbers:
            marks.add(int(number))
    return made


def ledger(*tallies: Tally, foreground: bool = False, cut_short: bool = False) -> Ledger:
    made = Ledger()
    made.add(replace(phase(LOAD), foreground=foreground), list(tallies), cut_short=cut_short)
    return made


def test_what_one_process_submits_another_may_run() -> None:
    found = ledger(tally("024", ran="13"), tally("135", ran="0245"))
    assert (found.acknowledged, found.ran, found.missing, found.doubled) == (6, 6, 0, 0)


def test_a_job_that_two_processes_ran_is_doubled() -> None:
    assert ledger(tally("01", ran="01"), tally(ran="1")).doubled == 1


def test_a_job_that_ran_in_two_phases_is_doubled() -> None:
    found = ledger(tally("01", ran="01"))
    found.add(phase(LOAD), [tally(ran="0")], cut_short=False)
    assert found.doubled == 1


def test_what_waits_is_missing_until_it_ran() -> None:
    found = ledger(tally("0123"))
    assert (found.waiting, found.missing) == (4, 4)
    found.add(phase(LOAD), [tally(ran="013")], cut_short=False)
    assert (found.waiting, found.missing) == (1, 1)


@pytest.mark.parametrize(("cut_short", "missing"), [(False, 2), (True, 0)])
def test_a_foreground_job_is_missing_without_its_result_unless_nobody_waited(cut_short: bool, missing: int) -> None:
    seen = tally("0123", ran="012", answered="01", foreground=True)
    assert ledger(seen, foreground=True, cut_short=cut_short).missing == missing


@pytest.mark.parametrize(("cut_short", "unanswered"), [(False, 3), (True, 0)])
def test_a_submission_that_got_no_answer_is_told_unless_nobody_waited(cut_short: bool, unanswered: int) -> None:
    seen = tally("01")
    seen.refused["QUEUE_ERROR"] = 1
    seen.submitted = 6
    assert ledger(seen, cut_short=cut_short).unanswered == unanswered
