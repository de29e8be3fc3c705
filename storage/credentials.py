"""How a session proves who it is, and whom it talks to: passwords and TLS."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gearmand_py.storage.base import StorageError, StorageUnavailable

Password = Callable[[], str | None]

PASSWORD_VARIABLE: Final = "GEARMAND_DATABASE_PASSWORD"  # noqa: S105 - a name
# libpq's names first, then those of MySQL's clients and of SQLAlchemy.
MODE_NAMES: Final = ("sslmode", "ssl-mode", "ssl_mode")
CA_NAMES: Final = ("sslrootcert", "ssl-ca", "ssl_ca")
CERTIFICATE_NAMES: Final = ("sslcert", "ssl-cert", "ssl_cert")
KEY_NAMES: Final = ("sslkey", "ssl-key", "ssl_key")
# MySQL's words for libpq's.
MODES: Final = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}
KNOWN_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UNVERIFIED: Final = ("disable", "allow", "prefer")


def password_from(file: Path | None) -> Password:
    """Reads the password anew each time: from the file, else the environment; None leaves it to the URL."""

    def read() -> str | None:
        if file is None:
            return os.environ.get(PASSWORD_VARIABLE)
        try:
            return file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise StorageUnavailable(
                f"cannot read the password in {file}: {reason}: see --database-password-file"
            ) from None

    return read


def tls_context(options: dict[str, Any]) -> ssl.SSLContext | bool | None:
    """What the URL's parameters ask for; they are taken out of `options`. None: the driver's default, False: no TLS.

    Without a mode a given CA means verify-full. `prefer`, the default of PostgreSQL's driver, is not asked for here.
    Raises StorageError for what cannot be.
    """
    mode, ca, certificate, key = (
        _take(options, names) for names in (MODE_NAMES, CA_NAMES, CERTIFICATE_NAMES, KEY_NAMES)
    )
    mode = (mode or ("verify-full" if ca else "prefer")).lower()
    mode = MODES.get(mode, mode)
    if mode not in KNOWN_MODES:
        raise StorageError(f"--database: sslmode={mode} is not known: use one of {', '.join(KNOWN_MODES)}")
    if mode in UNVERIFIED:
        return False if mode == "disable" else None
    try:
        context = ssl.create_default_context(cafile=ca)
        context.check_hostname = mode == "verify-full"
        if mode == "require" and not ca:
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise StorageError(f"--database: cannot use {ca or certificate} for TLS: {error.strerror or error}") from error
    return context


def _take(options: dict[str, Any], names: tuple[str, ...]) -> str | None:
    found = [options.pop(name) for name in names if name in options]
    return found[0] if found else None
