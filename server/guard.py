"""The protocol where there are rules of access: the same handlers, but some ask first whether the peer may.

Where there are no rules nothing of this is used. What is denied is answered with NOT_ALLOWED and told to `tell`, and
changes nothing.

A secret is shown in four ways, since few libraries can set an option: OPTION_REQ `auth:SECRET`, the text command
`auth SECRET`, SET_CLIENT_ID `auth:SECRET the-id`, and ECHO_REQ `auth:SECRET`.
"""

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.access import NOTHING, Access, Level, place_of
from gearmand_py.server.admin import OK, READING, Admin, err, shown
from gearmand_py.server.allowance import Allowance
from gearmand_py.server.broker import Broker
from gearmand_py.server.dispatch import AUTH, Dispatch, only_argument
from gearmand_py.server.errors import Expelled, RequestError
from gearmand_py.server.packets import response
from gearmand_py.server.peers import Peer
from gearmand_py.storage.base import RUN_AT_ONCE, Payload

WRONG_SECRETS: Final = 3  # after so many a connection is closed
# Wrong secrets from one address: so many at once, then one a second. Beyond that none is looked at, right or wrong.
ADDRESS_BURST: Final = 10
ADDRESS_SECONDS: Final = 1.0
MOST_ADDRESSES: Final = 10_000
LONGEST_SHOWN: Final = 64
SITE: Final = 1 << 64  # addresses of IPv6 that one customer has


class Guard(Dispatch):
    """`tell(peer, what)` is called for each thing denied."""

    def __init__(self, broker: Broker, admin: Admin, access: Access, tell: Callable[[Peer, str], None]) -> None:
        super().__init__(broker, admin)
        self.access = access
        self._tell = tell
        self._tries = Allowance(ADDRESS_BURST, ADDRESS_SECONDS, MOST_ADDRESSES)

    # ---- who comes, and who may stay

    def admit(self, peer: Peer) -> None:
        """Give a connection its rights. Raises Expelled if no rule could give it any."""
        rights = self.access.rights(peer.address, peer.certificate, peer.secrets)
        peer.rights = rights or NOTHING
        if rights is None:
            self._tell(peer, "may not connect")
            raise Expelled(packets.error("NOT_ALLOWED", "No access rule is for this address and certificate"))

    def judge_anew(self, access: Access) -> list[tuple[Peer, bytes]]:
        """The rules have changed: gives those who are to go, and what they are told.

        The jobs that a worker runs of functions that it may no longer work on go back to their queues.
        A secret that was shown counts as long as a rule asks for it.
        """
        self.access = access
        expelled = []
        for peer in self.broker.peers:
            try:
                self.admit(peer)
            except Expelled as error:
                expelled.append((peer, error.answer))
            for name in [function.name for function in peer.functions if not peer.rights.works[function.name]]:
                self.broker.cannot_do(peer, name)
        return expelled

    def _deny(self, peer: Peer, what: str) -> RequestError:
        self._tell(peer, f"may not {what}")
        return RequestError("NOT_ALLOWED", f"You may not {what}: no access rule allows it")

    # ---- before the broker

    @property
    def submit(self) -> Callable[..., None]:
        """What takes a submission, if the peer may make it."""
        return self._submit_if_allowed

    def _submit_if_allowed(
        self,
        peer: Peer,
        name: bytes,
        unique: bytes,
        data: Payload,
        priority: int,
        background: bool,
        run_at: int = RUN_AT_ONCE,
        reducer: bytes | None = None,
    ) -> None:
        """The reducer's jobs are submitted by a worker, but on the word of this peer."""
        if not peer.rights.submits[name]:
            raise self._deny(peer, f"submit to {named(name)}")
        if reducer is not None and not peer.rights.submits[reducer]:
            raise self._deny(peer, f"reduce by {named(reducer)}")
        self.broker.submit(peer, name, unique, data, priority, background, run_at, reducer)

    def offer(self, peer: Peer, function: bytes, seconds: float) -> None:
        """A worker can run a function, if it may."""
        if not peer.rights.works[function]:
            raise self._deny(peer, f"work on {named(function)}")
        super().offer(peer, function, seconds)

    # ---- packets

    def option(self, peer: Peer, body: bytes) -> None:
        """OPTION_REQ `auth:SECRET`; it comes back as it is, since clients compare."""
        if not is_auth(body):
            super().option(peer, body)
            return
        if denied := self._show(peer, only_argument(body)[len(AUTH) :], packets.error):
            raise denied
        peer.tail.append(response(packets.OPTION_RES, body))

    def set_client_id(self, peer: Peer, body: bytes) -> None:
        """`auth:SECRET`, or with the id behind a space; the id alone is kept."""
        if is_auth(body):
            secret, _, _ = only_argument(body)[len(AUTH) :].partition(b" ")
            if denied := self._show(peer, secret, packets.error):
                raise denied
        super().set_client_id(peer, body)

    def echo(self, peer: Peer, body: bytes) -> None:
        """The `ping` of libraries that can set no option; a right secret comes back as any other words."""
        if is_auth(body) and (denied := self._show(peer, only_argument(body)[len(AUTH) :], packets.error)):
            raise denied
        super().echo(peer, body)

    def text(self, peer: Peer, body: bytes) -> None:
        """A line of the text protocol."""
        words = body.split()
        command = words[0].decode("latin-1").lower() if words else ""
        if command == "auth":
            peer.tail.append(self._auth(peer, words[1:]))
        elif command not in self.admin.commands or peer.rights.admin >= level_of(command):
            super().text(peer, body)
        else:
            denied = self._deny(peer, f"use the command {command}")
            peer.tail.append(err(denied.code, denied.text))

    def _auth(self, peer: Peer, words: list[bytes]) -> bytes:
        if len(words) != 1:
            return err("INVALID_ARGUMENTS", "auth takes one word, the secret")
        denied = self._show(peer, words[0].rstrip(b"\0"), err)
        return err(denied.code, denied.text) if denied else OK

    # ---- secrets

    def _show(self, peer: Peer, secret: bytes, answer: Callable[[str, str], bytes]) -> RequestError | None:
        """A peer shows a secret, and has the rights it gives; else why not. Raises Expelled after some wrong ones."""
        site, now = site_of(peer.address), self.broker.now
        if not self._tries.left(site, now):
            self._tell(peer, "may not try another secret yet")
            raise Expelled(answer("NOT_ALLOWED", "Too many wrong secrets from this address: wait some seconds"))
        digest = self.access.digest(peer.address, peer.certificate, secret)
        if digest is not None:
            peer.secrets |= {digest}
            self.admit(peer)
            return None
        self._tries.take(site, now)
        self._tell(peer, "showed a wrong secret")
        peer.wrong_secrets += 1
        if peer.wrong_secrets >= WRONG_SECRETS:
            raise Expelled(answer("NOT_ALLOWED", "Wrong secret; the connection is closed"))
        return RequestError("NOT_ALLOWED", "Wrong secret")


def is_auth(body: bytes) -> bool:
    """Does it show a secret?"""
    return body[: len(AUTH)].lower() == AUTH


def level_of(command: str) -> Level:
    """What it takes to use a text command."""
    return Level.READ if command in READING else Level.MANAGE


def named(function: bytes) -> str:
    """A function in an answer and in the log. Who takes a function for the place of a secret shows it to nobody."""
    if is_auth(function):
        return "auth:..."
    rest = "..." if len(function) > LONGEST_SHOWN else ""
    return shown(function[:LONGEST_SHOWN]).encode("utf-8", "backslashreplace").decode() + rest


def site_of(address: str) -> str:
    """Where tries are counted: an address; of IPv6 the network that one customer has."""
    place = place_of(address)
    return str(int(place) // SITE) if isinstance(place, IPv6Address) else str(place or address)
