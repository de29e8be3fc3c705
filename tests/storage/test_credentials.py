"""Where a password comes from, and what the parameters of a URL ask of TLS."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from gearmand_py.storage.base import StorageError, StorageUnavailable
from gearmand_py.storage.credentials import password_from, tls_context
from tests.storage.certificates import make_certificate

# ---- passwords


def test_without_a_file_the_environment_has_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    password = password_from(None)
    monkeypatch.delenv("GEARMAND_DATABASE_PASSWORD", raising=False)
    assert password() is None
    monkeypatch.setenv("GEARMAND_DATABASE_PASSWORD", " größe@:/%?# ")
    assert password() == " größe@:/%?# "


def test_the_file_goes_before_the_environment_and_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARMAND_DATABASE_PASSWORD", "the environment's")
    file = tmp_path / "password"
    password = password_from(file)
    for content, read in [
        ("plain", "plain"),
        ("a line\n", "a line"),
        ("of Windows\r\n", "of Windows"),
        ("größe@:/%?#\n", "größe@:/%?#"),
        ("  blanks stay  \n", "  blanks stay  "),
        ("two\nlines\n", "two\nlines"),
        ("\n", ""),
    ]:
        file.write_text(content, encoding="utf-8", newline="")
        assert password() == read


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(StorageUnavailable, match="see --database-password-file") as failure:
            password_from(path)()
        assert str(path) in str(failure.value)


def test_a_file_that_is_no_text_is_told_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"s3cret\xff\xfe")
    with pytest.raises(StorageUnavailable, match="it is not text") as failure:
        password_from(tmp_path / "password")()
    assert "s3cret" not in str(failure.value)
    assert failure.value.__cause__ is None, "the cause has the content"


# ---- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate; its key lies beside it."""
    return make_certificate(tmp_path, "127.0.0.1")


def context_of(**options: Any) -> ssl.SSLContext:
    context = tls_context(options)
    assert isinstance(context, ssl.SSLContext)
    return context


@pytest.mark.parametrize("options", [{}, {"sslmode": "prefer"}, {"sslmode": "allow"}, {"ssl-mode": "PREFERRED"}])
def test_by_default_the_driver_decides(options: dict[str, Any]) -> None:
    assert tls_context(options) is None
    assert options == {}


@pytest.mark.parametrize("options", [{"sslmode": "disable"}, {"ssl_mode": "DISABLED"}])
def test_tls_may_be_left_out(options: dict[str, Any]) -> None:
    assert tls_context(options) is False


@pytest.mark.parametrize(
    ("mode", "verify", "host"),
    [
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
        ("REQUIRED", ssl.CERT_NONE, False),
        ("VERIFY_CA", ssl.CERT_REQUIRED, False),
        ("VERIFY_IDENTITY", ssl.CERT_REQUIRED, True),
    ],
)
def test_the_modes_of_libpq_and_of_mysql(mode: str, verify: ssl.VerifyMode, host: bool) -> None:
    for name in ("sslmode", "ssl-mode", "ssl_mode"):
        context = context_of(**{name: mode})
        assert (context.verify_mode, context.check_hostname) == (verify, host)


@pytest.mark.parametrize("name", ["sslrootcert", "ssl-ca", "ssl_ca"])
def test_an_authority_is_there_to_be_asked(certificate: Path, name: str) -> None:
    context = context_of(**{name: str(certificate)})
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    assert context_of(**{name: str(certificate), "sslmode": "require"}).verify_mode is ssl.CERT_REQUIRED


def test_a_certificate_of_the_clients_own(certificate: Path) -> None:
    key = str(certificate.with_name("server.key"))
    options = {"sslmode": "require", "sslcert": str(certificate), "sslkey": key, "host": "other"}
    assert isinstance(tls_context(options), ssl.SSLContext)
    assert options == {"host": "other"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sslmode": "sometimes"}, "sslmode=sometimes is not known: use one of disable, allow, prefer, require, ver"),
        ({"sslrootcert": "/no/such.pem"}, "cannot use /no/such.pem for TLS: No such file or directory"),
        ({"sslmode": "require", "sslcert": "/no/such.pem"}, "cannot use /no/such.pem for TLS: No such file"),
    ],
)
def test_what_cannot_be_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StorageError, match=message):
        tls_context(options)


def test_a_file_that_is_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary")
    with pytest.raises(StorageError, match=r"cannot use .*notes\.txt for TLS: "):
        tls_context({"sslrootcert": str(tmp_path / "notes.txt")})
    with pytest.raises(StorageError, match=r"cannot use .*notes\.txt for TLS: "):
        tls_context({"sslmode": "require", "sslcert": str(tmp_path / "notes.txt")})
