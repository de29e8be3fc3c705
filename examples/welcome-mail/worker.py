"""Sends welcome mails: into a directory, or to a mail server with --smtp HOST:PORT."""

import argparse
import json
import os
import re
import smtplib
import time
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from pathlib import Path

import gear

HERE = Path(__file__).parent


def key_of(job: gear.TextWorkerJob) -> str:
    """The unique key with which the page queued the job; it becomes the name of a file, so it is looked at."""
    if not re.fullmatch(r"[0-9a-f]{40}", job.unique or ""):
        raise ValueError(f"{job.unique!r} is no key of the sign-up page")
    return str(job.unique)


def welcome(job: gear.TextWorkerJob) -> EmailMessage:
    """The mail that a job asks for. EmailMessage refuses line ends in a header, and addresses that are none."""
    user = json.loads(job.arguments)
    mail = EmailMessage()
    mail["From"] = "Example <hello@example.org>"
    mail["To"] = Address(user["name"], addr_spec=user["email"])
    mail["Subject"] = f"Welcome, {user['name']}!"
    # A job runs again when its worker dies before it reports. Both mails then have one id, and mail readers show one.
    mail["Message-ID"] = f"<{key_of(job)}@example.org>"
    mail.set_content(f"Hello {user['name']},\n\nit is good to have you here.\n")
    return mail


def put_into(outbox: Path, name: str, mail: EmailMessage) -> None:
    """Write a file that is there whole or not at all."""
    outbox.mkdir(exist_ok=True)
    unfinished = outbox / f".{name}.{os.getpid()}"
    unfinished.write_bytes(bytes(mail))
    unfinished.rename(outbox / f"{name}.eml")


def send_to(server: str, mail: EmailMessage) -> None:
    """Give the mail to a mail server, however long that takes: a job in hand is safe, whatever happens to us."""
    host, _, port = server.partition(":")
    while True:
        try:
            with smtplib.SMTP(host, int(port or 25), timeout=30) as smtp:
                smtp.send_message(mail)
        except smtplib.SMTPRecipientsRefused as refusal:
            raise ValueError(f"the mail server refuses it: {refusal}") from refusal
        except OSError as problem:  # those of smtplib too
            print(f"{problem}; again in 10 s", flush=True)
            time.sleep(10)
        else:
            return


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--outbox", type=Path, default=HERE / "outbox", help="where mails go without --smtp")
    options.add_argument("--smtp", metavar="HOST:PORT")
    chosen = options.parse_args()

    worker = gear.TextWorker("welcome-mail")
    for server in os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(","):
        host, _, port = server.partition(":")
        worker.addServer(host, int(port or 4730))  # connects by itself, and again whenever the connection is lost
    worker.registerFunction("sendWelcomeEmail")
    print("waiting for sign-ups", flush=True)
    while True:
        job = worker.getJob()
        try:
            mail = welcome(job)
            if chosen.smtp:
                send_to(chosen.smtp, mail)
            else:
                put_into(chosen.outbox, key_of(job), mail)
            print(f"sent to {mail['To']}", flush=True)
            report = job.sendWorkComplete
        except Exception as problem:  # whatever it is: it would happen again with this job, but not with the next
            print(f"not sent: {problem!r}", flush=True)
            report = job.sendWorkFail
        with suppress(OSError, AttributeError):  # gear's words for a lost connection: the server has taken the job back
            report()


main()
