"""The table of packets against the protocol's numbers."""

from struct import unpack
from typing import Final

import pytest

from gearmand_py.server import packets

# As the protocol has them; 5 was never given out.
NUMBERS: Final = {
    1: "CAN_DO",
    2: "CANT_DO",
    3: "RESET_ABILITIES",
    4: "PRE_SLEEP",
    6: "NOOP",
    7: "SUBMIT_JOB",
    8: "JOB_CREATED",
    9: "GRAB_JOB",
    10: "NO_JOB",
    11: "JOB_ASSIGN",
    12: "WORK_STATUS",
    13: "WORK_COMPLETE",
    14: "WORK_FAIL",
    15: "GET_STATUS",
    16: "ECHO_REQ",
    17: "ECHO_RES",
    18: "SUBMIT_JOB_BG",
    19: "ERROR",
    20: "STATUS_RES",
    21: "SUBMIT_JOB_HIGH",
    22: "SET_CLIENT_ID",
    23: "CAN_DO_TIMEOUT",
    24: "ALL_YOURS",
    25: "WORK_EXCEPTION",
    26: "OPTION_REQ",
    27: "OPTION_RES",
    28: "WORK_DATA",
    29: "WORK_WARNING",
    30: "GRAB_JOB_UNIQ",
    31: "JOB_ASSIGN_UNIQ",
    32: "SUBMIT_JOB_HIGH_BG",
    33: "SUBMIT_JOB_LOW",
    34: "SUBMIT_JOB_LOW_BG",
    35: "SUBMIT_JOB_SCHED",
    36: "SUBMIT_JOB_EPOCH",
    37: "SUBMIT_REDUCE_JOB",
    38: "SUBMIT_REDUCE_JOB_BACKGROUND",
    39: "GRAB_JOB_ALL",
    40: "JOB_ASSIGN_ALL",
    41: "GET_STATUS_UNIQUE",
    42: "STATUS_RES_UNIQUE",
}


@pytest.mark.parametrize(("number", "word"), NUMBERS.items())
def test_every_type_has_the_protocols_number(number: int, word: str) -> None:
    assert getattr(packets, word) == number


@pytest.mark.parametrize(("number", "word"), NUMBERS.items())
def test_every_type_has_the_protocols_name(number: int, word: str) -> None:
    assert packets.name(number) == word


def test_a_type_without_a_name_is_its_number() -> None:
    assert packets.name(5) == "5"
    assert packets.name(43) == "43"


def test_a_request_is_magic_type_size_and_the_arguments_with_nul_between_them() -> None:
    packet = packets.request(packets.SUBMIT_JOB, b"reverse", b"", b"a\0b")

    assert packet[:4] == b"\0REQ"
    assert unpack(">II", packet[4:12]) == (7, 12)
    assert packet[12:] == b"reverse\0\0a\0b"


def test_an_error_is_its_code_and_a_text() -> None:
    assert (
        packets.error("QUEUE_ERROR", "Job queue is full")
        == b"\0RES" + bytes([0, 0, 0, 19, 0, 0, 0, 29]) + b"QUEUE_ERROR\0Job queue is full"
    )
