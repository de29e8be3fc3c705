"""examples/welcome-mail"""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from tests.examples.checkout import Checkout, fetch, steps
from tests.harness.process import Process
from tests.harness.server import HOST

PAGE, SIGN_UP, TWICE, KILL, AWAY, AGAIN, WORK, MAIL = steps("welcome-mail/README.md")
SUBMIT = ".venv/bin/gearmand-py submit --background"


def test_the_story(checkout: Checkout) -> None:
    server = checkout.serve()
    page = checkout.start(PAGE)
    checkout.follow(SIGN_UP)
    checkout.follow(TWICE)
    checkout.type(KILL.command).result()
    assert server.wait() != 0
    checkout.follow(AWAY)
    checkout.start(AGAIN)
    checkout.start(WORK)
    checkout.follow(MAIL)
    assert len(outbox(checkout)) == 1
    assert "PHP Warning" not in page.stdout.decode()


def test_the_page_queues_no_nonsense(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(PAGE)
    url = checkout.here("http://127.0.0.1:8080/")
    for name, email in (
        ("", "ann@example.org"),
        ("Ann\r\nBcc: all@example.org", "ann@example.org"),
        ("A\0nn", "ann@example.org"),
        ("x" * 81, "ann@example.org"),
        ("Ann", ""),
        ("Ann", "ann"),
        ("Ann", "ann@example.org\r\nBcc: all@example.org"),
    ):
        assert fetch(url, name=name, email=email).status == 422, (name, email)
    assert fetch(url, **{"name[]": "Ann", "email": "ann@example.org"}).status == 422
    jobs = checkout.type(".venv/bin/gearmand-py jobs --json").result()
    assert json.loads(jobs) == []


def test_what_was_typed_is_shown_as_it_was_typed(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(PAGE)
    url = checkout.here("http://127.0.0.1:8080/")
    refused = fetch(url, name='"><script>', email='"><script>')
    assert refused.status == 422
    assert "<script" not in refused.body
    assert 'value="&quot;&gt;&lt;script&gt;"' in refused.body
    taken = fetch(url, name="<script>", email="ann@example.org")
    assert taken.status == 200
    assert "Welcome, &lt;script&gt;!" in taken.body


def test_names_of_all_sorts_arrive(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(PAGE)
    names = {"a": "Jürgen Groß", "b": "山田太郎", "c": 'Ann "A" O\'Neill, jr.', "d": "=?utf-8?q?x?="}
    for user, name in names.items():
        assert fetch(checkout.here("http://127.0.0.1:8080/"), name=name, email=f"{user}@example.org").status == 200
    checkout.start(WORK._replace(shown="waiting for sign-ups\n" + "sent to ...\n" * 4))
    mails = {mail["To"].addresses[0].username: mail for mail in outbox(checkout)}
    for user, name in names.items():
        assert mails[user].get_content() == f"Hello {name},\n\nit is good to have you here.\n"
        if user != "d":  # whose name is read as the encoding that it seems to be
            assert mails[user]["To"].addresses[0].display_name == name
            assert mails[user]["Subject"] == f"Welcome, {name}!"


KEY = f"--unique {'a' * 40}"


@pytest.mark.parametrize(
    "nonsense",
    [
        f"{KEY} sendWelcomeEmail nonsense",
        f"{KEY} sendWelcomeEmail '[]'",
        f"{KEY} sendWelcomeEmail '" + r'{"name": "A\nBcc: b@example.org", "email": "a@example.org"}' + "'",
        f"{KEY} sendWelcomeEmail '" + r'{"name": "A", "email": "a@example.org\nBcc: b@example.org"}' + "'",
        "--unique ../x sendWelcomeEmail '" + '{"name": "A", "email": "a@example.org"}' + "'",
        "sendWelcomeEmail '" + '{"name": "A", "email": "a@example.org"}' + "'",
    ],
)
def test_the_worker_sends_no_nonsense(checkout: Checkout, nonsense: str) -> None:
    checkout.serve()
    checkout.type(f"{SUBMIT} {nonsense}").result()
    checkout.type(
        f"{SUBMIT} --unique {'b' * 40} sendWelcomeEmail " + """'{"name": "Bob", "email": "bob@example.org"}'"""
    ).result()
    checkout.start(WORK._replace(shown="waiting for sign-ups\nnot sent: ...\nsent to Bob <bob@example.org>"))
    assert [mail["To"] for mail in outbox(checkout)] == ["Bob <bob@example.org>"]


def test_a_mail_server(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(PAGE)
    checkout.follow(SIGN_UP)
    with mail_server() as (port, mails):
        worker(checkout, port).expect(rb"sent to Ann")
    (mail,) = mails
    assert (mail["To"], mail["Subject"]) == ("Ann <ann@example.org>", "Welcome, Ann!")


def test_a_mail_server_that_is_away_does_not_cost_the_mail(checkout: Checkout) -> None:
    checkout.serve()
    checkout.start(PAGE)
    checkout.follow(SIGN_UP)
    first = worker(checkout, port=1)
    first.expect(rb"again in 10 s")
    first.close()
    checkout.start(WORK)


def worker(checkout: Checkout, port: int) -> Process:
    return checkout.type(f"{WORK.command.rstrip()} --smtp {HOST}:{port}")


def outbox(checkout: Checkout) -> list[EmailMessage]:
    files = (checkout.path / "examples" / "welcome-mail" / "outbox").iterdir()
    return [parse(file.read_bytes()) for file in files]


def parse(mail: bytes) -> EmailMessage:
    return message_from_bytes(mail, policy=default)


class Conversation(socketserver.StreamRequestHandler):
    """As much of SMTP as it takes to be given a mail."""

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().strip().upper():
            if line == b"DATA":
                self.say("354 go on")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(parse(mail))  # type: ignore[attr-defined]
            self.say("221 bye" if line == b"QUIT" else "250 fine")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def mail_server() -> Iterator[tuple[int, list[EmailMessage]]]:
    """A mail server: its port, and the mails that it was given."""
    with socketserver.ThreadingTCPServer((HOST, 0), Conversation) as server:
        server.mails = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server.server_address[1], server.mails  # type: ignore[attr-defined]
        finally:
            server.shutdown()
