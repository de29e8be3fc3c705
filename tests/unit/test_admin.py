"""The text protocol, byte for byte."""

from collections.abc import Iterator

import pytest

from gearmand_py.server.admin import FIRST, SLICE
from gearmand_py.server.dispatch import Unfinished
from gearmand_py.server.packets import (
    CAN_DO,
    GET_STATUS,
    SET_CLIENT_ID,
    STATUS_RES,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    SUBMIT_JOB_EPOCH,
    SUBMIT_JOB_HIGH,
    SUBMIT_JOB_HIGH_BG,
    SUBMIT_JOB_LOW,
    WORK_FAIL,
)
from gearmand_py.server.peers import Peer
from tests.core import Core


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture(params=[b"\n", b"\r\n"], ids=["LF", "CRLF"])
def end(request: pytest.FixtureRequest) -> bytes:
    """How the line ends."""
    ending: bytes = request.param
    return ending


@pytest.fixture
def operator(core: Core) -> Peer:
    return core.connect()


# ---- status


def test_status_of_nothing(core: Core, operator: Peer, end: bytes) -> None:
    assert core.ask(operator, b"status" + end) == b".\n"


def test_status_is_function_total_running_workers(core: Core, operator: Peer, end: bytes) -> None:
    client = core.connect()
    for kind in (SUBMIT_JOB, SUBMIT_JOB_BG, SUBMIT_JOB_HIGH):
        core.submit(client, b"f", kind=kind)
    core.submit(client, b"g")
    core.grab(core.worker(b"f"))
    core.grab(core.worker(b"f"))
    core.worker(b"f", b"h")

    assert core.ask(operator, b"status" + end) == b"f\t3\t2\t3\ng\t1\t0\t0\nh\t0\t0\t1\n.\n"


def test_status_counts_delayed_jobs(core: Core, operator: Peer) -> None:
    core.send(core.connect(), SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (core.wall + 10), b"")
    core.commit()

    assert core.ask(operator, b"status\n") == b"f\t1\t0\t0\n.\n"


def test_a_function_stays_in_the_listing_when_its_jobs_and_workers_are_gone(core: Core, operator: Peer) -> None:
    worker = core.worker(b"f")
    core.submit(core.connect(), b"f")
    core.drain(worker)
    core.disconnect(worker)

    assert core.ask(operator, b"status\n") == b"f\t0\t0\t0\n.\n"


# ---- prioritystatus


@pytest.mark.parametrize("command", [b"prioritystatus", b"priority-status"])
def test_prioritystatus_is_function_high_normal_low_workers_queued_only(
    core: Core, operator: Peer, command: bytes, end: bytes
) -> None:
    client = core.connect()
    for kind in (SUBMIT_JOB_HIGH, SUBMIT_JOB_HIGH_BG, SUBMIT_JOB_HIGH, SUBMIT_JOB, SUBMIT_JOB_BG, SUBMIT_JOB_LOW):
        core.submit(client, b"f", kind=kind)
    core.grab(core.worker(b"f", b"g"))

    assert core.ask(operator, command + end) == b"f\t2\t2\t1\t1\ng\t0\t0\t0\t1\n.\n"


# ---- workers


def test_workers_lists_every_connection_the_asking_one_too(core: Core, operator: Peer, end: bytes) -> None:
    worker = core.connect("10.0.0.7")
    core.send(worker, SET_CLIENT_ID, b"worker-1")
    for function in (b"f", b"g", b"h"):
        core.send(worker, CAN_DO, function)

    assert core.ask(operator, b"workers" + end) == b"10 127.0.0.1 - :\n11 10.0.0.7 worker-1 : h g f\n.\n"


def test_workers_forgets_those_that_went(core: Core, operator: Peer) -> None:
    core.disconnect(core.worker(b"f"))

    assert core.ask(operator, b"workers\n") == b"10 127.0.0.1 - :\n.\n"


def test_an_id_or_a_function_with_a_space_does_not_break_the_columns(core: Core, operator: Peer) -> None:
    core.send(operator, SET_CLIENT_ID, b"my worker\n")
    core.send(operator, CAN_DO, b"to do")

    assert core.ask(operator, b"workers\n") == b"10 127.0.0.1 my\\x20worker\\x0a : to\\x20do\n.\n"


def test_names_are_shown_byte_for_byte(core: Core, operator: Peer) -> None:
    core.send(operator, CAN_DO, b"caf\xc3\xa9\xff")

    assert core.ask(operator, b"status\n") == b"caf\xc3\xa9\xff\t0\t0\t1\n.\n"


def test_a_tab_or_a_newline_in_a_name_does_not_break_the_listing(core: Core, operator: Peer) -> None:
    core.send(operator, CAN_DO, b"a\tb\nc")

    assert core.ask(operator, b"status\n") == b"a\\x09b\\x0ac\t0\t0\t1\n.\n"


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a\x85b", b"a\\x85b"),
        ("a\x9b2Jb", b"a\\x9b2Jb"),
        ("a\u2028b", b"a\\u2028b"),
        ("a\u2029b", b"a\\u2029b"),
    ],
)
def test_what_ends_a_line_or_moves_a_cursor_beyond_ascii(core: Core, operator: Peer, name: str, there: bytes) -> None:
    """A program that takes a listing apart with Python's splitlines would read rows that a stranger made up."""
    core.send(operator, CAN_DO, name.encode())

    assert core.ask(operator, b"status\n") == there + b"\t0\t0\t1\n.\n"


def test_a_space_breaks_no_column_where_tabs_separate_them(core: Core, operator: Peer) -> None:
    """What monitors a function of this name knows it by this name."""
    core.send(operator, CAN_DO, b"to do")

    assert core.ask(operator, b"status\n") == b"to do\t0\t0\t1\n.\n"


# ---- show


def test_show_jobs_is_handle_retries_ignored_persisted(core: Core, operator: Peer, end: bytes) -> None:
    client = core.connect()
    foreground = core.submit(client, b"f")
    background = core.submit(client, b"f", kind=SUBMIT_JOB_BG)

    expected = foreground + b"\t0\t0\t0\n" + background + b"\t0\t0\t1\n.\n"
    assert core.ask(operator, b"show jobs" + end) == expected


def test_show_jobs_counts_the_retries(core: Core, operator: Peer) -> None:
    handle = core.submit(core.connect(), b"f")
    for _ in range(2):
        worker = core.worker(b"f")
        core.grab(worker)
        core.disconnect(worker)

    assert core.ask(operator, b"show jobs\n") == handle + b"\t2\t0\t0\n.\n"


def test_show_jobs_does_not_call_a_job_persisted_before_its_commit(core: Core, operator: Peer) -> None:
    core.send(core.connect(), SUBMIT_JOB_BG, b"f", b"", b"")

    assert b"\t1\n" not in core.ask(operator, b"show jobs\n")


def test_show_jobs_lists_no_job_that_cannot_be_cancelled(core: Core, operator: Peer) -> None:
    core.send(core.connect(), SUBMIT_JOB_BG, b"f", b"", b"")

    for line in core.ask(operator, b"show jobs\n").splitlines()[:-1]:
        handle = line.split(b"\t")[0]
        assert core.ask(operator, b"cancel job %b\n" % handle) != b"ERR UNKNOWN_JOB\r\n"


def test_show_unique_jobs_is_one_unique_a_line(core: Core, operator: Peer, end: bytes) -> None:
    client = core.connect()
    core.submit(client, b"f", b"", b"one")
    core.submit(client, b"f", b"", b"two", SUBMIT_JOB_BG)

    assert core.ask(operator, b"show unique jobs" + end) == b"one\ntwo\n.\n"


def test_show_unique_jobs_leaves_out_jobs_without(core: Core, operator: Peer) -> None:
    client = core.connect()
    core.submit(client, b"f", b"", b"one")
    core.submit(client, b"f")

    assert core.ask(operator, b"show unique jobs\n") == b"one\n.\n"


def test_a_unique_key_that_is_a_dot_does_not_end_the_listing(core: Core, operator: Peer) -> None:
    client = core.connect()
    core.submit(client, b"f", b"", b".")
    core.submit(client, b"f", b"", b"two")

    assert core.ask(operator, b"show unique jobs\n") == b"\\x2e\ntwo\n.\n"


def test_jobs_without_a_unique_key_are_gone_through_a_slice_at_a_time(core: Core, operator: Peer) -> None:
    """Or a line that costs nothing to send would keep all others waiting for as long as there are jobs."""
    jobs = 3 * SLICE
    for _ in range(jobs):
        core.submit(core.connect(), b"f")
    slices = core.admin.answer(operator, b"show unique jobs")

    assert isinstance(slices, Iterator)
    found = list(slices)
    assert len(found) > jobs // SLICE
    assert b"".join(found) == b".\n"


def test_a_listing_of_more_than_a_few_lines_waits_for_its_turn(core: Core, operator: Peer) -> None:
    for number in range(FIRST + 1):
        core.send(operator, CAN_DO, b"%d" % number)

    with pytest.raises(Unfinished):
        core.dispatch.text(operator, b"status")


# ---- listings that are not read


def begun(core: Core, operator: Peer) -> Iterator[bytes]:
    """What is to follow of a listing of functions."""
    slices = core.admin.answer(operator, b"status")
    assert isinstance(slices, Iterator)
    next(slices)
    return slices


def test_listings_that_nobody_reads_share_a_bound(core: Core, operator: Peer) -> None:
    """Each has a copy of what it goes through; of ten thousand such copies the server would die."""
    for number in range(2 * SLICE):
        core.send(operator, CAN_DO, b"f%d" % number)
    core.admin.copies.most = 5 * SLICE
    asked = [begun(core, operator) for _ in range(4)]

    assert core.admin.copies.size <= 5 * SLICE
    assert [b"".join(slices)[-3:] == b"\n.\n" for slices in asked] == [False, False, True, True]


def test_the_listing_that_makes_no_progress_is_the_one_that_ends(core: Core, operator: Peer) -> None:
    for number in range(2 * SLICE):
        core.send(operator, CAN_DO, b"f%d" % number)
    core.admin.copies.most = 5 * SLICE
    read, unread = begun(core, operator), begun(core, operator)
    next(read)
    next(read)
    another = begun(core, operator)

    assert b"".join(unread).endswith(b"\nERR SLOW_READER This+listing+was+left+unread+while+others+were+asked+for\r\n")
    assert b"".join(read).endswith(b"\n.\n")
    assert b"".join(another).endswith(b"\n.\n")


def test_a_listing_that_is_given_up_leaves_nothing(core: Core, operator: Peer) -> None:
    core.send(operator, CAN_DO, b"f")
    slices = begun(core, operator)
    del slices

    assert not core.admin.copies.size


@pytest.mark.parametrize("line", [b"show", b"show job", b"show unique", b"show jobs now", b"show unique jobs now"])
def test_show_something_else(core: Core, operator: Peer, line: bytes, end: bytes) -> None:
    assert core.ask(operator, line + end) == b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n"


# ---- cancel


def test_cancel_a_waiting_foreground_job(core: Core, operator: Peer, end: bytes) -> None:
    client = core.connect()
    handle = core.submit(client, b"f")

    assert core.ask(operator, b"cancel job " + handle + end) == b"OK\r\n"
    assert core.received(client) == [(WORK_FAIL, handle)]
    assert core.grab(core.worker(b"f")) is None
    core.check()


def test_cancel_a_waiting_background_job(core: Core, operator: Peer, end: bytes) -> None:
    handle = core.submit(core.connect(), b"f", kind=SUBMIT_JOB_BG)

    core.feed(operator, b"cancel job " + handle + end)
    core.commit()
    assert core.raw(operator) == b"OK\r\n"
    assert core.table.rows == {}
    assert core.grab(core.worker(b"f")) is None


def test_cancel_a_running_job(core: Core, operator: Peer) -> None:
    client, worker = core.connect(), core.worker(b"f")
    handle = core.submit(client, b"f")
    core.grab(worker)

    assert core.ask(operator, b"cancel job " + handle + b"\n") == b"OK\r\n"
    assert core.received(client) == [(WORK_FAIL, handle)]
    assert core.ask(operator, b"status\n") == b"f\t0\t0\t1\n.\n"
    core.send(client, GET_STATUS, handle)
    assert core.received(client) == [(STATUS_RES, handle, b"0", b"0", b"0", b"0")]


def test_cancel_is_known_by_the_id_alone(core: Core, operator: Peer) -> None:
    handle = core.submit(core.connect(), b"f")

    assert core.ask(operator, b"cancel job H:oldhost:" + handle.rpartition(b":")[2] + b"\n") == b"OK\r\n"


@pytest.mark.parametrize("handle", [b"H:here:1", b"nonsense", b"H:here:", b"\xff\xfe", b"9" * 5000])
def test_cancel_no_job(core: Core, operator: Peer, handle: bytes, end: bytes) -> None:
    assert core.ask(operator, b"cancel job " + handle + end) == b"ERR UNKNOWN_JOB\r\n"


def test_cancel_twice(core: Core, operator: Peer) -> None:
    handle = core.submit(core.connect(), b"f")
    core.ask(operator, b"cancel job " + handle + b"\n")

    assert core.ask(operator, b"cancel job " + handle + b"\n") == b"ERR UNKNOWN_JOB\r\n"


# ---- functions


def test_create_function(core: Core, operator: Peer, end: bytes) -> None:
    """With a bare LF the C server makes `fo`."""
    assert core.ask(operator, b"create function foo" + end) == b"OK\r\n"
    assert core.ask(operator, b"status\n") == b"foo\t0\t0\t0\n.\n"


def test_create_function_that_is_there_changes_nothing(core: Core, operator: Peer) -> None:
    core.worker(b"foo")

    assert core.ask(operator, b"create function foo\n") == b"OK\r\n"
    assert core.ask(operator, b"status\n") == b"foo\t0\t0\t1\n.\n"


def test_create_function_with_too_long_a_name(core: Core, operator: Peer) -> None:
    assert core.ask(operator, b"create function " + b"f" * 513 + b"\n").startswith(b"ERR ")
    assert core.broker.functions == {}


def test_drop_function(core: Core, operator: Peer, end: bytes) -> None:
    core.ask(operator, b"create function foo\n")

    assert core.ask(operator, b"drop function foo" + end) == b"OK\r\n"
    assert core.ask(operator, b"status\n") == b".\n"


def test_drop_function_that_is_not_there(core: Core, operator: Peer, end: bytes) -> None:
    assert core.ask(operator, b"drop function foo" + end) == b"ERR function not found\r\n"


IN_USE = b"ERR there are still connected workers or executing clients\r\n"


def test_drop_function_with_workers(core: Core, operator: Peer, end: bytes) -> None:
    worker = core.worker(b"foo")
    assert core.ask(operator, b"drop function foo" + end) == IN_USE

    core.disconnect(worker)
    assert core.ask(operator, b"drop function foo" + end) == b"OK\r\n"


@pytest.mark.parametrize("kind", [SUBMIT_JOB, SUBMIT_JOB_BG])
def test_drop_function_with_jobs(core: Core, operator: Peer, kind: int) -> None:
    core.submit(core.connect(), b"foo", kind=kind)

    assert core.ask(operator, b"drop function foo\n") == IN_USE


def test_drop_function_with_a_job_on_its_way_to_the_table(core: Core, operator: Peer) -> None:
    core.send(core.connect(), SUBMIT_JOB_BG, b"foo", b"", b"")

    assert core.ask(operator, b"drop function foo\n") == IN_USE


def test_a_dropped_function_comes_back_with_its_next_job(core: Core, operator: Peer) -> None:
    core.ask(operator, b"create function foo\n")
    core.ask(operator, b"maxqueue foo 1\n")
    core.ask(operator, b"drop function foo\n")
    client = core.connect()
    core.submit(client, b"foo")
    core.submit(client, b"foo")

    assert core.ask(operator, b"status\n") == b"foo\t2\t0\t0\n.\n"


# ---- maxqueue


@pytest.mark.parametrize(
    ("numbers", "limits"),
    [(b"", (0, 0, 0)), (b" 5", (5, 5, 5)), (b" 1 2 3", (1, 2, 3)), (b" 0", (0, 0, 0)), (b" -1 0 7", (-1, 0, 7))],
)
def test_maxqueue(core: Core, operator: Peer, numbers: bytes, limits: tuple[int, ...], end: bytes) -> None:
    assert core.ask(operator, b"maxqueue foo" + numbers + end) == b"OK\r\n"
    assert core.broker.functions[b"foo"].limits == limits


# ---- those that tell one thing


@pytest.mark.parametrize(
    ("command", "answer"),
    [(b"version", b"OK 1.2.3\n"), (b"getpid", b"OK 6145\n"), (b"verbose", b"OK INFO\n")],
)
def test_one_line_that_ends_with_a_line_feed(
    core: Core, operator: Peer, command: bytes, answer: bytes, end: bytes
) -> None:
    assert core.ask(operator, command + end) == answer


@pytest.mark.parametrize("line", [b"shutdown", b"shutdown graceful"])
def test_shutdown_is_refused(core: Core, operator: Peer, line: bytes, end: bytes) -> None:
    assert core.ask(operator, line + end).startswith(b"ERR ")
    assert core.ask(operator, b"version\n") == b"OK 1.2.3\n"


# ---- what is not a command


@pytest.mark.parametrize("line", [b"", b" ", b"nonsense", b"GET / HTTP/1.1", b"\xff\xfe", b"statuss", b"st\0atus"])
def test_an_unknown_command(core: Core, operator: Peer, line: bytes, end: bytes) -> None:
    answer = core.ask(operator, line + end)

    assert answer.startswith(b"ERR UNKNOWN_COMMAND Unknown+server+command")
    assert answer.endswith(b"\r\n")
    assert answer.count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"create",
        b"create function",
        b"create function a b",
        b"create foo bar",
        b"drop",
        b"drop function",
        b"drop foo bar",
        b"cancel",
        b"cancel job",
        b"cancel job a b",
        b"cancel H:here:1",
        b"maxqueue",
        b"maxqueue foo x",
        b"maxqueue foo 1 2",
        b"maxqueue foo 1 2 3 4",
    ],
)
def test_an_incomplete_set_of_arguments(core: Core, operator: Peer, line: bytes, end: bytes) -> None:
    text = b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+"

    assert core.ask(operator, line + end) == text + line.split()[0] + b"\r\n"
    assert core.broker.functions == {}


@pytest.mark.parametrize(
    "line",
    [b"STATUS", b"Status", b"  status  ", b"status\t", b"PriorityStatus", b"SHOW JOBS", b"Show Unique Jobs"],
)
def test_words_are_case_insensitive_and_spaces_do_not_matter(core: Core, operator: Peer, line: bytes) -> None:
    assert core.ask(operator, line + b"\n") == b".\n"


def test_names_are_case_sensitive(core: Core, operator: Peer) -> None:
    assert core.ask(operator, b"CREATE FUNCTION Foo\n") == b"OK\r\n"
    assert core.ask(operator, b"Drop Function foo\n") == b"ERR function not found\r\n"
    assert core.ask(operator, b"Cancel JOB H:here:1\n") == b"ERR UNKNOWN_JOB\r\n"
    assert core.ask(operator, b"MaxQueue Foo 1\n") == b"OK\r\n"
    assert core.ask(operator, b"status\n") == b"Foo\t0\t0\t0\n.\n"


def test_many_commands_in_one_read(core: Core, operator: Peer) -> None:
    assert core.ask(operator, b"version\nstatus\r\ngetpid\n") == b"OK 1.2.3\n.\nOK 6145\n"


def test_a_command_in_many_reads(core: Core, operator: Peer) -> None:
    for byte in b"status\r":
        assert core.ask(operator, bytes([byte])) == b""
    assert core.ask(operator, b"\n") == b".\n"
