"""The files of --ssl-certificate and its kin: what is wrong with them, and how they are read anew."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from gearmand_py.server.cli import main
from tests.command.running import CANNOT_START, WRONG_USAGE, GearmandPy
from tests.conftest import StartServer
from tests.harness.server import Server
from tests.tls.certificates import Authority, Pair
from tests.tls.test_server import secured, version_over


class Wrong(NamedTuple):
    """Options, and what is said of them."""

    words: list[str]
    said: str


def encrypted_key(pair: Pair, directory: Path) -> Path:
    path = directory / "locked.key"
    words = ["openssl", "pkey", "-in", str(pair.key), "-aes256", "-passout", "pass:x", "-out", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path


def wrong_files(own: Pair, other: Pair, directory: Path) -> list[Wrong]:
    """Each kind of mistake."""
    (directory / "text").write_text("no certificate\n")
    text, locked = str(directory / "text"), str(encrypted_key(own, directory))
    certificate, key = str(own.certificate), str(own.key)
    missing = "No such file or directory; give"
    pair = ["--ssl-certificate", certificate, "--ssl-key"]
    return [
        Wrong([], f"cannot read --ssl-certificate /etc/ssl/certs/gearmand.pem: {missing} --ssl-certificate the file"),
        Wrong(["--ssl-certificate", "/no"], f"cannot read --ssl-certificate /no: {missing} --ssl-certificate the file"),
        Wrong(["--ssl-certificate", "/"], "cannot read --ssl-certificate /: Is a directory"),
        Wrong(["--ssl-certificate", text], f"--ssl-certificate {text} holds no certificate in PEM form"),
        Wrong([*pair, "/no"], f"cannot read --ssl-key /no: {missing} --ssl-key the file"),
        Wrong([*pair, text], f"--ssl-key {text} holds no private key in PEM form"),
        Wrong([*pair, certificate], f"--ssl-key {certificate} holds no private key in PEM form"),
        Wrong([*pair, str(other.key)], f"--ssl-key {other.key} is not the key of --ssl-certificate {certificate}"),
        Wrong(
            [*pair, locked], f"--ssl-key {locked} has a passphrase, and nobody is there to type it; write one without"
        ),
        Wrong([*pair, key, "--ssl-ca-file", "/no"], f"cannot read --ssl-ca-file /no: {missing} --ssl-ca-file the file"),
        Wrong([*pair, key, "--ssl-ca-file", text], f"--ssl-ca-file {text} holds no certificate in PEM form"),
    ]


def test_wrong_files_are_named_before_anything_is_begun(
    gearmand_py: GearmandPy, authority: Authority, own: Pair, tmp_path: Path
) -> None:
    mistakes = wrong_files(own, authority.issue("other"), tmp_path)
    for words, said in mistakes:
        checked = CliRunner().invoke(main, ["--check-config", "--ssl", *words])
        assert (checked.exit_code, checked.stdout) == (CANNOT_START, "")
        assert said in checked.stderr
        assert checked.stderr.count("\n") == 1
    ended = gearmand_py.run("--port=0", "--queue-type=builtin", "--ssl", *mistakes[-1].words)
    assert (ended.status, ended.stdout) == (CANNOT_START, b"")
    assert ended.stderr.startswith(f"gearmand-py: {mistakes[-1].said}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ssl-verify-client"], "--ssl-verify-client says nothing without TLS: give --ssl or --ssl-port"),
        (["--ssl", "--ssl-verify-client"], "--ssl-verify-client needs --ssl-ca-file"),
        (["--port=4731", "--ssl-port=4731"], "--ssl-port and --port are both 4731"),
    ],
)
def test_options_that_do_not_go_together(gearmand_py: GearmandPy, words: list[str], said: str) -> None:
    ended = gearmand_py.run("--check-args", *words)
    assert ended.status == WRONG_USAGE
    assert said in ended.stderr


def test_files_without_tls_are_told(gearmand_py: GearmandPy, own: Pair) -> None:
    server = gearmand_py.start("-p", "0", "-q", "builtin", *own.options)
    server.expect_error(rb"--ssl-certificate, --ssl-key: without effect, since neither --ssl nor --ssl-port is given\n")


def test_the_variables_of_gearmand(gearmand_py: GearmandPy, own: Pair, authority: Authority) -> None:
    theirs = {
        "GEARMAND_SERVER_PEM": str(own.certificate),
        "GEARMAND_SERVER_KEY": str(own.key),
        "GEARMAND_CA_CERTIFICATE": str(authority.file),
    }
    shown = gearmand_py.run("--ssl", "--check-config", environment=theirs).stdout.decode()
    assert f'ssl-certificate = "{own.certificate}"  # environment' in shown
    assert f'ssl-key = "{own.key}"  # environment' in shown
    assert f'ssl-ca-file = "{authority.file}"  # environment' in shown
    ours = {"GEARMAND_SSL_KEY": "/ours"}
    assert "/ours" in gearmand_py.run("--check-config", environment=theirs | ours).stdout.decode()
    assert "/typed" in gearmand_py.run("--check-config", "--ssl-key=/typed", environment=theirs).stdout.decode()


def test_an_expired_certificate_is_served_with_a_warning(start_server: StartServer, authority: Authority) -> None:
    late = authority.issue("late", expired=True)
    server = start_server("--ssl", *late.options)
    assert f"WARNING --ssl-certificate {late.certificate} has EXPIRED on " in server.stderr
    with pytest.raises(OSError, match="certificate has expired"):
        secured(server.port, authority.context())
    server.expect(rb"WARNING no TLS with 127\.0\.0\.1: it says that --ssl-certificate has expired\n")


# ---- read anew


def serial(port: int, authority: Authority) -> str:
    """That of the certificate that new connections see."""
    with secured(port, authority.context()) as connected:
        shown = connected.getpeercert()
        assert shown
        return str(shown["serialNumber"]).lstrip("0")


@pytest.fixture
def replaceable(tmp_path: Path, authority: Authority) -> Pair:
    """Files that a test writes over."""
    pair = Pair(tmp_path / "own.pem", tmp_path / "own.key")
    replace(pair, authority.issue("one"))
    return pair


def replace(pair: Pair, other: Pair) -> None:
    """As certbot does."""
    shutil.copy(other.certificate, pair.certificate)
    shutil.copy(other.key, pair.key)


def hang_up(server: Server) -> None:
    os.kill(server.pid, signal.SIGHUP)


def test_sighup_reads_them_anew(start_server: StartServer, replaceable: Pair, authority: Authority) -> None:
    server = start_server("--ssl", *replaceable.options)
    with secured(server.port, authority.context()) as old:
        assert serial(server.port, authority) == replaceable.serial
        replace(replaceable, authority.issue("two"))
        hang_up(server)
        server.expect(rb"INFO read anew: ")
        assert serial(server.port, authority) == replaceable.serial
        assert version_over(old).startswith(b"OK ")


def test_wrong_new_files_leave_the_old_ones_in_use(
    start_server: StartServer, replaceable: Pair, authority: Authority
) -> None:
    server = start_server("--ssl", *replaceable.options)
    before = replaceable.serial
    shutil.copy(authority.issue("two").certificate, replaceable.certificate)  # and not its key
    hang_up(server)
    server.expect(rb"ERROR --ssl-key \S+ is not the key of --ssl-certificate .*; new connections get the certificate ")
    assert serial(server.port, authority) == before
    replaceable.key.unlink()
    hang_up(server)
    server.expect(rb"ERROR cannot read --ssl-key \S+: No such file or directory; .*; new connections get ")
    assert serial(server.port, authority) == before


def test_an_authority_that_was_taken_out(
    start_server: StartServer, tmp_path: Path, own: Pair, authority: Authority, stranger: Authority
) -> None:
    known = tmp_path / "known.pem"
    known.write_bytes(authority.file.read_bytes() + stranger.file.read_bytes())
    server = start_server("--ssl", *own.options, "--ssl-ca-file", str(known), "--ssl-verify-client")
    eve = authority.context(stranger.issue("eve"))
    with secured(server.port, eve) as old:
        assert version_over(old).startswith(b"OK ")
        shutil.copy(authority.file, known)
        hang_up(server)
        server.expect(rb"INFO read anew: ")
        with pytest.raises(OSError, match="alert"), secured(server.port, eve) as new:
            version_over(new)
        assert version_over(old).startswith(b"OK "), "who is in stays in"
