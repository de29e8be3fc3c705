"""cancel and ping: what they ask, and which answers they do not take for a yes."""

import os

from gearmand_py.server import packets
from gearmand_py.server.commands.shared import FAILED, NO_SERVER, SUCCESS
from tests.unit.commands.scripted import Script, against


def test_cancel_tells_the_known_from_the_unknown() -> None:
    script: Script = {b"cancel job H:a:1": [b"OK\r\n"], b"cancel job H:a:2": [b"ERR UNKNOWN_JOB\r\n"]}
    result, _ = against(script, "cancel", "H:a:1", "H:a:2")
    assert (result.exit_code, result.stdout) == (FAILED, "H:a:1 cancelled\nH:a:2 unknown\n")
    result, _ = against({b"cancel job H:a:1": [b"OK\r\n"]}, "cancel", "H:a:1")
    assert result.exit_code == SUCCESS


def test_cancel_does_not_take_any_answer_for_ok() -> None:
    result, _ = against({b"cancel job H:a:1": [b"HTTP/1.1 400 Bad Request\r\n"]}, "cancel", "H:a:1")
    assert (result.exit_code, result.stdout) == (NO_SERVER, "")


def test_a_handle_may_be_any_bytes() -> None:
    result, server = against({b"cancel job H:\xff": [b"ERR UNKNOWN_JOB\r\n"]}, "cancel", os.fsdecode(b"H:\xff"))
    assert result.stdout == "H:\\udcff unknown\n"
    assert (packets.TEXT, b"cancel job H:\xff") in server.requests


def test_ping_refuses_an_echo_that_differs() -> None:
    result, _ = against({packets.ECHO_REQ: [packets.response(packets.ECHO_RES, b"other")]}, "ping")
    assert result.exit_code == NO_SERVER
    assert "echo differs" in result.stderr


def test_ping_ready_fails_while_jobs_are_taken_up() -> None:
    not_ready = b"ERR NOT_READY 3+of+5+stored+jobs+are+taken+up\r\n"
    result, _ = against({b"ready": [not_ready]}, "ping", "--ready")
    assert result.exit_code == FAILED
    assert "3 of 5 stored jobs are taken up" in result.stderr
