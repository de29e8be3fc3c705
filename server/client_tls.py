"""The client's side of TLS, with the variables that libgearman takes its files from."""

import os
import socket
import ssl
from functools import cache
from ipaddress import ip_address
from typing import Any

RECORD = 16 * 1024
BLOCKS = ssl.SSLWantReadError, ssl.SSLWantWriteError


class Socket(ssl.SSLSocket):
    """Like a plain one that does not block: where that would wait this raises BlockingIOError, too."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """A record at most. What is left of one would wait unseen by a selector, but none is larger than a read."""
        try:
            return super().recv(min(buflen, RECORD), flags)
        except BLOCKS as error:
            raise BlockingIOError from error

    def send(self, data: Any, flags: int = 0) -> int:
        """What OpenSSL takes at once."""
        try:
            return super().send(data, flags)
        except BLOCKS as error:
            raise BlockingIOError from error


def encrypted(connected: socket.socket, host: str) -> ssl.SSLSocket:
    """Shake hands with a server. Raises OSError, of which ssl.SSLError is one."""
    files = [os.environ.get(name, "") for name in VARIABLES]
    try:
        return context(*files, not is_loopback(host)).wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise


VARIABLES = "GEARMAND_CA_CERTIFICATE", "GEARMAN_CLIENT_PEM", "GEARMAN_CLIENT_KEY"


@cache
def context(authorities: str, certificate: str, key: str, named: bool) -> ssl.SSLContext:
    """One that wants the server's certificate to be of these authorities, or of those that the system knows.

    Raises OSError.
    """
    try:
        made = ssl.create_default_context(cafile=authorities or None)
    except OSError as error:
        raise wrong_file("GEARMAND_CA_CERTIFICATE", authorities, error) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as in server/tls.py
    made.check_hostname = named
    made.sslsocket_class = Socket
    if certificate:
        try:
            made.load_cert_chain(certificate, key or None)
        except OSError as error:
            raise wrong_file("GEARMAN_CLIENT_PEM", certificate, error) from error
    return made


def wrong_file(variable: str, path: str, error: OSError) -> OSError:
    """One that names it."""
    return OSError(error.errno, f"{variable}={path}: {error.strerror}")


def is_loopback(host: str) -> bool:
    """Whether it is this very machine. A server's certificate has the name that others know it by."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
