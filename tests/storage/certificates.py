"""Certificates for servers of the tests."""

import subprocess
from pathlib import Path

from tests.harness.tools import need


def make_certificate(folder: Path, address: str) -> Path:
    """`server.crt` for one IP address, which is its own authority, and `server.key`."""
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=gearmand-py tests", "-addext", f"subjectAltName=IP:{address}"]
    files = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    subprocess.run([need("openssl"), "req", *kind, *names, *files], check=True, capture_output=True)
    return folder / "server.crt"
