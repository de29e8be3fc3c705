"""The file of `--access-file`: rules in TOML, and the secrets they name in files of their own.

Everything is checked, since a rule that is not understood would let in somebody, or nobody. No message shows a value
that may be a secret.
"""

import hashlib
import logging
import re
import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any, Final

from gearmand_py.server.access import LONGEST_SECRET, Access, Level, Network, Rule
from gearmand_py.server.runner import StartError

log = logging.getLogger(__name__)

TABLE: Final = "access"
KEYS: Final = ("from", "certificate", "secret", "secret-file", "secret-sha256", "submit", "work", "admin")
SECRETS: Final = ("secret", "secret-file", "secret-sha256")
RIGHTS: Final = ("submit", "work", "admin")
UNIX_WORD: Final = "unix"
SHORTEST_SECRET: Final = 16
HOW_TO_MAKE: Final = "make one with: openssl rand -hex 32"
READABLE: Final = "it must be a file that the server's user may read"
MAPPED: Final = IPv6Network("::ffff:0:0/96")
OTHERS_MAY_READ: Final = 0o004


class Wrong(Exception):
    """What is wrong with a rule, and what to do."""


def read_access(path: Path) -> Access:
    """The rules of a file. Raises StartError, which names file, rule and remedy."""
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise StartError(f"--access-file {path}: cannot be read: {reason}; {READABLE}") from None
    except tomllib.TOMLDecodeError as error:
        raise StartError(f"--access-file {path}: {error}") from None
    tables = tables_of(path, content)
    rules = []
    for number, table in enumerate(tables, 1):
        try:
            rules.append(rule_of(table, path.parent))
        except Wrong as wrong:
            raise StartError(f"--access-file {path}, rule {number}: {wrong}") from None
    if any("secret" in table for table in tables) and path.stat().st_mode & OTHERS_MAY_READ:
        log.warning("--access-file %s holds a secret that everybody on this host can read: chmod o-r it", path)
    return Access(rules)


def tables_of(path: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules as they are written. Raises StartError if there are none: an empty file would shut everybody out."""
    if others := [key for key in content if key != TABLE]:
        raise StartError(f"--access-file {path}: there is no key {others[0]!r}: rules are tables [[{TABLE}]]")
    tables = content.get(TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise StartError(f"--access-file {path}: write [[{TABLE}]], with two brackets, above each rule")
    if not tables:
        raise StartError(f"--access-file {path}: has no rule, a table [[{TABLE}]]; without the option all is allowed")
    return tables


def rule_of(table: dict[str, Any], directory: Path) -> Rule:
    """One rule. Raises Wrong."""
    for key in table:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            raise Wrong(f"there is no key {key!r}; " + (f"did you mean {near[0]!r}?" if near else known()))
    if not any(key in table for key in RIGHTS):
        raise Wrong(f"allows nothing: give it one of {', '.join(RIGHTS)}")
    places = words(table, "from")
    return Rule(
        networks=None if places is None else tuple(network_of(place) for place in places if place != UNIX_WORD),
        unix=UNIX_WORD in (places or ()),
        certificates=certificates_of(table),
        digests=digests_of(table, directory),
        submit=functions_of(table, "submit"),
        work=functions_of(table, "work"),
        admin=level_of(table.get("admin", "none")),
    )


def known() -> str:
    """All keys."""
    return f"known are {', '.join(KEYS)}"


def words(table: dict[str, Any], key: str) -> tuple[str, ...] | None:
    """A text or a list of texts; None without the key. Raises Wrong."""
    if key not in table:
        return None
    found = [table[key]] if isinstance(table[key], str) else table[key]
    if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
        raise Wrong(f"{key} takes a text, or a list of texts, none of them empty")
    return tuple(found)


def functions_of(table: dict[str, Any], key: str) -> tuple[bytes, ...]:
    """Patterns of functions."""
    return tuple(pattern.encode() for pattern in words(table, key) or ())


def certificates_of(table: dict[str, Any]) -> tuple[str, ...] | None:
    """Patterns of names in certificates. Raises Wrong."""
    found = words(table, "certificate")
    if found == ():
        raise Wrong("certificate is empty: name at least one, or leave it out")
    return found


def network_of(text: str) -> Network:
    """`10.0.0.0/8`, `::1`. Raises Wrong."""
    try:
        network = ip_network(text)
    except ValueError:
        raise Wrong(f"from: {text!r} is no address or network: {right_network(text)}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        raise Wrong(f"from: {text!r} is IPv4 written as IPv6: write it as 10.0.0.0/8")
    return network


def right_network(text: str) -> str:
    """What may have been meant."""
    try:
        return f"did you mean {ip_interface(text).network}?"  # only bits beyond the mask are set
    except ValueError:
        return f"write 10.0.0.0/8, ::1 or {UNIX_WORD}"


def level_of(word: Any) -> Level:
    """Raises Wrong."""
    levels = {own: level for level in Level if (own := level.name.lower())}
    if not isinstance(word, str) or word not in levels:
        raise Wrong(f"admin takes one of {', '.join(levels)}")
    return levels[word]


# ---- secrets


def digests_of(table: dict[str, Any], directory: Path) -> frozenset[bytes]:
    """The digests of a rule's secrets; none if it asks for none. Raises Wrong."""
    given = [key for key in SECRETS if key in table]
    if len(given) > 1:
        raise Wrong(f"has {given[0]} and {given[1]}: give it one of them")
    if not given:
        return frozenset()
    digests: dict[str, Callable[[str], list[bytes]]] = {
        "secret": lambda word: [digest_of(word.encode(), "secret")],
        "secret-file": lambda word: digests_in(directory / word),
        "secret-sha256": lambda word: [written_digest(word)],
    }
    found = frozenset(digest for word in words(table, given[0]) or () for digest in digests[given[0]](word))
    if not found:
        raise Wrong(f"{given[0]} is empty: {HOW_TO_MAKE}")
    return found


def digests_in(path: Path) -> list[bytes]:
    """Those of a file's secrets, one a line. Raises Wrong."""
    try:
        lines = path.read_bytes().split()
    except OSError as error:
        raise Wrong(f"secret-file {path} cannot be read: {error.strerror}; {READABLE}") from None
    if not lines:
        raise Wrong(f"secret-file {path} is empty: {HOW_TO_MAKE}")
    return [digest_of(line, f"secret-file {path}") for line in lines]


def digest_of(secret: bytes, where: str) -> bytes:
    """Raises Wrong for a secret that could be guessed, or not be sent."""
    if len(secret) < SHORTEST_SECRET:
        raise Wrong(f"{where}: a secret has at least {SHORTEST_SECRET} characters; {HOW_TO_MAKE}")
    if len(secret) > LONGEST_SECRET:
        raise Wrong(f"{where}: a secret has at most {LONGEST_SECRET} characters; {HOW_TO_MAKE}")
    if re.search(rb"[\x00-\x20\x7f]", secret):
        raise Wrong(f"{where}: a secret has no white space in it, nor control characters; {HOW_TO_MAKE}")
    return hashlib.sha256(secret).digest()


def written_digest(text: str) -> bytes:
    """Raises Wrong."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise Wrong('secret-sha256 takes 64 hexadecimal digits, as of: printf %s "$SECRET" | sha256sum')
    return bytes.fromhex(text)
