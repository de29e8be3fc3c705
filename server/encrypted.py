"""TLS on a connection: between its transport and its protocol, being each to the other.

Not asyncio's own, for four reasons: who failed to shake hands can be named; a peer that ends its side is still
told what it is owed; a large payload is encrypted piece by piece as the peer takes it, instead of holding the loop up
and memory three times over; and a connection takes no buffer of 256 KiB.

Before the handshake is done there is no protocol, so a stranger costs a transport and OpenSSL's state, for a while. It
has a place among the connections all the same, which the protocol takes over.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

from gearmand_py.server import packets
from gearmand_py.server.codec import TLS_RECORD
from gearmand_py.server.connection import address_of
from gearmand_py.server.errors import LimitReached
from gearmand_py.server.front import Guest
from gearmand_py.server.peers import Peer
from gearmand_py.server.seldom import Seldom
from gearmand_py.server.tls import Tls, name_in, words

log = logging.getLogger(__name__)
SELDOM: Final = Seldom(log)

RECORD: Final = 16 * 1024  # the most that one holds, and so what one call of OpenSSL takes or gives
RECORDS_AT_ONCE: Final = 16  # of a large payload, in one write
HANDSHAKE_SECONDS: Final = 10.0
MOST_STRANGERS: Final = 1000  # that shake hands at a time; one more, and the first of them is dropped
PLAIN: Final = packets.error("TLS_REQUIRED", "This port speaks TLS only")


class Porter(Protocol):
    """Who counts connections."""

    def enter(self, guest: Guest) -> None:
        """One was made. Raises LimitReached."""

    def leave(self, guest: Guest) -> None:
        """It has ended."""

    def complain(self, peer: Peer, option: str, what: str) -> None:
        """Tell the operator what came of a limit."""


class Encrypted(asyncio.Protocol):
    """The protocol of a transport of bytes, and the transport of the protocol that `make` returns."""

    strangers: Final[dict["Encrypted", None]] = {}  # in the order in which they came

    def __init__(self, tls: Tls, make: Callable[[], asyncio.Protocol], porter: Porter) -> None:
        self._make = make
        self._porter = porter
        self.peer = Peer()  # for the porter
        self._inside = False  # counted by it, and not by the protocol
        self._protocol: Any = None
        self._transport: Any = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: Any = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._deadline: asyncio.TimerHandle | None = None
        self._heard = False
        self._closing = False
        self._unsent: deque[memoryview] = deque()
        self._full = False  # the peer does not take what was sent
        self._last: Callable[[], None] | None = None  # what follows when all is sent

    # ---- called by asyncio

    def connection_made(self, transport: Any) -> None:
        """Let it shake hands, for a while."""
        self._transport = transport
        self.peer = Peer(address_of(transport.get_extra_info("peername"), None))
        try:
            self._porter.enter(self)
        except LimitReached as error:
            self._porter.complain(self.peer, error.option, f"was refused: {error.text}")
            self._tls = None
            transport.close()
            return
        self._inside = True
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._too_late)
        self.strangers[self] = None
        if len(self.strangers) > MOST_STRANGERS:
            next(iter(self.strangers))._refuse(f"more than {MOST_STRANGERS} at a time")  # noqa: SLF001 - one of us

    def data_received(self, data: bytes) -> None:
        """Ciphertext."""
        if self._tls is None:
            return
        self._incoming.write(data)
        if self._protocol is not None:
            self._read()
        elif self._heard or data[0] == TLS_RECORD:
            self._heard = True
            self._shake_hands()
        else:
            self._transport.write(PLAIN)
            self._refuse("it speaks no TLS")

    def eof_received(self) -> bool:
        """The peer has gone, with or without the alert that says so: the protocol's packets have ends of their own."""
        if self._protocol is None:
            self._refuse("it has gone", quietly=not self._heard)  # as those do who only look whether the port is there
            return False
        return bool(self._tls and self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol, if there is one."""
        if self._protocol is None:
            self._refuse("it has gone", quietly=not self._heard)
        if self._inside:
            self._inside = False
            self._porter.leave(self)
        self._tls = self._deadline = self._last = None
        self._unsent.clear()
        protocol, self._protocol = self._protocol, None  # ends the reference cycle: see app.tame_collector
        if protocol is not None:
            protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._full = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._full = False
        self._pump()
        if not self._full and self._protocol is not None:
            self._protocol.resume_writing()

    # ---- the handshake

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as error:
            self._send()  # the alert that says why
            self._refuse(words(error))
        else:
            self._known()
            self._send()
            self._protocol = self._make()
            self._inside = False
            self._protocol.connection_made(self)
            self._read()

    def _known(self) -> None:
        """It is no stranger any more."""
        self.strangers.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._refuse(f"it took more than {HANDSHAKE_SECONDS:.0f} s")

    def _refuse(self, reason: str, *, quietly: bool = False) -> None:
        """End a connection that has not come to be."""
        if self._tls is None:
            return
        self._known()
        self._tls = None
        if not quietly:
            SELDOM.warn(self.peer.address, "no TLS with %s: %s", self.peer.address, reason)
        self._transport.close()

    # ---- from the peer

    def _read(self) -> None:
        incoming, read = self._incoming, self._tls.read
        pieces = []
        over = False
        try:
            while incoming.pending:
                if not (data := read(RECORD)):
                    over = True
                    break
                pieces.append(data)
        except ssl.SSLWantReadError:  # a part of a record
            pass
        except ssl.SSLError as error:
            SELDOM.warn(self.peer.address, "TLS with %s broke: %s", self.peer.address, words(error))
            self._transport.abort()
            return
        if self._outgoing.pending:
            self._send()
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if over and self._tls is not None and not self._protocol.eof_received():
            self.close()

    # ---- what a transport has

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`certificate`: the name in what the peer has shown; `peercert`: all of it; `guest`: us; else the socket's."""
        if name == "guest":
            return self
        if name == "peername":
            return (self.peer.address,)
        if name in ("certificate", "peercert"):
            shown = self._tls.getpeercert() if self._tls else None
            return (name_in(shown) if name == "certificate" else shown) or default
        return self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of the ciphertext; beyond it plaintext waits."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return int(self._transport.get_write_buffer_size()) + sum(map(len, self._unsent))

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more from the peer."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take it again."""
        self._transport.resume_reading()

    def write(self, data: bytes | memoryview) -> None:
        """Send it."""
        if self._last is not None or self._tls is None:
            return
        if len(data) <= RECORD and not self._unsent:
            self._tls.write(data)
            self._transport.write(self._outgoing.read())
        else:
            self._unsent.append(memoryview(data))
            self._pump()

    def writelines(self, many: Iterable[bytes | memoryview]) -> None:
        """Send them."""
        for data in many:
            self.write(data)

    def write_eof(self) -> None:
        """Say that there will be no more, once all is sent."""
        self._finish(self._transport.write_eof)

    def close(self) -> None:
        """The same, and take no more."""
        self._closing = True
        self._finish(self._transport.close)

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def drop(self) -> None:
        """The same, for the porter, with no word of how the handshake went."""
        if self._protocol is None:
            self._known()
            self._tls = None
        self._transport.abort()

    # ---- to the peer

    def _pump(self) -> None:
        """Encrypt what the peer takes now."""
        unsent = self._unsent
        while unsent and not self._full:
            for _ in range(RECORDS_AT_ONCE):
                data = unsent[0]
                sent = self._tls.write(data[:RECORD])
                if sent < len(data):
                    unsent[0] = data[sent:]
                    continue
                unsent.popleft()
                if not unsent:
                    break
            self._send()
        if not unsent and self._last is not None:
            self._say_goodbye()

    def _finish(self, last: Callable[[], None]) -> None:
        self._last = last
        if not self._unsent:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """close_notify; the peer's is not waited for."""
        assert self._last is not None
        if self._tls is not None and not self._transport.is_closing():
            with suppress(ssl.SSLError):  # it would like to have the peer's
                self._tls.unwrap()
            self._send()
        self._tls = None
        self._last()

    def _send(self) -> None:
        """What OpenSSL has to say."""
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
