"""Who may connect: so many in all, so many from one address; and who has connected and says nothing.

When all places are taken, who has been silent longest gives its place up to the next: connections that only stand there
must not keep out those that want something. Silence costs nothing else, since a client may connect long before
it needs to.
"""

from collections import Counter
from ipaddress import IPv6Address
from math import inf
from typing import Any, Final

from gearmand_py.server.errors import LimitReached
from gearmand_py.server.limits import Limits

# Seconds of silence after which a connection gives way. A client that has just connected is about to say something.
GIVES_WAY: Final = 5.0
UNIX: Final = "-"  # the address of connections that have none; these are not counted by address
NETWORK: Final = 64  # bits: what one host has of IPv6


class Door:
    """`guest` is any hashable thing that stands for a connection. Times are monotonic."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inside = 0
        self._from: Counter[str] = Counter()  # connections of each address, while these are limited
        self._silent: dict[Any, float] = {}  # since when; the longest first

    def enter(self, guest: Any, address: str, now: float) -> Any:
        """A connection was made. Returns another one that must go in its place, or None. Raises LimitReached."""
        gives_way = None
        most = self._limits.connections
        if 0 < most <= self._inside:
            gives_way = self._who_gives_way(now)
            if gives_way is None:
                raise LimitReached("TOO_MANY_CONNECTIONS", f"There are {most} connections already", "--max-connections")
        self._count(address)
        self._inside += 1
        self._silent[guest] = now
        return gives_way

    def _who_gives_way(self, now: float) -> Any:
        guest, since = next(iter(self._silent.items()), (None, inf))
        if now - since < GIVES_WAY:
            return None
        self._silent.pop(guest)
        return guest

    def _count(self, address: str) -> None:
        most = self._limits.connections_per_address
        if not most or address == UNIX:
            return
        host = host_of(address)
        if self._from[host] >= most:
            text = f"There are {most} connections from {host} already"
            raise LimitReached("TOO_MANY_CONNECTIONS", text, "--max-connections-per-address")
        self._from[host] += 1

    def spoke(self, guest: Any) -> None:
        """Its first packet has come."""
        self._silent.pop(guest, None)

    def leave(self, guest: Any, address: str) -> None:
        """The connection has ended."""
        self._inside -= 1
        self._silent.pop(guest, None)
        if self._limits.connections_per_address and address != UNIX:
            host = host_of(address)
            self._from[host] -= 1
            if not self._from[host]:
                del self._from[host]

    @property
    def watching(self) -> bool:
        """There is somebody whose time runs."""
        return bool(self._limits.first_packet_timeout and self._silent)

    def overdue(self, now: float) -> list[Any]:
        """Those who have said nothing for too long; each is told of once."""
        limit = self._limits.first_packet_timeout
        late: list[Any] = []
        for guest, since in self._silent.items():
            if not limit or now - since < limit:
                break
            late.append(guest)
        for guest in late:
            self.spoke(guest)
        return late


def host_of(address: str) -> str:
    """An address, as one host may have it: of IPv6 the first half."""
    if ":" not in address:
        return address
    found = IPv6Address(address.partition("%")[0])
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> NETWORK << NETWORK)}/{NETWORK}" if not found.is_loopback else address
