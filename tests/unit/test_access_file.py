"""The file of access rules: what it may say, and what is said of mistakes in it."""

import hashlib
import logging
from pathlib import Path

import pytest

from gearmand_py.server.access import Access, Level
from gearmand_py.server.access_file import read_access
from gearmand_py.server.runner import StartError

SECRET = "correct-horse-battery"
OTHER = "another-horse-battery"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    path.touch(0o600)
    return path


def read(file: Path, text: str) -> Access:
    file.write_text(text)
    return read_access(file)


def test_all_that_a_rule_may_say(file: Path) -> None:
    access = read(
        file,
        """
        [[access]]
        from = ["10.0.0.0/8", "::1", "unix"]
        certificate = ["worker-*", "admin"]
        submit = ["mail.*", "sms"]
        work = "mail.*"
        admin = "read"
        [[access]]
        from = "192.0.2.7"
        admin = "none"
        """,
    )
    assert access.rights("192.0.2.8", None, frozenset()) is None
    assert access.rights("192.0.2.7", None, frozenset())
    for address in ("10.1.1.1", "::1", "-"):
        assert access.rights(address, None, frozenset()) is None
        rights = access.rights(address, "worker-1", frozenset())
        assert rights
        assert (rights.submits[b"sms"], rights.works[b"sms"], rights.works[b"mail.x"]) == (True, False, True)
        assert rights.admin == Level.READ


@pytest.mark.parametrize(
    "line",
    [
        f'secret = "{SECRET}"',
        f'secret = ["{OTHER}", "{SECRET}"]',
        f'secret-sha256 = "{DIGEST}"',
        f'secret-sha256 = ["{DIGEST.upper()}"]',
        'secret-file = "secret"',
    ],
)
def test_a_secret(file: Path, line: str) -> None:
    file.with_name("secret").write_text(f"{OTHER}\n{SECRET}\n")
    access = read(file, f'[[access]]\n{line}\nsubmit = "*"\n')
    digest = access.digest("10.0.0.1", None, SECRET.encode())
    assert digest == bytes.fromhex(DIGEST)
    assert access.digest("10.0.0.1", None, b"x" + SECRET.encode()) is None


RULE = '[[access]]\nsubmit = "*"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": has no rule, a table [[access]]; without the option all is allowed"),
        ('submit = "*"', ": there is no key 'submit': rules are tables [[access]]"),
        ('[access]\nsubmit = "*"', ": write [[access]], with two brackets, above each rule"),
        ("access = [1]", ": write [[access]], with two brackets, above each rule"),
        ("[[access]", ": Expected ']]' at the end of an array declaration (at line 1, column 9)"),
        (RULE + '[[access]]\nfrom = "::"', ", rule 2: allows nothing: give it one of submit, work, admin"),
        (RULE + "sumbit = 1", ", rule 1: there is no key 'sumbit'; did you mean 'submit'?"),
        (RULE + "colour = 1", ", rule 1: there is no key 'colour'; known are from, certificate, secret, "),
        (RULE + "work = [1]", ", rule 1: work takes a text, or a list of texts, none of them empty"),
        (RULE + 'work = ""', ", rule 1: work takes a text, or a list of texts, none of them empty"),
        (RULE + 'from = "10.0.0.300"', ", rule 1: from: '10.0.0.300' is no address or network: write 10.0.0.0/8, "),
        (RULE + 'from = "::ffff:10.0.0.1"', ", rule 1: from: '::ffff:10.0.0.1' is IPv4 written as IPv6: "),
        (RULE + "certificate = []", ", rule 1: certificate is empty: "),
        (RULE + 'admin = "all"', ", rule 1: admin takes one of none, read, manage"),
        (RULE + "admin = true", ", rule 1: admin takes one of none, read, manage"),
        (RULE + "admin = []", ", rule 1: admin takes one of none, read, manage"),
        (RULE + 'secret = "s3cret"', ", rule 1: secret: a secret has at least 16 characters; make one with: openssl"),
        (RULE + f'secret = "{"s3cret" * 200}"', ", rule 1: secret: a secret has at most 1024 characters; make one"),
        (RULE + "secret = 5", ", rule 1: secret takes a text, or a list of texts, none of them empty"),
        (RULE + "secret = []", ", rule 1: secret is empty: make one with: openssl rand -hex 32"),
        (RULE + 'secret = "s3cret with white space"', ", rule 1: secret: a secret has no white space in it, "),
        (RULE + 'secret-sha256 = "s3cret"', ", rule 1: secret-sha256 takes 64 hexadecimal digits, as of: printf"),
        (RULE + f'secret = "{SECRET}"\nsecret-file = "x"', ", rule 1: has secret and secret-file: give it one of them"),
        (
            RULE + 'secret-file = "nowhere"',
            ", rule 1: secret-file {}/nowhere cannot be read: No such file or directory",
        ),
        (RULE + 'secret-file = "empty"', ", rule 1: secret-file {}/empty is empty: make one with: openssl"),
        (RULE + 'secret-file = "short"', ", rule 1: secret-file {}/short: a secret has at least 16 characters; "),
        ('submit = "\udcff"', ": cannot be read: it is not UTF-8"),
    ],
)
def test_a_mistake_names_file_rule_and_remedy(file: Path, text: str, message: str) -> None:
    file.with_name("empty").touch()
    file.with_name("short").write_text("s3cret")
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(StartError) as error:
        read_access(file)
    assert f"--access-file {file}{message.format(file.parent)}" in str(error.value)
    assert "s3cret" not in str(error.value)
    assert SECRET not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"access\.toml: cannot be read: No such file or directory"):
        read_access(tmp_path / "access.toml")


@pytest.mark.parametrize(
    ("mode", "key", "warns"), [(0o644, "secret", True), (0o640, "secret", False), (0o644, "x", False)]
)
def test_a_secret_that_everybody_can_read(
    file: Path, caplog: pytest.LogCaptureFixture, mode: int, key: str, warns: bool
) -> None:
    file.chmod(mode)
    line = f'secret = "{SECRET}"' if key == "secret" else ""
    with caplog.at_level(logging.WARNING):
        read(file, f'[[access]]\nsubmit = "*"\n{line}')
    assert bool(caplog.records) == warns
