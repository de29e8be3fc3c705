"""libgearman's command line tool over TLS, which Debian's is built without: make test-libgearman-tls GEARMAN=path."""

import os
from typing import Final

import pytest

from tests.harness.process import Process
from tests.harness.server import HOST, Server
from tests.tls.certificates import Authority

GEARMAN: Final = os.environ["GEARMAN"]


def gearman(server: Server, environment: dict[str, str], *words: str, stdin: bytes = b"") -> Process:
    return Process([GEARMAN, "-S", "-h", HOST, "-p", str(server.port), *words], stdin=stdin, environment=environment)


@pytest.fixture
def known(authority: Authority) -> dict[str, str]:
    """The environment of somebody who has a certificate."""
    return authority.environment(authority.issue("ann"))


def test_a_client_and_a_worker(strict: Server, known: dict[str, str]) -> None:
    with gearman(strict, known, "-w", "-f", "upper", "--", "tr", "a-z", "A-Z"):
        assert gearman(strict, known, "-f", "upper", "hello").result() == b"HELLO"
        assert gearman(strict, known, "-f", "upper", stdin=100_000 * b"x").result() == 100_000 * b"X"
        gearman(strict, known, "-b", "-f", "upper", "hello").result()
    assert "no TLS" not in strict.stderr


def test_a_certificate_that_is_not_accepted(strict: Server, known: dict[str, str], stranger: Authority) -> None:
    foreign = stranger.environment(stranger.issue("eve"))
    client = gearman(strict, foreign, "-t", "2000", "-f", "upper", "hello")
    strict.expect(rb"WARNING no TLS with 127\.0\.0\.1: its certificate is not accepted: ")
    client.wait()
    assert client.stdout == b""
    gearman(strict, known, "-b", "-f", "upper", "hello").result()
