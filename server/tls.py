"""TLS as the operator gives it: the files, what is wrong with them, and the context that new connections get.

gearmand's options and files. It asks no client for a certificate; here one is asked for where --ssl-ca-file says whose.
"""

import logging
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gearmand_py.server.config import Settings
from gearmand_py.server.runner import StartError

log = logging.getLogger(__name__)

SOON: Final = timedelta(days=14)  # a certificate that ends within this is warned of
# OpenSSL's words, where they need others.
REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and --ssl-verify-client asks for one",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS later than 1.1",
    "NO_SHARED_CIPHER": "it has no cipher that this server allows",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority of --ssl-certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept --ssl-certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept --ssl-certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that --ssl-certificate has expired",
}


class Tls:
    """The certificate in use. `context` is that of the next connection; `notes` are what should be warned of.

    Raises StartError.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context = make_context(settings)
        self.notes = notes_on(settings)

    def reload(self) -> None:
        """Read the files anew. Where that fails new connections get what was read before."""
        try:
            self.context = make_context(self._settings)
        except StartError as error:
            log.error("%s; new connections get the certificate that was read before", error)  # noqa: TRY400 - the reason is said
            return
        log.info("read anew: %s", self._settings.ssl_certificate)
        for note in notes_on(self._settings):
            log.warning("%s", note)


def tls_of(settings: Settings) -> Tls | None:
    """What the settings say; None without TLS. Raises StartError."""
    return Tls(settings) if settings.ssl or settings.ssl_port else None


def make_context(settings: Settings) -> ssl.SSLContext:
    """For the server's side of connections. Raises StartError."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Every handshake is a whole one: a resumed session would pass by authorities that were taken out meanwhile.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set from Python 3.13 on; it refuses what a plain openssl makes
    load_own(context, settings.ssl_certificate, settings.ssl_key)
    if settings.ssl_ca_file:
        load_authorities(context, settings.ssl_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED if settings.ssl_verify_client else ssl.CERT_OPTIONAL
    return context


def load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The server's certificate and key. Raises StartError that names the one that is wrong."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    public = certificates_in(certificate)[0].public_key()
    try:
        private = load_pem_private_key(content_of("--ssl-key", key), None)
    except TypeError:
        remedy = f"write one without: openssl pkey -in {key} -out plain.key"
        raise StartError(f"--ssl-key {key} has a passphrase, and nobody is there to type it; {remedy}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise StartError(f"--ssl-key {key} holds no private key in PEM form: -----BEGIN PRIVATE KEY-----") from None
    if private.public_key() != public:
        raise StartError(f"--ssl-key {key} is not the key of --ssl-certificate {certificate}: give the two of one pair")
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"OpenSSL refuses --ssl-certificate {certificate}: {words(error)}") from None


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """Whose certificates clients may show. Raises StartError."""
    content_of("--ssl-ca-file", path)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise StartError(f"--ssl-ca-file {path} holds no certificate in PEM form: {PEM}") from None


PEM: Final = "-----BEGIN CERTIFICATE-----"


def certificates_in(path: str) -> list[Any]:
    """Those of --ssl-certificate, the server's own first. Raises StartError."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(content_of("--ssl-certificate", path))
    except ValueError:
        raise StartError(f"--ssl-certificate {path} holds no certificate in PEM form: {PEM}") from None


def content_of(option: str, path: str) -> bytes:
    """Raises StartError."""
    try:
        return Path(path).read_bytes()
    except PermissionError:
        remedy = "let the server's user read it (SIGHUP reads it as --user)"
        raise StartError(f"cannot read {option} {path}: Permission denied; {remedy}") from None
    except OSError as error:
        raise StartError(f"cannot read {option} {path}: {error.strerror}; give {option} the file") from None


def notes_on(settings: Settings) -> list[str]:
    """What is not wrong enough to keep a server from its work: clients say by themselves what they do not accept."""
    now = datetime.now(UTC)
    own = certificates_in(settings.ssl_certificate)[0]
    begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
    what = f"--ssl-certificate {settings.ssl_certificate}"
    if ends <= now:
        return [f"{what} has EXPIRED on {ends:%Y-%m-%d %H:%M} UTC: clients will refuse it; renew it and send SIGHUP"]
    if begins > now:
        return [f"{what} is not valid before {begins:%Y-%m-%d %H:%M} UTC: clients will refuse it; is the clock right?"]
    if ends <= now + SOON:
        return [f"{what} expires on {ends:%Y-%m-%d %H:%M} UTC: renew it and send SIGHUP"]
    return []


# ---- for people


def words(error: Exception) -> str:
    """Why a handshake failed, or a file is refused."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    code = getattr(error, "reason", None)
    if isinstance(code, str):
        return REASONS.get(code) or code.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def name_in(certificate: Mapping[str, Any] | None) -> str | None:
    """The subject's common name, in the form of SSLObject.getpeercert; without one its first alternative name."""
    if not certificate:
        return None
    for relative in certificate.get("subject", ()):
        for kind, value in relative:
            if kind == "commonName":
                return str(value)
    return next((str(value) for _, value in certificate.get("subjectAltName", ())), None)
