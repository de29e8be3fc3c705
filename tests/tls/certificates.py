"""Authorities and certificates, in files as operators have them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import trustme

NAMES = ("127.0.0.1", "localhost")


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """Of a server that has it."""
        return ["--ssl-certificate", str(self.certificate), "--ssl-key", str(self.key)]

    @property
    def serial(self) -> str:
        """As getpeercert has it."""
        from cryptography.x509 import load_pem_x509_certificate

        return f"{load_pem_x509_certificate(self.certificate.read_bytes()).serial_number:X}"


class Authority:
    """One that issues what it is asked for, into a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.file = directory / "ca.pem"
        self._directory = directory
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *, expired: bool = False, names: tuple[str, ...] = NAMES) -> Pair:
        """A certificate for this common name; of yesterday, if it shall be expired."""
        now = datetime.now(UTC)
        until = now - timedelta(days=1) if expired else now + timedelta(days=365)
        issued = self._ca.issue_cert(*names, common_name=name, not_before=now - timedelta(days=2), not_after=until)
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.key.write_bytes(issued.private_key_pem.bytes())
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return pair

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Of a client that knows this authority, and has a certificate to show."""
        context = ssl.create_default_context(cafile=str(self.file))
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def environment(self, pair: Pair | None = None) -> dict[str, str]:
        """The same for our commands and for libgearman."""
        own = {"GEARMAN_CLIENT_PEM": str(pair.certificate), "GEARMAN_CLIENT_KEY": str(pair.key)} if pair else {}
        return {"GEARMAND_CA_CERTIFICATE": str(self.file), **own}


def names_in(shown: dict[str, Any]) -> dict[str, str]:
    """The parts of a subject."""
    return {kind: value for relative in shown["subject"] for kind, value in relative}
