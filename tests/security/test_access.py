"""Who may do what, with clients that know nothing of it."""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client, ConnectionLost, ServerError
from gearmand_py.server.guard import ADDRESS_BURST, ADDRESS_SECONDS, WRONG_SECRETS
from gearmand_py.server.packets import CAN_DO, ECHO_REQ, OPTION_REQ, SET_CLIENT_ID, SUBMIT_JOB_BG
from tests.acceptance.clients import Clients
from tests.acceptance.libraries import PHP_SETTINGS
from tests.command.running import GearmandPy, Worker
from tests.conftest import StartServer
from tests.harness.process import Process
from tests.harness.server import HOST, Server
from tests.harness.tools import need
from tests.security.conftest import RULES, SECRET

PROGRAMS = Path(__file__).with_name("programs")
DENIED = r"denied: 127\.0\.0\.1 may not {}; rules for it: 1"


def reload(server: Server, outcome: bytes = b"access rules read anew") -> None:
    os.kill(server.pid, signal.SIGHUP)
    server.expect(outcome)


def accepted(client: Client, function: bytes) -> bool:
    """Does the server take a job?"""
    try:
        client.ask(SUBMIT_JOB_BG, function, b"", b"hello", answer=packets.JOB_CREATED)
    except ServerError as error:
        if error.code != "NOT_ALLOWED":
            raise
        return False
    return True


# ---- by address


def test_what_a_rule_allows(clients: Clients) -> None:
    clients.gearman("-b", "-f", "mail.welcome", "hello").result()
    assert clients.gearman("-w", "-c", "1", "-f", "mail.welcome").result() == b"hello"


def test_a_submission_that_no_rule_allows(clients: Clients) -> None:
    client = clients.gearman("-b", "-f", "pay", "hello")
    client.wait()
    assert "NOT_ALLOWED:You may not submit to pay: no access rule allows it" in client.stderr
    clients.server.expect(DENIED.format("submit to pay").encode())


def test_a_worker_that_no_rule_allows(clients: Clients) -> None:
    with Client.connect(HOST, clients.server.port, SECRET.encode()) as client:
        assert accepted(client, b"pay")
        worker = clients.gearman("-w", "-c", "1", "-f", "pay")
        worker.wait()
        assert worker.stdout == b""
        assert client.text("status") == [b"pay\t1\t0\t0"]
    clients.server.expect(DENIED.format("work on pay").encode())


def test_text_commands_that_no_rule_allows(clients: Clients) -> None:
    for command in ("--status", "--create-function=pay"):
        admin = clients.start_gearadmin(command)
        admin.wait()
        assert admin.stdout == b""
    clients.server.expect(DENIED.format("use the command status").encode())
    clients.server.expect(DENIED.format("use the command create").encode())


def test_nobody_whom_no_rule_is_for_comes_in(guarded: Server, rules: Path) -> None:
    rules.write_text('[[access]]\nfrom = ["10.0.0.0/8", "unix"]\nsubmit = "*"\n')
    reload(guarded)
    with Client.connect(HOST, guarded.port) as client, pytest.raises((ServerError, ConnectionLost)):
        client.receive(timeout=10)
    guarded.expect(rb"denied: 127\.0\.0\.1 may not connect; no rule for it")


def test_a_unix_socket(start_server: StartServer, tmp_path: Path, rules: Path) -> None:
    rules.write_text('[[access]]\nfrom = "unix"\nadmin = "read"\n[[access]]\nfrom = "127.0.0.1"\nadmin = "none"\n')
    server = start_server("--access-file", str(rules), "-L", f"{tmp_path}/socket")
    with Client.connect(f"{tmp_path}/socket") as client:
        assert client.text("status") == []
    with server.connect() as client, pytest.raises(ServerError, match="NOT_ALLOWED"):
        client.text("status")


def test_who_has_hung_up_is_not_taken_for_a_unix_socket(start_server: StartServer, rules: Path) -> None:
    """A connection reset before it is accepted has no address any more, but what it said can still be read."""
    rules.write_text('[[access]]\nfrom = "unix"\nadmin = "manage"\n[[access]]\nfrom = "127.0.0.1"\nadmin = "read"\n')
    server = start_server("--access-file", str(rules))
    os.kill(server.pid, signal.SIGSTOP)
    with socket.create_connection((HOST, server.port)) as gone:
        gone.sendall(b"create function forged\n")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets
    os.kill(server.pid, signal.SIGCONT)
    with server.connect() as client:
        assert client.text("status") == []


# ---- by secret


def test_a_secret_by_libgearman(clients: Clients) -> None:
    need("gearman")
    for option, function, outcome in (
        (f"auth:{SECRET}", "pay", b"option taken\nsubmit accepted\n"),
        ("auth:guess", "mail.a", b"option refused\nsubmit accepted\n"),
        ("auth:guess", "pay", b"option refused\nsubmit refused\n"),
    ):
        command = [sys.executable, str(PROGRAMS / "option.py"), str(clients.server.port), option, function]
        with Process(command) as program:
            assert program.result() == outcome


def test_a_secret_by_php(clients: Clients) -> None:
    def run(secret: str, function: str) -> list[str]:
        command = [need("php"), *PHP_SETTINGS, str(PROGRAMS / "secret.php"), str(clients.server.port), secret, function]
        with Process(command) as program:
            return program.result().decode().splitlines()

    assert run(SECRET, "pay") == ["client welcome", "submit accepted", "worker welcome", "job hello", "end done"]
    client, submit, worker, *rest = run("guess", "pay")
    assert (client, worker, rest) == ("client refused", "worker refused", ["end refused"])
    assert "NOT_ALLOWED" in submit


def test_a_secret_by_gear(guarded: Server) -> None:
    command = [sys.executable, str(PROGRAMS / "gear_clients.py"), str(guarded.port), SECRET]
    with Process(command, stdin=None) as program:
        program.expect(rb"option True\njob hello\n")
        with Client.connect(HOST, guarded.port, SECRET.encode()) as operator:
            listed = operator.text("workers")
    assert any(line.endswith(b" worker-7 : pay") for line in listed)
    assert SECRET.encode() not in b"".join(listed)


def test_a_secret_by_perl(guarded: Server) -> None:
    with (
        Process([need("perl"), str(PROGRAMS / "worker.pl"), str(guarded.port), SECRET, "pay"]) as worker,
        Client.connect(HOST, guarded.port, SECRET.encode()) as client,
    ):
        assert accepted(client, b"pay")
        assert worker.result() == b"hello\n"


def test_a_secret_as_text(guarded: Server) -> None:
    with guarded.connect() as client:
        with pytest.raises(ServerError, match="NOT_ALLOWED"):
            client.text("status")
        assert client.text(f"auth {SECRET}") == [b"OK"]
        assert client.text("status") == []
        assert accepted(client, b"pay")


def test_who_guesses_is_hung_up_on_and_slowed(guarded: Server) -> None:
    answers, connections, began = b"", 20, time.monotonic()
    for _ in range(connections):
        with socket.create_connection((HOST, guarded.port)) as client:
            client.sendall(b"auth guess\n" * 5)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(1000):
                answers += data
    most = ADDRESS_BURST + 1 + (time.monotonic() - began) / ADDRESS_SECONDS  # one more each second, however slow we are
    assert re.findall(rb"ERR NOT_ALLOWED (\w+\+\w+)", answers).count(b"Wrong+secret") <= most
    assert b"Too+many+wrong+secrets" in answers
    assert len(answers.splitlines()) <= connections * WRONG_SECRETS


def test_the_commands_show_a_secret(guarded: Server, gearmand_py: GearmandPy, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    at = gearmand_py.at(guarded.port)
    refused = at.run("status")
    assert refused.status == 1
    assert "NOT_ALLOWED" in refused.stderr
    assert "FUNCTION" in at.output("status", "--secret-file", str(tmp_path / "secret"))
    for variables in ({"GEARMAND_SECRET": SECRET}, {"GEARMAND_SECRET_FILE": str(tmp_path / "secret")}):
        assert at.run("submit", "-b", "pay", "hello", environment=variables).status == 0
    assert at.run("work", "-n", "1", "pay", "cat", environment={"GEARMAND_SECRET": SECRET}).status == 0
    wrong = at.run("status", environment={"GEARMAND_SECRET": "guess"})
    assert wrong.stderr == "Error: the server says NOT_ALLOWED: Wrong secret\n"
    measured = at.run("bench", "both", "-n", "10", "--warm-up", "0", environment={"GEARMAND_SECRET": SECRET})
    assert measured.status == 0, measured.stderr


def test_the_commands_show_a_secret_to_a_server_without_rules(server: Server, gearmand_py: GearmandPy) -> None:
    assert gearmand_py.at(server.port).run("status", environment={"GEARMAND_SECRET": SECRET}).status == 0


def test_the_log_has_no_secret(guarded: Server) -> None:
    secret = SECRET.encode()
    odd = [
        b"AUTH " + secret + b"\n",
        b"auth" + secret + b"\n",
        b"auth:" + secret + b"\n",
        b"auth " + secret + b" " + secret + b"\n",
        b"auth x" + secret + b"\0\n",
        b"authenticate " + secret + b"\n",
        *(
            packets.request(kind, b"auth:" + form)
            for kind in (OPTION_REQ, ECHO_REQ, SET_CLIENT_ID, CAN_DO, SUBMIT_JOB_BG)
            for form in (secret, b"x" + secret, secret + b"\0", secret + b"\0\0x")
        ),
        packets.request(200, b"auth:" + secret),
        packets.request(OPTION_REQ, b"auth:" + secret)[:-3],
        b"\0REQ" + b"auth:" + secret,
        b"\0REX" + b"auth:" + secret,
        b"auth " + secret + b"x" * 10_000,
    ]
    for data in odd:
        with socket.create_connection((HOST, guarded.port)) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    with guarded.connect() as client, pytest.raises(ServerError):
        client.text("status")
    assert guarded.stop() == 0
    assert "denied: " in guarded.stderr
    assert SECRET not in guarded.stderr


def test_a_flood_of_denials_is_few_lines(guarded: Server) -> None:
    with guarded.connect() as client:
        client._socket.sendall(packets.request(CAN_DO, b"pay") * 10_000)
        client.send(packets.ECHO_REQ, b"end")
        with pytest.raises(ServerError, match="NOT_ALLOWED"):
            client.receive(timeout=10)
    guarded.expect(b"denied: ")
    guarded.stop()
    assert guarded.stderr.count("denied: ") <= 5


# ---- other rules


def test_new_rules_hold_for_who_is_there(guarded: Server, rules: Path) -> None:
    worker = Worker(guarded.port, b"mail.a")
    with guarded.connect() as client, Client.connect(HOST, guarded.port, SECRET.encode()) as keyed:
        assert accepted(client, b"mail.a")
        worker.take()
        rules.write_text(RULES.replace("mail", "letters"))
        reload(guarded)
        assert not accepted(client, b"mail.a")
        assert accepted(client, b"letters.a")
        assert keyed.text("status") == [b"mail.a\t1\t0\t0", b"letters.a\t1\t0\t0"]  # taken back from the worker
        rules.write_text(RULES.replace(SECRET, "another-secret-than-before"))
        reload(guarded)
        with pytest.raises(ServerError, match="NOT_ALLOWED"):
            keyed.text("status")
    worker.close()


def test_rules_with_a_mistake_leave_the_old_ones_in_force(guarded: Server, rules: Path) -> None:
    rules.write_text(RULES + '[[access]]\nsubmit = ["pay"]\nform = "10.0.0.0/8"\n')
    said = f"--access-file {rules}, rule 3: there is no key 'form'; did you mean 'from'?; the rules from before are"
    reload(guarded, re.escape(said).encode())
    with guarded.connect() as client:
        assert accepted(client, b"mail.a")
        assert not accepted(client, b"pay")


@pytest.mark.parametrize("option", ["--check-config", "--check-args", "--verbose=info"])
def test_a_server_does_not_start_with_a_mistake(gearmand_py: GearmandPy, rules: Path, option: str) -> None:
    rules.write_text('[[access]]\nfrom = "10.0.0.1/8"\nsubmit = "*"\n')
    ended = gearmand_py.run("-p", "0", "-q", "builtin", "--access-file", str(rules), option)
    assert ended.status == 1
    said = f"--access-file {rules}, rule 1: from: '10.0.0.1/8' is no address or network: did you mean 10.0.0.0/8?"
    assert ended.stderr.splitlines()[-1] == f"gearmand-py: {said}"


# ---- the warning

WARNED = "whoever can connect to "


@pytest.mark.parametrize(
    ("listen", "ruled", "count"),
    [
        (["0.0.0.0"], False, 1),
        (["::"], False, 1),
        (["0.0.0.0"], True, 0),
        (["127.0.0.1", "::1", "unix:{}/socket"], False, 0),
    ],
)
def test_an_open_server_warns_once(
    gearmand_py: GearmandPy, tmp_path: Path, rules: Path, listen: list[str], ruled: bool, count: int
) -> None:
    words = [word for one in listen for word in ("--listen", one.format(tmp_path))]
    words += ["--access-file", str(rules)] if ruled else []
    server = gearmand_py.start("-p", "0", "-q", "builtin", *words)
    server.expect_error(rb"gearmand-py \S+ listening on")
    server.send_signal(signal.SIGTERM)
    server.wait()
    assert server.stderr.count(WARNED) == count
    assert server.stderr.count("--access-file") == count
