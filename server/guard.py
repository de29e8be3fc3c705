"""What stands before the broker where there are rules of access: handlers of packets that ask whether the peer may.

Where there are none, nothing of this is used: dispatch.py's handlers are the table then. What is denied is answered
with NOT_ALLOWED and told to `tell`, and changes nothing. A name is taken out of a packet here exactly as the handler
behind does it.

A secret is shown in four ways, since few libraries can set an option: OPTION_REQ `auth:SECRET`, the text command
`auth SECRET`, SET_CLIENT_ID `auth:SECRET the-id`, and ECHO_REQ `auth:SECRET`.
"""

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.access import NOTHING, Access, Allowance, Level, place_of
from gearmand_py.server.admin import OK, READING, err, shown
from gearmand_py.server.dispatch import AUTH, SUBMISSIONS, Dispatch, Handler, arguments, only_argument, with_payload
from gearmand_py.server.errors import Expelled, RequestError
from gearmand_py.server.packets import response
from gearmand_py.server.peers import Peer

REDUCING: Final = (packets.SUBMIT_REDUCE_JOB, packets.SUBMIT_REDUCE_JOB_BACKGROUND)
WRONG_SECRETS: Final = 3  # after so many a connection is closed
# Wrong secrets from one address: so many at once, then one a second. Beyond that none is looked at, right or wrong.
ADDRESS_BURST: Final = 10
ADDRESS_SECONDS: Final = 1.0
MOST_ADDRESSES: Final = 10_000
LONGEST_SHOWN: Final = 64
SITE: Final = 1 << 64  # addresses of IPv6 that one customer has


class Guard:
    """A table of handlers for a dispatch. `tell(peer, what)` is called for each thing denied."""

    def __init__(self, dispatch: Dispatch, access: Access, tell: Callable[[Peer, str], None]) -> None:
        self.access = access
        self._dispatch = dispatch
        self._broker = dispatch.broker
        self._tell = tell
        self._tries = Allowance(ADDRESS_BURST, ADDRESS_SECONDS, MOST_ADDRESSES)
        behind = dispatch.handlers
        self.handlers: dict[int, Handler] = {
            **behind,
            **{kind: self._submitting(behind[kind]) for kind in SUBMISSIONS},
            **{kind: self._reducing(self._submitting(behind[kind])) for kind in REDUCING},
            packets.CAN_DO: self._working(behind[packets.CAN_DO], only_argument),
            packets.CAN_DO_TIMEOUT: self._working(behind[packets.CAN_DO_TIMEOUT], lambda body: arguments(body, 2)[0]),
            packets.OPTION_REQ: self.option,
            packets.SET_CLIENT_ID: self.set_client_id,
            packets.ECHO_REQ: self.echo,
            packets.TEXT: self.text,
        }

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
        for peer in self._broker.peers:
            try:
                self.admit(peer)
            except Expelled as error:
                expelled.append((peer, error.answer))
            for name in [function.name for function in peer.functions if not peer.rights.works[function.name]]:
                self._broker.cannot_do(peer, name)
        return expelled

    def _deny(self, peer: Peer, what: str) -> RequestError:
        self._tell(peer, f"may not {what}")
        return RequestError("NOT_ALLOWED", f"You may not {what}: no access rule allows it")

    # ---- packets

    def _submitting(self, behind: Handler) -> Handler:
        def submit(peer: Peer, body: bytes) -> None:
            name = body[: body.find(b"\0")]
            if not peer.rights.submits[name]:
                raise self._deny(peer, f"submit to {named(name)}")
            behind(peer, body)

        return submit

    def _reducing(self, behind: Handler) -> Handler:
        """The reducer's jobs are submitted by whom the job runs at, but on the word of this peer."""

        def submit(peer: Peer, body: bytes) -> None:
            _, _, reducer, *_ = with_payload(body, 5)
            if reducer and not peer.rights.submits[reducer]:
                raise self._deny(peer, f"reduce by {named(reducer)}")
            behind(peer, body)

        return submit

    def _working(self, behind: Handler, name_in: Callable[[bytes], bytes]) -> Handler:
        def can_do(peer: Peer, body: bytes) -> None:
            name = name_in(body)
            if not peer.rights.works[name]:
                raise self._deny(peer, f"work on {named(name)}")
            behind(peer, body)

        return can_do

    def option(self, peer: Peer, body: bytes) -> None:
        """OPTION_REQ `auth:SECRET`; it comes back as it is, since clients compare."""
        if not is_auth(body):
            self._dispatch.option(peer, body)
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
        self._dispatch.set_client_id(peer, body)

    def echo(self, peer: Peer, body: bytes) -> None:
        """The `ping` of libraries that can set no option; a right secret comes back as any other words."""
        if is_auth(body) and (denied := self._show(peer, only_argument(body)[len(AUTH) :], packets.error)):
            raise denied
        self._dispatch.echo(peer, body)

    def text(self, peer: Peer, body: bytes) -> None:
        """A line of the text protocol."""
        words = body.split()
        command = words[0].decode("latin-1").lower() if words else ""
        if command == "auth":
            peer.tail.append(self._auth(peer, words[1:]))
        elif command not in self._dispatch.admin.commands or peer.rights.admin >= level_of(command):
            self._dispatch.text(peer, body)
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
        site, now = site_of(peer.address), self._broker.now
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
