"""The client's commands: what they parse and print, and how they behave towards a server that follows a script."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import click
import pytest
from click.testing import CliRunner, Result

from gearmand_py.server import packets
from gearmand_py.server.client import (
    Address,
    BadAnswer,
    Client,
    ConnectionLost,
    ServerError,
    ServerUnreachable,
    answer_is_whole,
    answer_lines,
    parse_address,
)
from gearmand_py.server.codec import Connection
from gearmand_py.server.commands import (
    COMMANDS,
    FAILED,
    JOBS,
    NO_SERVER,
    NOT_EXECUTABLE,
    NOT_FOUND,
    STATUS,
    SUCCESS,
    USAGE,
    WORKERS,
    Listing,
    own_address,
    parse_rows,
    parse_when,
    printable,
    progress_text,
    status_text,
    table,
)

HOST: Final = "127.0.0.1"
SERVER: Final = Address(HOST, 4730)
NOW: Final = 1_800_000_000.25
HANDLE: Final = b"H:here:1"

# What a server sends back, in turn, for each packet type or text line. After CLOSE it hangs up.
Script = Mapping[int | bytes, list[bytes]]
CLOSE: Final = b""


class ScriptedServer:
    """Serves one connection after another in a thread; `requests` holds what arrived."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[tuple[int, bytes]] = []
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._is_closing = True
        socket.create_connection((HOST, self.port)).close()  # wakes the thread from accept
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                if self._is_closing:
                    return
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        codec = Connection(packets.REQUEST)
        while data := connection.recv(65536):
            for kind, body in codec.feed(data):
                self.requests.append((kind, body))
                answers = self._script.get(body if kind == packets.TEXT else kind)
                answer = answers.pop(0) if answers else None
                if answer == CLOSE:
                    return
                connection.sendall(answer or b"")

    def bodies(self, kind: int) -> list[bytes]:
        """The bodies of the requests of a type."""
        return [body for came, body in self.requests if came == kind]


def gearmand_py(*words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Result:
    """Run the command line in this process."""

    @click.group("gearmand-py")
    @click.option("-L", "--listen", default=HOST)
    @click.option("-p", "--port", type=int, default=4730, envvar="GEARMAND_PORT")
    def group(listen: str, port: int) -> None:
        """Take the options of the real group."""

    for command in COMMANDS:
        group.add_command(command)
    clean = {"GEARMAN_SERVERS": None, "GEARMAND_PORT": None}
    return CliRunner().invoke(group, words, input=stdin, env={**clean, **(environment or {})})


def against(script: Script, *words: str, stdin: bytes = b"") -> tuple[Result, ScriptedServer]:
    """Run the command line against a scripted server."""
    with ScriptedServer(script) as server:
        return gearmand_py("-p", str(server.port), *words, stdin=stdin), server


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("jobs.example", Address("jobs.example", 5000)),
        ("jobs.example:4731", Address("jobs.example", 4731)),
        ("10.0.0.1:1", Address("10.0.0.1", 1)),
        ("::1", Address("::1", 5000)),
        ("[::1]", Address("::1", 5000)),
        ("[fe80::1]:65535", Address("fe80::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, address: Address) -> None:
    assert parse_address(text, 5000) == address


@pytest.mark.parametrize(
    "text", ["", ":4730", "host:", "host:0", "host:65536", "host:x", "a b", "::1:x", "[::1]:x", "[]"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_address(text)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(Address("::1", 4730)) == "[::1]:4730"


@pytest.mark.parametrize(("listen", "host"), [("0.0.0.0", HOST), ("::", "::1"), ("10.0.0.1", "10.0.0.1"), (None, HOST)])
def test_a_server_that_listens_everywhere_is_met_on_loopback(listen: str | None, host: str) -> None:
    assert own_address({"listen": listen, "port": 5000}) == Address(host, 5000)


def test_without_options_the_server_is_the_local_one() -> None:
    assert own_address({}) == SERVER


# --- times --------------------------------------------------------------------------------------------------------


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


# --- the text protocol --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "is_listing", "lines"),
    [
        (b".\n", True, []),
        (b"f\t1\t0\t1\n.\n", True, [b"f\t1\t0\t1"]),
        (b"f\t1\t0\t1\r\n.\r\n", True, [b"f\t1\t0\t1"]),
        (b"ERR f\t1\t0\t1\n.\n", True, [b"ERR f\t1\t0\t1"]),
        (b".f\t1\t0\t1\n.\n", True, [b".f\t1\t0\t1"]),
        (b"OK\r\n", False, [b"OK"]),
        (b"OK 1.1.20\n", False, [b"OK 1.1.20"]),
    ],
)
def test_a_text_answer_is_whole_at_its_end_and_not_before(answer: bytes, is_listing: bool, lines: list[bytes]) -> None:
    assert [answer_is_whole(answer[:end], is_listing) for end in range(len(answer))] == [False] * len(answer)
    assert answer_is_whole(answer, is_listing)
    assert answer_lines(answer, is_listing) == lines


@pytest.mark.parametrize("is_listing", [True, False])
def test_an_err_line_is_raised_with_its_code_and_its_text(is_listing: bool) -> None:
    answer = b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n"
    assert answer_is_whole(answer, is_listing)
    with pytest.raises(ServerError, match=r"UNKNOWN_COMMAND: Unknown server command") as raised:
        answer_lines(answer, is_listing)
    assert raised.value.code == "UNKNOWN_COMMAND"


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


# --- what people see ----------------------------------------------------------------------------------------------


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


def test_names_cannot_control_the_terminal() -> None:
    assert printable("caf\u00e9 \x1b[2J\u202e") == "caf\u00e9 \\x1b[2J\\u202e"


@pytest.mark.parametrize(
    ("numerator", "denominator", "text"),
    [(b"1", b"4", "1/4 (25%)"), (b"1", b"0", "1/0"), (b"half", b"all", "half/all"), (b"", b"", "/")],
)
def test_progress_is_shown_in_per_cent_where_it_can_be(numerator: bytes, denominator: bytes, text: str) -> None:
    assert progress_text(numerator, denominator) == text


def test_an_exit_status_is_told_in_words() -> None:
    assert status_text(3) == "exited with status 3"
    assert status_text(-9) == "was killed by signal 9 (SIGKILL)"


# --- the client ---------------------------------------------------------------------------------------------------


def test_a_refused_connection_says_how_to_start_a_server(free_port: int) -> None:
    with pytest.raises(ServerUnreachable, match=rf"{HOST}:{free_port}.* refused.*gearmand-py --port {free_port}$"):
        Client.connect(HOST, free_port)


def test_a_name_that_cannot_be_resolved_is_unreachable() -> None:
    with pytest.raises(ServerUnreachable, match="host name"):
        Client.connect("x" * 64)


@pytest.mark.parametrize(
    "junk",
    [b"HTTP/1.1 400 Bad Request\r\n", b"\0XXX\0\0\0\1\0\0\0\0", packets.request(packets.ECHO_REQ), b"x" * 10_000],
)
def test_what_is_not_gearman_is_a_bad_answer(junk: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(junk)
        with pytest.raises(BadAnswer, match="right port"):
            client.receive(timeout=10)


def test_packets_before_the_junk_are_received_first() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(packets.NO_JOB_PACKET + b"\0XXX\0\0\0\1\0\0\0\0")
        assert client.receive(timeout=10) == (packets.NO_JOB, b"")
        with pytest.raises(BadAnswer):
            client.receive(timeout=10)


def test_an_error_packet_is_raised() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client:
        theirs.sendall(packets.error("QUEUE_ERROR", "Job queue is full"))
        with pytest.raises(ServerError, match="QUEUE_ERROR: Job queue is full"):
            client.receive(timeout=10)


def test_a_silent_server_is_lost_after_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    with theirs, Client(ours, SERVER) as client, pytest.raises(ConnectionLost, match=r"no answer within 0\.01 s"):
        client.receive(timeout=0.01)


def test_the_reason_for_hanging_up_on_a_large_request_reaches_its_sender() -> None:
    ours, theirs = socket.socketpair()
    with Client(ours, SERVER) as client:
        theirs.sendall(packets.error("ARGUMENT_TOO_LARGE", "too much"))
        theirs.close()
        with pytest.raises(ServerError, match="too much"):
            client.send(packets.SUBMIT_JOB, b"f", b"", b"x" * 1_000_000)


def test_a_line_of_a_listing_may_be_longer_than_any_text_command() -> None:
    line = b"31 10.0.0.1 - : " + b" ".join(b"function-%d" % number for number in range(10_000))
    with ScriptedServer({b"workers": [line + b"\n.\n"]}) as server, Client.connect(HOST, server.port) as client:
        assert client.text("workers") == [line]


# --- which server -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "environment", "server"),
    [
        (["ping"], {"GEARMAND_PORT": "1"}, "127.0.0.1:1"),
        (["-p", "1", "ping"], {}, "127.0.0.1:1"),
        (["-p", "1", "-L", "::", "ping"], {}, "[::1]:1"),
        (["ping"], {"GEARMAN_SERVERS": "127.0.0.2:1,127.0.0.3:1"}, "127.0.0.2:1"),
        (["ping"], {"GEARMAN_SERVERS": "127.0.0.2", "GEARMAND_PORT": "1"}, "127.0.0.2:1"),
        (["-p", "1", "ping"], {"GEARMAN_SERVERS": "127.0.0.2:2"}, "127.0.0.1:1"),
        (["-p", "1", "ping", "-s", "127.0.0.2:2"], {"GEARMAN_SERVERS": "127.0.0.3:3"}, "127.0.0.2:2"),
    ],
)
def test_what_is_typed_goes_before_what_is_in_the_environment(
    words: list[str], environment: dict[str, str], server: str
) -> None:
    result = gearmand_py(*words, environment=environment)
    assert f"cannot reach {server}:" in result.stderr
    assert result.exit_code == NO_SERVER


# --- submit -------------------------------------------------------------------------------------------------------

OPTION_SET: Final = [packets.response(packets.OPTION_RES, b"exceptions")]


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


@pytest.mark.parametrize(
    "words",
    [
        ["submit"],
        ["submit", ""],
        ["submit", "f", "--at", "+1h", "--priority", "low"],
        ["submit", "f", "--at", "soon"],
        ["work", "f"],
        ["work", "f", "--"],
        ["work", "f", "-n", "1", "--", "cat"],
        ["cancel"],
        ["cancel", "H:here:1\nshutdown"],
        ["cancel", ""],
        ["ping", "-s", "host:port"],
    ],
)
def test_wrong_usage_gives_status_2_before_any_connection(words: list[str]) -> None:
    result = gearmand_py(*words)
    assert result.exit_code == USAGE, result.output
    assert "cannot reach" not in result.stderr


# --- work ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """A worker takes the signals of its process, which here is that of all tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def assigned(number: int, data: bytes = b"") -> bytes:
    return packets.response(packets.JOB_ASSIGN_UNIQ, b"H:here:%d" % number, b"f", b"key", data)


def worker_script(*answers: bytes) -> dict[int | bytes, list[bytes]]:
    return {packets.GRAB_JOB_UNIQ: list(answers), packets.ECHO_REQ: 2 * [packets.response(packets.ECHO_RES, b"read")]}


@pytest.mark.usefixtures("restored_signals")
def test_work_gives_the_data_to_the_command_and_its_output_to_the_server() -> None:
    result, server = against(worker_script(assigned(1, b"a\0b")), "work", "-n", "1", "f", "--", "cat")
    assert (result.exit_code, result.stderr) == (SUCCESS, "")
    assert server.bodies(packets.CAN_DO) == [b"f"]
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0a\0b"]


@pytest.mark.usefixtures("restored_signals")
def test_the_command_learns_about_its_job() -> None:
    script = 'printf "$GEARMAN_HANDLE $GEARMAN_FUNCTION $GEARMAN_UNIQUE"'
    _, server = against(worker_script(assigned(1)), "work", "-n", "1", "f", "sh", "-c", script)
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0H:here:1 f key"]


@pytest.mark.usefixtures("restored_signals")
def test_a_command_that_fails_fails_the_job_and_the_worker_goes_on() -> None:
    script = worker_script(assigned(1), assigned(2))
    result, server = against(script, "work", "-n", "2", "f", "sh", "-c", "kill -9 $$")
    assert server.bodies(packets.WORK_FAIL) == [b"H:here:1", b"H:here:2"]
    assert result.stderr.splitlines()[0] == "H:here:1: sh was killed by signal 9 (SIGKILL)"
    assert result.exit_code == SUCCESS


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_without_a_job_sleeps_until_it_is_woken() -> None:
    script = worker_script(packets.NO_JOB_PACKET, packets.NOOP_PACKET + assigned(1))  # a late NOOP is passed over
    script[packets.PRE_SLEEP] = [packets.NOOP_PACKET]
    _, server = against(script, "work", "-n", "1", "f", "cat")
    kinds = [kind for kind, _ in server.requests]
    asleep = [packets.GRAB_JOB_UNIQ, packets.PRE_SLEEP]
    assert kinds == [packets.CAN_DO, *asleep, packets.GRAB_JOB_UNIQ, packets.WORK_COMPLETE, packets.ECHO_REQ]


@pytest.mark.usefixtures("restored_signals")
def test_a_job_that_was_cancelled_meanwhile_does_not_stop_the_worker() -> None:
    script = worker_script(assigned(1), assigned(2))
    script[packets.WORK_COMPLETE] = [packets.error("JOB_NOT_FOUND", "Job given in work result not found")]
    result, server = against(script, "work", "-n", "2", "f", "cat")
    assert (result.exit_code, len(server.bodies(packets.WORK_COMPLETE))) == (SUCCESS, 2)
    assert "H:here:1: no longer known to the server" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_outlives_its_connection_and_says_so_once() -> None:
    script = worker_script(packets.NO_JOB_PACKET, CLOSE, CLOSE, assigned(1))
    script[packets.PRE_SLEEP] = [CLOSE]
    result, server = against(script, "work", "-n", "1", "f", "cat")
    lost, again = result.stderr.splitlines()
    assert lost.endswith("closed the connection; reconnecting")
    assert again.endswith("again")
    assert (result.exit_code, len(server.bodies(packets.CAN_DO))) == (SUCCESS, 4)


@pytest.mark.usefixtures("restored_signals")
def test_a_job_counts_once_the_server_has_read_the_report() -> None:
    script = worker_script(assigned(1), assigned(1))
    script[packets.WORK_COMPLETE] = [CLOSE]
    result, server = against(script, "work", "-n", "1", "f", "cat")
    assert server.bodies(packets.WORK_COMPLETE) == 2 * [b"H:here:1\0"]
    assert "(job H:here:1 goes back to its queue); reconnecting" in result.stderr


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_job_in_hand_finish(number: signal.Signals) -> None:
    command = f"kill -{number.value} {os.getpid()}; echo done"
    result, server = against(worker_script(assigned(1), assigned(2)), "work", "f", "sh", "-c", command)
    assert server.bodies(packets.WORK_COMPLETE) == [b"H:here:1\0done\n"]
    assert "stopping after job H:here:1" in result.stderr
    assert result.exit_code == SUCCESS


def test_a_second_signal_leaves_the_job_to_the_server() -> None:
    # In a process of its own: with other threads about, a second signal may come to one of them.
    program = str(Path(sys.executable).with_name("gearmand-py"))
    with ScriptedServer(worker_script(assigned(1))) as server:
        command = ["work", "f", "--", "sh", "-c", "kill -INT $PPID; kill -TERM $PPID; sleep 30"]
        done = subprocess.run([program, "-p", str(server.port), *command], timeout=20, check=False)
    assert not server.bodies(packets.WORK_COMPLETE) + server.bodies(packets.WORK_FAIL)
    assert done.returncode == 128 + signal.SIGTERM


def test_a_command_that_does_not_exist_takes_no_job() -> None:
    result, server = against({}, "work", "f", "no-such-command-here")
    assert (result.exit_code, server.requests) == (NOT_FOUND, [])
    assert "no-such-command-here: command not found" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_command_that_cannot_be_run_fails_no_job(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF but not really")
    program.chmod(0o755)
    result, server = against(worker_script(assigned(1)), "work", "f", str(program))
    assert (result.exit_code, server.bodies(packets.WORK_FAIL)) == (NOT_EXECUTABLE, [])
    assert "goes back to its queue" in result.stderr


@pytest.mark.usefixtures("restored_signals")
def test_a_worker_whose_first_connection_fails_gives_up() -> None:
    result = gearmand_py("-p", "1", "work", "f", "cat")
    assert result.exit_code == NO_SERVER


# --- status, cancel, ping -----------------------------------------------------------------------------------------

LISTED: Final = b"f\t3\t1\t2\n\xffg\t0\t0\t0\n.\n"


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
