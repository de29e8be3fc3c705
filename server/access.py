"""Who may do what: rules, and the rights they add up to. No I/O, no clock of its own.

Rules only add. A rule applies to a connection when all that it asks for is there: address, certificate, secret. What
the connection may do is what the rules that apply to it allow, taken together; what none of them allows is denied. So
the order of rules says nothing.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

UNIX: Final = "-"  # the address of a peer on a Unix socket
ALL: Final = b"*"
# Decisions that are kept for each set of rights, for names of a length that functions have.
MOST_NAMES: Final = 1024
LONGEST_NAME: Final = 512
LONGEST_SECRET: Final = 1024  # so that to look at one costs nothing


class Level(IntEnum):
    """Which text commands one may use; each has those before it too."""

    NONE = 0
    READ = 1
    MANAGE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """What somebody may do. `networks` and `certificates` are None where it does not matter; `digests` are SHA-256."""

    networks: tuple[Network, ...] | None = None
    unix: bool = False
    certificates: tuple[str, ...] | None = None  # patterns
    digests: frozenset[bytes] = frozenset()  # of secrets, one of which is asked for, if there are any
    submit: tuple[bytes, ...] = ()  # patterns of functions
    work: tuple[bytes, ...] = ()
    admin: Level = Level.NONE

    def admits(self, address: str, certificate: str | None) -> bool:
        """Does it apply, but for its secret?"""
        return self._is_from(address) and self._is_certified(certificate)

    def _is_from(self, address: str) -> bool:
        if self.networks is None:
            return True
        if address == UNIX:
            return self.unix
        place = place_of(address)
        return place is not None and any(place in network for network in self.networks)

    def _is_certified(self, certificate: str | None) -> bool:
        if self.certificates is None:
            return True
        return certificate is not None and any(fnmatchcase(certificate, pattern) for pattern in self.certificates)


def place_of(address: str) -> IPv4Address | IPv6Address | None:
    """An address to compare; an IPv4 one that arrived on an IPv6 socket is IPv4."""
    try:
        place = ip_address(address)
    except ValueError:
        return None
    return (place.ipv4_mapped or place) if isinstance(place, IPv6Address) else place


class Names(dict[bytes, bool]):
    """Whether some patterns allow a function: `names[function]`. What was decided is kept, up to a bound."""

    def __init__(self, patterns: Iterable[bytes]) -> None:
        super().__init__()
        self.patterns = tuple(dict.fromkeys(patterns))

    def __missing__(self, name: bytes) -> bool:
        if ALL in self.patterns:
            return True
        if len(name) > LONGEST_NAME:
            return False
        if len(self) >= MOST_NAMES:
            self.clear()
        self[name] = any(fnmatchcase(name, pattern) for pattern in self.patterns)
        return self[name]


class Rights:
    """What a connection may do, and by which rules (their numbers, from 1)."""

    __slots__ = ("admin", "rules", "submits", "works")

    def __init__(self, rules: Iterable[tuple[int, Rule]]) -> None:
        numbered = list(rules)
        self.rules = tuple(number for number, _ in numbered)
        self.submits = Names(pattern for _, rule in numbered for pattern in rule.submit)
        self.works = Names(pattern for _, rule in numbered for pattern in rule.work)
        self.admin = max((rule.admin for _, rule in numbered), default=Level.NONE)

    def sees(self, function: bytes) -> bool:
        """May it be told of the jobs of a function?"""
        return self.admin >= Level.READ or self.submits[function] or self.works[function]


UNLIMITED: Final = Rights([(0, Rule(submit=(ALL,), work=(ALL,), admin=Level.MANAGE))])  # where there are no rules
NOTHING: Final = Rights([])


class Access:
    """All rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(enumerate(rules, 1))
        self._rights: dict[tuple[int, ...], Rights] = {}

    def rights(self, address: str, certificate: str | None, shown: frozenset[bytes]) -> Rights | None:
        """Those of a connection that has `shown` secrets (their digests); None if no secret could give it any."""
        open_to = [(number, rule) for number, rule in self.rules if rule.admits(address, certificate)]
        if not open_to:
            return None
        applying = [(number, rule) for number, rule in open_to if not rule.digests or rule.digests & shown]
        key = tuple(number for number, _ in applying)
        return self._rights.setdefault(key, Rights(applying))

    def digest(self, address: str, certificate: str | None, secret: bytes) -> bytes | None:
        """The digest of a secret that a rule for such a connection asks for, else None.

        Compared with the secrets of all rules, each in constant time, so that how long it takes tells nothing.
        """
        given, right = hashlib.sha256(secret[: LONGEST_SECRET + 1]).digest(), False
        for _, rule in self.rules:
            admitted = rule.admits(address, certificate)
            for digest in rule.digests:
                right |= hmac.compare_digest(given, digest) and admitted
        return given if right else None
