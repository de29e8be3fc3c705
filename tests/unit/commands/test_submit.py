"""submit: times, packets sent, what is printed and the exit status."""

import time
from datetime import UTC, datetime
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.commands.shared import FAILED, NO_SERVER, SUCCESS
from gearmand_py.server.commands.submit import parse_when, progress_text
from tests.unit.commands.scripted import CLOSE, HANDLE, Script, against

NOW: Final = 1_800_000_000.25
OPTION_SET: Final = [packets.response(packets.OPTION_RES, b"exceptions")]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("+30s", 1_800_000_031),  # a part of a second rounds up
        ("+5m", 1_800_000_301),
        ("+2h", 1_800_007_201),
        ("+1d", 1_800_086_401),
        ("1767225600", 1_767_225_600),
        ("2030-01-31T08:00Z", int(datetime(2030, 1, 31, 8, tzinfo=UTC).timestamp())),
        ("2030-01-31 08:00:00.5+02:00", int(datetime(2030, 1, 31, 6, 0, 1, tzinfo=UTC).timestamp())),
    ],
)
def test_a_time_is_a_delay_a_date_or_epoch_seconds(text: str, when: int) -> None:
    assert parse_when(text, NOW) == when


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-3")  # POSIX counts westwards: three hours ahead of UTC
    time.tzset()
    try:
        assert parse_when("2030-01-31T08:00", NOW) == parse_when("2030-01-31T05:00Z", NOW)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "soon", "+5", "+5w", "5m", "-5", "+-5s", "2030-13-01", "0001-01-01", "1767225600000"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_when(text, NOW)


@pytest.mark.parametrize(
    ("numerator", "denominator", "text"),
    [(b"1", b"4", "1/4 (25%)"), (b"1", b"0", "1/0"), (b"half", b"all", "half/all"), (b"", b"", "/")],
)
def test_progress_is_shown_in_per_cent_where_it_can_be(numerator: bytes, denominator: bytes, text: str) -> None:
    assert progress_text(numerator, denominator) == text


def foreground(*answers: bytes) -> Script:
    created = packets.response(packets.JOB_CREATED, HANDLE)
    return {packets.OPTION_REQ: list(OPTION_SET), packets.SUBMIT_JOB: [created + b"".join(answers)]}


def test_submit_prints_the_result_as_bytes_and_warnings_beside_it() -> None:
    script = foreground(
        packets.response(packets.WORK_STATUS, HANDLE, b"1", b"2"),
        packets.response(packets.WORK_DATA, HANDLE, b"\xff\0one"),
        packets.response(packets.WORK_WARNING, HANDLE, b"careful"),
        packets.response(packets.WORK_COMPLETE, HANDLE, b"two"),
    )
    result, server = against(script, "submit", "f", "data", "-u", "key")
    assert (result.exit_code, result.stdout_bytes, result.stderr) == (SUCCESS, b"\xff\0onetwo", "careful\n")
    assert server.bodies(packets.SUBMIT_JOB) == [b"f\0key\0data"]


def test_submit_reads_standard_input_without_data() -> None:
    script = foreground(packets.response(packets.WORK_COMPLETE, HANDLE, b""))
    _, server = against(script, "submit", "f", stdin=b"a\0b\n")
    assert server.bodies(packets.SUBMIT_JOB) == [b"f\0\0a\0b\n"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (packets.response(packets.WORK_FAIL, HANDLE), "Error: job H:here:1 failed\n"),
        (
            packets.response(packets.WORK_EXCEPTION, HANDLE, b"no ink"),
            "Error: job H:here:1 failed with an exception: no ink\n",
        ),
        (packets.error("QUEUE_ERROR", "Job queue is full"), "Error: the server says QUEUE_ERROR: Job queue is full\n"),
    ],
)
def test_a_job_that_fails_or_is_refused_gives_status_1(answer: bytes, message: str) -> None:
    result, _ = against(foreground(answer), "submit", "f", "data")
    assert (result.exit_code, result.stderr) == (FAILED, message)


def test_a_server_that_goes_away_gives_status_3() -> None:
    result, _ = against({packets.OPTION_REQ: list(OPTION_SET), packets.SUBMIT_JOB: [CLOSE]}, "submit", "f", "data")
    assert result.exit_code == NO_SERVER
    assert "closed the connection" in result.stderr


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["-b"], packets.SUBMIT_JOB_BG),
        (["-b", "--priority", "high"], packets.SUBMIT_JOB_HIGH_BG),
        (["-b", "--priority", "low"], packets.SUBMIT_JOB_LOW_BG),
    ],
)
def test_background_prints_the_handle(options: list[str], kind: int) -> None:
    result, server = against({kind: [packets.response(packets.JOB_CREATED, HANDLE)]}, "submit", "f", "x", *options)
    assert (result.exit_code, result.stdout) == (SUCCESS, "H:here:1\n")
    assert server.bodies(kind) == [b"f\0\0x"]


def test_a_job_with_a_time_goes_to_the_background() -> None:
    created = packets.response(packets.JOB_CREATED, HANDLE)
    result, server = against({packets.SUBMIT_JOB_EPOCH: [created]}, "submit", "f", "x", "--at", "1900000000")
    assert result.stdout == "H:here:1\n"
    assert server.bodies(packets.SUBMIT_JOB_EPOCH) == [b"f\0\x001900000000\0x"]
