"""status, workers, jobs: lines to rows, rows to tables and JSON."""

import json
import socket
from typing import Final

import pytest

from gearmand_py.server.client import BadAnswer, Client
from gearmand_py.server.commands.listings import JOBS, STATUS, WORKERS, Listing, parse_rows, table
from tests.unit.commands.scripted import SERVER, against

NOT_READY: Final = b"ERR NOT_READY 3+of+5+stored+jobs+are+taken+up\r\n"
LISTED: Final = b"f\t3\t1\t2\n\xffg\t0\t0\t0\n.\n"


def test_lines_become_rows() -> None:
    rows = parse_rows(STATUS, [b"a\tb\t5\t2\t1"], SERVER)
    assert rows == [{"function": "a\tb", "total": 5, "running": 2, "waiting": 3, "workers": 1}]
    rows = parse_rows(WORKERS, [b"31 10.0.0.1 - :", b"32 ::1 night shift : g f"], SERVER)
    assert rows == [
        {"fd": 31, "address": "10.0.0.1", "id": None, "functions": []},
        {"fd": 32, "address": "::1", "id": "night shift", "functions": ["g", "f"]},
    ]
    rows = parse_rows(JOBS, [b"H:here:1\t2\t0\t1"], SERVER)
    assert rows == [{"handle": "H:here:1", "retries": 2, "ignored": 0, "persisted": 1}]


@pytest.mark.parametrize("listing", [STATUS, WORKERS, JOBS])
@pytest.mark.parametrize("line", [b"", b"HTTP/1.1 400 Bad Request", b"a\tb\tc\td", b"1 2 3"])
def test_a_line_of_another_form_is_a_bad_answer(listing: Listing, line: bytes) -> None:
    with pytest.raises(BadAnswer, match="is no line of"):
        parse_rows(listing, [line], SERVER)


def test_a_table_has_numbers_to_the_right_and_text_to_the_left() -> None:
    rows = parse_rows(STATUS, [b"resize\t12\t2\t3", b"a\t1\t0\t10"], SERVER)
    assert table(STATUS.columns, rows) == [
        "FUNCTION  TOTAL  RUNNING  WAITING  WORKERS",
        "resize       12        2       10        3",
        "a             1        0        1       10",
    ]


def test_a_table_shows_a_dash_for_nothing_and_ends_no_line_with_blanks() -> None:
    rows = parse_rows(WORKERS, [b"8 10.0.0.1 - :", b"31 10.0.0.1 id : a b"], SERVER)
    assert table(WORKERS.columns, rows) == [
        "FD  ADDRESS   ID  FUNCTIONS",
        " 8  10.0.0.1  -   -",
        "31  10.0.0.1  id  a b",
    ]


def test_an_empty_table_is_its_heading() -> None:
    assert table(JOBS.columns, []) == ["HANDLE  RETRIES  IGNORED  PERSISTED"]


def test_status_is_a_table_for_people() -> None:
    result, _ = against({b"status": [LISTED]}, "status")
    assert result.stdout.splitlines()[1] == "f             3        1        2        2"


def test_raw_is_what_the_server_sent() -> None:
    result, _ = against({b"status": [LISTED]}, "status", "--raw")
    assert result.stdout_bytes == LISTED.removesuffix(b".\n")


def test_json_is_for_programs() -> None:
    result, _ = against({b"status": [LISTED]}, "status", "--json")
    assert json.loads(result.stdout) == [
        {"function": "f", "total": 3, "running": 1, "waiting": 2, "workers": 2},
        {"function": "\\xffg", "total": 0, "running": 0, "waiting": 0, "workers": 0},
    ]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 400 Bad Request\n.\n"])
def test_a_listing_of_something_else_is_a_bad_answer(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with Client(ours, SERVER) as client:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with theirs, pytest.raises(BadAnswer):
            parse_rows(STATUS, client.text("status"), SERVER)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (b"OK\r\n", ""),
        (NOT_READY, "these numbers grow: 3 of 5 stored jobs are taken up\n"),
        (b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n", ""),
    ],
)
def test_status_says_that_not_all_jobs_are_known_yet(answer: bytes, note: str) -> None:
    result, _ = against({b"status": [LISTED], b"ready": [answer]}, "status")
    assert (result.exit_code, result.stderr) == (0, note)
    result, _ = against({b"status": [LISTED], b"ready": [answer]}, "status", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
