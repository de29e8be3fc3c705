"""Few log lines, however much there is to complain of."""

import logging

import pytest

from gearmand_py.server.complaints import EVERY, Complaints


def test_one_line_at_once_and_the_number_of_the_others_later(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    complaints = Complaints(lambda: now)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            complaints.say("--a", f"line {number}")
        assert caplog.messages == ["line 0"]
        assert complaints.waiting
        now += EVERY
        complaints.catch_up()
        complaints.catch_up()
    assert caplog.messages == ["line 0", "line 999 (and 998 more such lines since the last)"]
    assert not complaints.waiting


def test_kinds_do_not_keep_each_other_silent(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        complaints.say("--a", "a")
        complaints.say("--b", "b")
    assert caplog.messages == ["a", "b"]
