"""The client's end of the protocol: a small blocking connection to a server, for the command line and for tests.

What can go wrong is one tree; its leaves say who is at fault:

    ClientError
    |-- ServerUnreachable   no connection could be made
    |-- ConnectionLost      the server closed it, or does not answer
    |-- BadAnswer           what came back is not Gearman
    `-- ServerError         the server refused: its ERROR packet, or its ERR line in the text protocol
"""

import re
import socket
import ssl
from collections import deque
from ipaddress import IPv6Address
from types import TracebackType
from typing import Final, NamedTuple, Self

from gearmand_py.server import packets
from gearmand_py.server.client_tls import encrypted
from gearmand_py.server.codec import Connection, Packet

TLS_SCHEME: Final = "tls://"
DEFAULT_PORT: Final = 4730
DEFAULT_TIMEOUT: Final = 10.0
READ_SIZE: Final = 256 * 1024
# The size field has 32 bits. The limit is the server's to set; a client takes what its server lets through.
MAX_PACKET: Final = 2**32 - 1
# An idle worker notices within two minutes that its server's host is gone; the system's default is two hours.
KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
A_WAIT: Final = 1.0  # seconds
# Text commands that answer with a listing that a line with one dot ends; all others answer with a single line.
LISTINGS: Final = frozenset({"status", "prioritystatus", "priority-status", "workers", "show"})
LISTING_ENDS: Final = (b"\n.\n", b"\n.\r\n")


class Address(NamedTuple):
    """Where a server listens. A host that begins with a slash is the path of a Unix socket; its port says nothing.

    The `secret` is shown to the server when a connection is made, if there is one.
    """

    host: str
    port: int = DEFAULT_PORT
    secret: bytes = b""
    tls: bool = False

    @property
    def is_path(self) -> bool:
        """Whether it is a Unix socket."""
        return self.host.startswith("/")

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        if self.is_path:
            return self.host
        scheme = TLS_SCHEME if self.tls else ""
        return scheme + (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """`HOST`, `HOST:PORT`, `::1`, `[::1]`, `[::1]:PORT`, any of them after `tls://`; `/path` or `unix:/path`.

    ValueError for anything else.
    """
    if text.startswith(TLS_SCHEME):
        return parse_address(text.removeprefix(TLS_SCHEME), default_port)._replace(tls=True)
    if text.removeprefix("unix:").startswith("/"):
        return Address(text.removeprefix("unix:"), default_port)
    if text.count(":") > 1 and not text.startswith("["):
        return Address(str(IPv6Address(text)), default_port)
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]\s]+))(?::([0-9]{1,5}))?", text)
    if not found:
        raise ValueError(f"{text!r} is not HOST, HOST:PORT or [IPV6]:PORT")
    port = int(found[3]) if found[3] else default_port
    if not 0 < port < 65536:
        raise ValueError(f"{port} is not a port: ports go from 1 to 65535")
    return Address(found[1] or found[2], port)


class ClientError(Exception):
    """Something went wrong between this client and its server."""


class ServerUnreachable(ClientError):
    """No connection could be made."""

    def __init__(self, address: Address, cause: Exception) -> None:
        reason = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or str(cause)
        super().__init__(f"cannot reach {address}: {reason}. {_remedy(address, cause)}")


class ConnectionLost(ClientError):
    """The server closed the connection, or did not answer in time."""


class BadAnswer(ClientError):
    """The server sent what no Gearman server sends."""

    def __init__(self, address: Address, text: str) -> None:
        super().__init__(f"{address} does not answer like a Gearman server: {text}. Is this the right port?")


class ServerError(ClientError):
    """The server refused. `code` is the protocol's word for why, and a contract; `text` is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"the server says {code}" + (f": {text}" if text else ""))
        self.code = code
        self.text = text


def _remedy(address: Address, cause: Exception) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "GEARMAND_CA_CERTIFICATE names the file with the authority of the server's certificate."
    if isinstance(cause, ssl.SSLError):
        return "Does that port speak TLS? GEARMAN_CLIENT_PEM and GEARMAN_CLIENT_KEY name a certificate to show."
    if address.is_path:
        return f"Is gearmand-py running there? Start it with: gearmand-py --listen {address}"
    if isinstance(cause, ConnectionRefusedError):
        listen = "" if address.host in ("127.0.0.1", "localhost") else f" --listen {address.host}"
        port = "" if address.port == DEFAULT_PORT else f" --port {address.port}"
        return f"Is gearmand-py running there? Start it with: gearmand-py{listen}{port}"
    if isinstance(cause, socket.gaierror | UnicodeError):
        return "Check the host name."
    return "Check the address, and that no firewall stands between."


class Client:
    """One connection to a server: send requests, receive the packets that come back."""

    def __init__(self, connected: socket.socket, address: Address) -> None:
        self.address = address
        self._socket = connected
        self._codec = Connection(packets.RESPONSE, MAX_PACKET)
        self._received: deque[Packet] = deque()

    @classmethod
    def connect(
        cls,
        host: str,
        port: int = DEFAULT_PORT,
        secret: bytes = b"",
        tls: bool = False,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Connect to a host by name or address, or to a path; ServerUnreachable within `timeout` seconds.

        ServerError for a secret that is wrong.
        """
        address = Address(host, port, tls=tls)
        try:
            connected = _to_path(host, timeout) if address.is_path else socket.create_connection((host, port), timeout)
            if not address.is_path:
                _tune(connected)
            if tls:
                connected = encrypted(connected, host)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be written in the DNS
            raise ServerUnreachable(address, error) from error
        client = cls(connected, address)
        if secret:
            try:
                client.authenticate(secret)
            except BaseException:
                client.close()
                raise
        return client

    def authenticate(self, secret: bytes) -> None:
        """Show a secret. A server without access rules does not know the option, and lets everybody in.

        Raises ServerError.
        """
        try:
            self.ask(packets.OPTION_REQ, b"auth:" + secret, answer=packets.OPTION_RES)
        except ServerError as error:
            if error.code != "UNKNOWN_OPTION":
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the server gives jobs that are in hand back to their queue."""
        self._socket.close()

    def detach(self) -> socket.socket:
        """The socket, for who reads and writes it in another way; nothing may be under way on it."""
        return self._socket

    @property
    def peer(self) -> Address:
        """The address a name was resolved to."""
        if self.address.is_path:
            return self.address
        host, port, *_ = self._socket.getpeername()
        return Address(host, port, tls=self.address.tls)

    def send(self, kind: int, *arguments: bytes) -> None:
        """Send one request. It waits as long as the server applies back-pressure."""
        self._write(packets.request(kind, *arguments))

    def receive(self, timeout: float | None = None) -> Packet:
        """The next packet; an ERROR packet is raised as ServerError. Without a timeout it waits for ever."""
        while not self._received:
            if self._codec.error:
                raise BadAnswer(self.address, self._codec.error.text)
            self._received.extend(self._codec.feed(self._read(timeout)))
        kind, body = self._received.popleft()
        if kind == packets.ERROR:
            raise _server_error(body)
        if kind in (packets.TEXT, packets.WRONG_MAGIC):
            raise BadAnswer(self.address, f"it sent {body[:40]!r}")
        return kind, body

    def ask(self, kind: int, *arguments: bytes, answer: int, timeout: float | None = DEFAULT_TIMEOUT) -> bytes:
        """Send a request and return the body of its answer, which must be the next packet, of type `answer`."""
        self.send(kind, *arguments)
        came, body = self.receive(timeout)
        if came != answer:
            raise BadAnswer(self.address, f"it sent {packets.name(came)} where {packets.name(answer)} was due")
        return body

    def split(self, packet: Packet, count: int) -> list[bytes]:
        """The `count` arguments of a packet."""
        kind, body = packet
        found = body.split(b"\0", count - 1)
        if len(found) != count:
            raise BadAnswer(self.address, f"its {packets.name(kind)} has {len(found)} arguments of {count}")
        return found

    def text(self, command: str, timeout: float | None = DEFAULT_TIMEOUT) -> list[bytes]:
        """Send a command of the text protocol, return the lines of its answer; an ERR line is raised as ServerError.

        The lines are read here, not by the codec: those of a listing may be longer than a text command ever is (a
        worker with a thousand functions). So nothing else may be under way on the connection.
        """
        self._write(command.encode("utf-8", "surrogateescape") + b"\r\n")
        is_listing = command.split(maxsplit=1)[0].lower() in LISTINGS
        answer = bytearray()
        try:
            while not answer_is_whole(answer, is_listing):
                answer += self._read(timeout)
            return answer_lines(bytes(answer), is_listing)
        except ConnectionLost as error:
            raise (BadAnswer(self.address, f"it sent {bytes(answer[:40])!r}") if answer else error) from error
        except ValueError as error:
            raise BadAnswer(self.address, str(error)) from error

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(None)
            self._socket.sendall(data)
        except OSError as error:
            lost = ConnectionLost(f"lost the connection to {self.address}: {error.strerror}")
            raise self._last_word() or lost from error

    def _last_word(self) -> ServerError | None:
        """Why the server hung up, if it said so: one that refuses a large packet does not read it to its end."""
        try:
            while True:
                self.receive(timeout=0)
        except ServerError as error:
            return error
        except ClientError:
            return None

    def _read(self, timeout: float | None) -> bytes:
        try:
            data = self._wait(timeout)
        except OSError as error:
            # The timeout of a recv carries no errno, that of TCP keepalive does.
            silent = isinstance(error, TimeoutError) and not error.errno
            reason = f"no answer within {timeout} s" if silent else error.strerror
            raise ConnectionLost(f"lost the connection to {self.address}: {reason}") from error
        if not data:
            raise ConnectionLost(f"{self.address} closed the connection")
        return data

    def _wait(self, timeout: float | None) -> bytes:
        """A wait without end is made of short ones: a signal that comes just before one is heard after it."""
        self._socket.settimeout(A_WAIT if timeout is None else timeout)
        while True:
            try:
                return self._socket.recv(READ_SIZE)
            except TimeoutError as error:
                if timeout is not None or error.errno:
                    raise


def _to_path(path: str, timeout: float) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(timeout)
    try:
        connected.connect(path)
    except OSError:
        connected.close()
        raise
    return connected


def _tune(connected: socket.socket) -> None:
    """Requests leave at once, and a server that vanished without a word is noticed."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in KEEPALIVE.items():
        if hasattr(socket, option):  # not every system has all three
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def _server_error(body: bytes) -> ServerError:
    code, _, text = readable(body).partition("\0")
    return ServerError(code, text)


def _is_refusal(answer: bytes | bytearray) -> bool:
    # A listing may hold a function named "ERR x"; but only OK and ERR lines end in CR LF.
    return answer.startswith(b"ERR ") and answer.partition(b"\n")[0].endswith(b"\r")


def answer_is_whole(answer: bytes | bytearray, is_listing: bool) -> bool:
    """Whether all of a text answer has arrived."""
    if is_listing and not _is_refusal(answer):
        return answer.endswith(LISTING_ENDS) or answer in (b".\n", b".\r\n")
    return answer.endswith(b"\n")


def answer_lines(answer: bytes, is_listing: bool) -> list[bytes]:
    """The lines of a whole text answer, without their ends and without the dot that closes a listing.

    ServerError for an ERR line, ValueError for what is no answer.
    """
    lines = [line.removesuffix(b"\r") for line in answer.split(b"\n")[:-1]]
    if is_listing and not _is_refusal(answer):
        return lines[:-1]
    word, code, text = (lines[0] + b"  ").split(b" ", 2)
    if word == b"ERR":
        raise ServerError(readable(code), readable(text).replace("+", " ").strip())
    if word != b"OK":
        raise ValueError(f"it sent {answer[:40]!r}")
    return lines


def readable(data: bytes) -> str:
    """Bytes of a peer as text; what is not UTF-8 is shown in hexadecimal."""
    return data.decode("utf-8", "backslashreplace")
