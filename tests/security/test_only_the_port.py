"""What a stranger tries who has nothing but the port, while a client and a worker go on with their jobs."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ServerError
from gearmand_py.server.packets import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    ECHO_REQ,
    GET_STATUS,
    GET_STATUS_UNIQUE,
    GRAB_JOB,
    JOB_ASSIGN,
    JOB_CREATED,
    NO_JOB,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_JOB_BG,
    WORK_COMPLETE,
    WORK_FAIL,
    WORK_STATUS,
    request,
)
from tests.acceptance.clients import until
from tests.command.running import Worker
from tests.harness.server import HOST, Server
from tests.security.conftest import SECRET

PATIENCE: Final = 60.0
HONEST: Final = b"mail.honest"
ROUNDS: Final = 20
STRANGER: Final = "127.0.0.2"  # wrong secrets from there are not those of others

BODIES: Final = [
    b"",
    b"\0",
    b"\0" * 12,
    b"f",
    b"f\0u",
    b"f\0u\0d",
    b"\xff" * 100,
    b"f\0" * 20,
    b"a\tb\nc\x1b[2J\0u\0d",
    b"f\0u\0" + b"9" * 5000 + b"\0d",
    b"f\0-5",
    b"f\0" + b"9" * 5000,
    b"f\0u\0inf\0d",
    b"f\0u\0\xb2\0d",
    b"f\0u\0*\0*\x0031\x002\0*\0d",
    b"f\0u\x00-1\x0099\x000\x000\x009\0d",
    b"x" * 100_000,
]
SUBMISSIONS: Final = [
    (packets.SUBMIT_JOB, ()),
    (packets.SUBMIT_JOB_BG, ()),
    (packets.SUBMIT_JOB_HIGH, ()),
    (packets.SUBMIT_JOB_HIGH_BG, ()),
    (packets.SUBMIT_JOB_LOW, ()),
    (packets.SUBMIT_JOB_LOW_BG, ()),
    (packets.SUBMIT_JOB_SCHED, (b"*", b"*", b"*", b"*", b"*")),
    (packets.SUBMIT_JOB_EPOCH, (b"0",)),
    (packets.SUBMIT_REDUCE_JOB, (b"mail.reducer", b"")),
    (packets.SUBMIT_REDUCE_JOB_BACKGROUND, (b"mail.reducer", b"")),
]
REPORTS: Final = [
    WORK_COMPLETE,
    WORK_FAIL,
    packets.WORK_EXCEPTION,
    packets.WORK_DATA,
    packets.WORK_WARNING,
    WORK_STATUS,
]


class Bystanders:
    """A client and a worker; every job must come back as it should, or `check` says what happened."""

    def __init__(self, port: int) -> None:
        self.background = True  # jobs too, which take as long as the disk does
        self._port = port
        self._enough, self._stop = threading.Event(), threading.Event()  # of jobs; of work
        self._more = threading.Condition()
        self._rounds = 0
        self._failed: BaseException | None = None
        self._client = threading.Thread(target=self._guarded, args=(self._submit, self._enough))
        self._worker = threading.Thread(target=self._guarded, args=(self._work, self._stop))

    def __enter__(self) -> Self:
        self._client.start()
        self._worker.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.go_on()
        finally:
            self._enough.set()
            self._client.join()
            self._stop.set()
            self._worker.join()

    def go_on(self, rounds: int = ROUNDS) -> None:
        """Wait until so many more jobs are done."""
        with self._more:
            goal = self._rounds + rounds
            assert self._more.wait_for(lambda: self._rounds >= goal or self._failed, PATIENCE), "the bystanders hang"
        if self._failed:
            raise self._failed

    def _guarded(self, does: Callable[[Client], None], stop: threading.Event) -> None:
        try:
            with Client.connect(HOST, self._port) as peer:
                while not stop.is_set():
                    does(peer)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            with self._more:
                self._failed = error
                self._more.notify_all()

    def _work(self, worker: Client) -> None:
        worker.send(CAN_DO, HONEST)
        worker.send(GRAB_JOB)
        kind, body = worker.receive(PATIENCE)
        if kind == JOB_ASSIGN:
            handle, _, data = body.split(b"\0", 2)
            worker.send(WORK_COMPLETE, handle, data[::-1])
        else:
            assert kind == NO_JOB
            self._stop.wait(0.002)

    def _submit(self, client: Client) -> None:
        data = b"job %d" % self._rounds
        handle = client.ask(SUBMIT_JOB, HONEST, b"", data, answer=JOB_CREATED)
        assert client.receive(PATIENCE) == (WORK_COMPLETE, handle + b"\0" + data[::-1])
        if self.background:
            client.ask(SUBMIT_JOB_BG, HONEST, b"", data, answer=JOB_CREATED)
        with self._more:
            self._rounds += 1
            self._more.notify_all()


@pytest.fixture
def bystanders(server: Server) -> Iterator[Bystanders]:
    """They must get through before, during and after."""
    with Bystanders(server.port) as bystanders:
        yield bystanders


@contextmanager
def raw(server: Server, host: str = HOST) -> Iterator[socket.socket]:
    """A connection from an address of this host."""
    with socket.create_connection((HOST, server.port), PATIENCE, (host, 0)) as connection:
        yield connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """All up to this end, or up to that of the stream."""
    found = b""
    while not found.endswith(end) and (more := connection.recv(1 << 20)):
        found += more
    return found


def said(server: Server, line: bytes, end: bytes, host: str = HOST) -> bytes:
    """The answer to a line."""
    with raw(server, host) as connection:
        connection.sendall(line + b"\n")
        return read_until(connection, end)


# ---- packets that are none


def test_every_packet_type_with_every_body(server: Server, bystanders: Bystanders) -> None:
    """An answer or a closed connection; the log has no traceback, which the fixture sees."""
    for kind in range(60):
        with suppress(ConnectionError), raw(server) as connection:
            for body in BODIES:
                connection.sendall(struct.pack(">4sII", b"\0REQ", kind, len(body)) + body)
            connection.sendall(request(ECHO_REQ, b"the end"))
            read_until(connection, b"the end")
    bystanders.go_on()


def test_text_and_packets_in_all_cuts(server: Server) -> None:
    stream = b"version\r\n" + request(ECHO_REQ, b"a\nb") + b"maxqueue f\n\ngetpid\n" + request(GET_STATUS, b"x")
    stream += b"show nothing\r\n" + request(ECHO_REQ, b"the end")
    answers = set()
    for cut in range(len(stream)):
        with raw(server) as connection:
            connection.sendall(stream[:cut])
            connection.sendall(stream[cut:])
            answers.add(read_until(connection, b"the end"))
    assert len(answers) == 1


@pytest.mark.usefixtures("bystanders")
def test_ends_at_every_state(server: Server) -> None:
    for said_before in (
        request(SUBMIT_JOB, b"f", b"", b"")[:-1],
        request(SUBMIT_JOB, b"f", b"", b""),
        request(CAN_DO, b"mail.abandoned") + request(GRAB_JOB),
        b"status",
        b"show jobs\n" * 1000,
    ):
        for half in (False, True):
            with raw(server) as connection:
                connection.sendall(said_before)
                if half:
                    connection.shutdown(socket.SHUT_WR)
                    read_until(connection, b"never")


# ---- names that lie


def test_no_name_makes_up_a_row(server: Server) -> None:
    names = ["evil\t0\t0\t0\n.\nmade\tup", ".", "a\rb", "a\x85b", "a\u2028b", "\x1b[2J", "a\x9b2Jb", " ", "OK"]
    with server.connect() as client:
        for name in names:
            client.send(SET_CLIENT_ID, name.encode())
            client.send(CAN_DO, name.encode())
            client.ask(SUBMIT_JOB_BG, name.encode(), name.encode(), b"", answer=JOB_CREATED)
        listings = {
            command: said(server, command, b"\n.\n").decode().splitlines()
            for command in (b"status", b"prioritystatus", b"show jobs", b"show unique jobs")
        }
        # Two connections and the dot, when the server has read that those who asked before have left.
        until(lambda: len(said(server, b"workers", b"\n.\n").decode().splitlines()), 3)
    for command, lines in listings.items():
        assert lines.index(".") == len(names), (command, lines)
        assert all(line.isprintable() for row in lines for line in row.split("\t"))


# ---- others' jobs


def test_nobody_else_reports_on_a_job(server: Server) -> None:
    with server.connect() as client, server.connect() as worker, server.connect() as stranger:
        handle = client.ask(SUBMIT_JOB, b"f", b"", b"", answer=JOB_CREATED)
        worker.send(CAN_DO, b"f")
        worker.ask(GRAB_JOB, answer=JOB_ASSIGN)
        stranger.send(CAN_DO, b"f")
        for kind in REPORTS:
            for name in (handle, b"", handle + b"0", handle.rpartition(b":")[2]):
                with pytest.raises(ServerError, match="JOB_NOT_FOUND"):
                    stranger.ask(kind, *([name] if kind == WORK_FAIL else [name, b"1", b"2"]), answer=0)
        worker.send(WORK_COMPLETE, handle, b"right")
        assert client.receive(PATIENCE) == (WORK_COMPLETE, handle + b"\0right")


def test_a_job_that_is_grabbed_and_abandoned_is_still_done(server: Server) -> None:
    with server.connect() as client:
        handle = client.ask(SUBMIT_JOB, b"f", b"", b"", answer=JOB_CREATED)
        for _ in range(100):
            stranger = Worker(server.port, b"f")
            stranger.take()  # waited for: the server may read that the last one has left behind what this one asks
            stranger.close()
        with server.connect() as worker:
            worker.send(CAN_DO, b"f")
            until(lambda: grabbed(worker), True)
            worker.send(WORK_COMPLETE, handle, b"right")
            assert client.receive(PATIENCE) == (WORK_COMPLETE, handle + b"\0right")


def grabbed(worker: Client) -> bool:
    """Did it get a job?"""
    worker.send(GRAB_JOB)
    return worker.receive(PATIENCE)[0] == JOB_ASSIGN


# ---- keeping others waiting


def still_busy(connection: socket.socket) -> bool:
    """Has the end of the answers not come yet?"""
    connection.setblocking(False)
    try:
        while more := connection.recv(1 << 20):
            if b"the end" in more:
                return False
    except BlockingIOError:
        return True
    return False


def test_listings_that_show_nothing(server: Server, bystanders: Bystanders) -> None:
    jobs = 5000
    bystanders.background = False
    with raw(server) as stranger, server.connect() as client:
        for _ in range(jobs):
            client.send(SUBMIT_JOB, b"f", b"", b"")
        for _ in range(jobs):
            client.receive(PATIENCE)
        stranger.sendall(b"show unique jobs\n" * 3000 + request(ECHO_REQ, b"the end"))
        bystanders.go_on(1)
        assert still_busy(stranger), "the bystanders had to wait for all of it"


def test_reports_on_a_job_for_which_many_wait(server: Server, bystanders: Bystanders) -> None:
    waiting = 5000
    bystanders.background = False
    with server.connect() as client, server.connect() as worker:
        for _ in range(waiting):
            client.send(SUBMIT_JOB, b"f", b"key", b"")
        handle = {client.receive(PATIENCE)[1] for _ in range(waiting)}.pop()
        worker.send(CAN_DO, b"f")
        worker.ask(GRAB_JOB, answer=JOB_ASSIGN)
        reading = threading.Thread(target=drained, args=(client.detach(),))
        reading.start()
        stranger = worker.detach()
        stranger.sendall(request(WORK_STATUS, handle, b"1", b"2") * 3000 + request(ECHO_REQ, b"the end"))
        bystanders.go_on(1)
        assert still_busy(stranger), "the bystanders had to wait for all of it"
        client.detach().shutdown(socket.SHUT_RDWR)
        reading.join()


def drained(connection: socket.socket) -> None:
    """Read all that comes."""
    with suppress(OSError):
        while connection.recv(1 << 20):
            pass


# ---- what the rules deny


def test_no_way_to_a_function_that_is_denied(guarded: Server) -> None:
    with guarded.connect() as stranger:
        for name in (b"pay", b"Mail.x", b"mail", b" mail.x", b"x.mail.x", b"mail/x", b"ma\xc3\xaf\x6c.x"):
            for kind, more in SUBMISSIONS:
                with pytest.raises(ServerError, match="NOT_ALLOWED"):
                    stranger.ask(kind, name, b"", *more, b"", answer=JOB_CREATED)
            for kind, more in ((CAN_DO, ()), (CAN_DO_TIMEOUT, (b"5",))):
                with pytest.raises(ServerError, match="NOT_ALLOWED"):
                    stranger.ask(kind, name, *more, answer=0)
        for kind in (packets.SUBMIT_REDUCE_JOB, packets.SUBMIT_REDUCE_JOB_BACKGROUND):
            with pytest.raises(ServerError, match="NOT_ALLOWED"):
                stranger.ask(kind, b"mail.x", b"", b"pay", b"", b"", answer=JOB_CREATED)
    with Client.connect(HOST, guarded.port, SECRET.encode()) as operator:
        assert operator.text("status") == []


def test_no_way_to_a_command_that_is_denied(guarded: Server) -> None:
    with Client.connect(HOST, guarded.port, SECRET.encode()) as operator:
        handle = operator.ask(SUBMIT_JOB_BG, b"pay", b"key", b"", answer=JOB_CREATED)
        commands = [b"status", b"workers", b"prioritystatus", b"show jobs", b"show unique jobs", b"version", b"getpid"]
        commands += [b"verbose", b"create function mail.x", b"drop function pay", b"maxqueue pay 1", b"shutdown"]
        commands += [b"cancel job " + handle]
        for command in commands:
            for spelled in (command, command.upper(), b" " + command.replace(b" ", b"  "), b"\t" + command + b"\r"):
                assert said(guarded, spelled, b"\n", STRANGER).startswith(b"ERR NOT_ALLOWED"), spelled
        with guarded.connect() as stranger:
            for kind, name in ((GET_STATUS, handle), (GET_STATUS_UNIQUE, b"key")):
                assert set(stranger.ask(kind, name, answer=kind_of_answer(kind)).split(b"\0")[1:]) == {b"0"}
        assert operator.text("status") == [b"pay\t1\t0\t0"]


def kind_of_answer(kind: int) -> int:
    """STATUS_RES and STATUS_RES_UNIQUE."""
    return {GET_STATUS: packets.STATUS_RES, GET_STATUS_UNIQUE: packets.STATUS_RES_UNIQUE}[kind]


# ---- secrets


def test_wrong_secrets_get_nothing_and_shut_nobody_else_out(guarded: Server) -> None:
    wrong = [SECRET[:-1], SECRET + "x", SECRET.upper(), "x" * 100_000, "", SECRET + "\0x", " " + SECRET]
    for secret in wrong:
        with raw(guarded, STRANGER) as stranger:
            stranger.sendall(request(ECHO_REQ, b"auth:" + secret.encode()) + request(ECHO_REQ, b"the end"))
            assert b"NOT_ALLOWED" in read_until(stranger, b"the end")
    for _ in range(ROUNDS):
        said(guarded, b"auth " + b"x" * 20, b"\n", STRANGER)
    assert b"Too+many+wrong+secrets" in said(guarded, b"auth " + SECRET.encode(), b"\n", STRANGER)
    assert said(guarded, b"auth " + SECRET.encode(), b"\n") == b"OK\r\n"


def test_no_secret_is_told(guarded: Server) -> None:
    secret = SECRET.encode()
    with raw(guarded) as connection:
        connection.sendall(request(SET_CLIENT_ID, b"auth:" + secret + b" me") + b"workers\n")
        assert secret not in read_until(connection, b"\n.\n")
        for misplaced in (CAN_DO, SUBMIT_JOB_BG):
            connection.sendall(request(misplaced, b"auth:" + secret, b"", b""))
        connection.sendall(b"auth: " + secret + b"\n" + request(ECHO_REQ, b"the end"))
        read_until(connection, b"the end")
    guarded.stop()
    assert re.search("DEBUG", guarded.stderr)
    assert SECRET not in guarded.stderr
