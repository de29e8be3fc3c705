"""The sockets a server listens on: TCP over IPv4 and IPv6, Unix sockets, and those that systemd hands over."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from gearmand_py.server.config import Settings
from gearmand_py.server.runner import StartError

# Loopback alone has longer segments: 64 KiB, where libgearman's send buffer is 32 KiB, so that each half segment waits
# 40 ms for a delayed acknowledgement. An 8 MiB job from PHP took 4.5 s, and takes 0.5.
LARGEST_SEGMENT: Final = 32_000
REMEDIES: Final = {
    errno.EADDRINUSE: "is another job server running? give --port another number",
    errno.EADDRNOTAVAIL: "give --listen an address of this host",
    errno.EACCES: "ports below 1024 are root's: give --port a higher number",
}
# An address of a name that this host does not have is left out, if it has another one.
NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
FIRST_HANDED_OVER: Final = 3  # sd_listen_fds(3)


@contextmanager
def listening_sockets(settings: Settings) -> Iterator[list[socket.socket]]:
    """The sockets of the settings, bound and listening; closed and removed at the end. Raises StartError."""
    if handed_over := sockets_of_systemd():
        for one in handed_over:
            if one.family != socket.AF_UNIX:
                tune(one, settings)
        yield handed_over
        return
    listening: list[socket.socket] = []
    made: list[str] = []
    try:
        bind_all(settings, listening)
        made += [one.getsockname() for one in listening if one.family == socket.AF_UNIX]
        yield listening
    finally:
        for one in listening:
            one.close()
        remove(made)


def bind_all(settings: Settings, listening: list[socket.socket]) -> None:
    """Add the sockets of the settings. Raises StartError."""
    port = settings.port
    for address in dict.fromkeys(settings.listen):
        if path := unix_path(address):
            listening.append(unix_socket(path, settings.backlog))
        else:
            listening += tcp_sockets(settings, address, port)
            port = listening[-1].getsockname()[1]  # the free one that was taken for 0
            if settings.ssl_port:
                listening += tcp_sockets(settings, address, settings.ssl_port)


def speaks_tls(listening: socket.socket, settings: Settings) -> bool:
    """Whether connections to this socket are encrypted."""
    if listening.family == socket.AF_UNIX:
        return False
    return listening.getsockname()[1] == settings.ssl_port if settings.ssl_port else settings.ssl


def remove(paths: list[str]) -> None:
    """Remove the sockets we made, as far as the user we have become may."""
    for path in paths:
        with suppress(OSError):
            Path(path).unlink()


def unix_path(address: str) -> str | None:
    """The path of `unix:/path` or `/path`; None for an address of another kind."""
    path = address.removeprefix("unix:")
    return path if path != address or path.startswith("/") else None


# ---- TCP


def tcp_sockets(settings: Settings, host: str, port: int) -> list[socket.socket]:
    """One for each address that the name has here. Raises StartError."""
    listening: list[socket.socket] = []
    last: OSError | None = None
    for family, address in resolve(host, port):
        try:
            listening.append(tcp_socket(settings, family, (address, port)))
            port = listening[0].getsockname()[1]
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise refused(host, port, error) from None
            last = error
    if not listening:
        raise refused(host, port, last or OSError())
    return listening


def refused(host: str, port: int, error: OSError) -> StartError:
    """Why an address cannot be had, and what to do."""
    remedy = REMEDIES.get(error.errno or 0, "see --listen and --port")
    return StartError(f"cannot listen on {shown_address(host, port)}: {os.strerror(error.errno or 0)}; {remedy}")


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a name, each once. Raises StartError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        where, reason = shown_address(host, port), getattr(error, "strerror", None) or "it is no host name"
        remedy = "the port goes into --port" if host.count(":") == 1 else "give --listen an address of this host"
        raise StartError(f"cannot listen on {where}: {reason}; {remedy}") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def tcp_socket(settings: Settings, family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """Raises OSError."""
    alone = all(other == "::" or unix_path(other) for other in settings.listen)
    both = address[0] == "::" and alone and socket.has_dualstack_ipv6()
    listening = socket.create_server(address, family=family, backlog=settings.backlog, dualstack_ipv6=both)
    tune(listening, settings)
    return listening


def tune(listening: socket.socket, settings: Settings) -> None:
    """What the connections of a TCP socket inherit."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, LARGEST_SEGMENT)
    if settings.keepalive:
        keep_alive(listening, settings)


def keep_alive(listening: socket.socket, settings: Settings) -> None:
    """--keepalive; a value of -1 or 0 leaves the system's."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, settings.keepalive_idle),
        (socket.TCP_KEEPINTVL, settings.keepalive_interval),
        (socket.TCP_KEEPCNT, settings.keepalive_count),
    ):
        if value > 0:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)


# ---- Unix


def unix_socket(path: str, backlog: int) -> socket.socket:
    """A socket in the file system; one that a killed server has left there is replaced. Raises StartError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        remove_left_over(path)
        listening.bind(path)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)  # too long a path has no number
        raise StartError(f"cannot listen on {path}: {reason}; give --listen another path") from None
    return listening


def remove_left_over(path: str) -> None:
    """Remove a socket on which nobody listens. Raises OSError if somebody does, or if it is something else."""
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    Path(path).unlink()


# ---- systemd


def sockets_of_systemd() -> list[socket.socket]:
    """What a socket unit hands over; none without one. Raises StartError for one that is no stream."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    given = os.environ.get("LISTEN_FDS", "")
    count = int(given) if given.isdigit() else 0
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    try:
        handed_over = [socket.socket(fileno=FIRST_HANDED_OVER + number) for number in range(count)]
    except OSError as error:
        raise StartError(f"LISTEN_FDS={count}: a socket is not there: {error.strerror}") from None
    for one in handed_over:
        one.set_inheritable(False)
        if one.type != socket.SOCK_STREAM:
            raise StartError("the socket unit hands over what is no stream: use ListenStream=")
    return handed_over


# ---- who can come


def open_addresses(listening: list[socket.socket]) -> list[str]:
    """Those that other hosts may reach."""
    networked = [one.getsockname()[:2] for one in listening if one.family != socket.AF_UNIX]
    return [shown_address(host, port) for host, port in networked if not ip_address(host.partition("%")[0]).is_loopback]


# ---- for people


def addresses_of(listening: list[socket.socket]) -> Iterator[str]:
    """127.0.0.1:4730, [::1]:4730, /run/gearmand-py.sock"""
    for one in listening:
        name = one.getsockname()
        yield name if isinstance(name, str) else shown_address(*name[:2])


def said(listening: list[socket.socket], settings: Settings) -> str:
    """The same in a line, with those that speak TLS marked."""
    pairs = zip(addresses_of(listening), listening, strict=True)
    return ", ".join(address + (" (TLS)" if speaks_tls(one, settings) else "") for address, one in pairs)


def shown_address(host: str, port: int) -> str:
    """127.0.0.1:4730, [::1]:4730"""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
