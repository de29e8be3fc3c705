"""One connection: from a read to packets to the broker.

Packets are handled in the order in which they came. Where one waits, for a row or for a turn, those behind it wait too.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final

from gearmand_py.server import packets
from gearmand_py.server.access import UNIX
from gearmand_py.server.admin import SLICE
from gearmand_py.server.codec import TLS_HERE, Connection, Packet
from gearmand_py.server.dispatch import BACKGROUND, Unfinished, unreadable
from gearmand_py.server.errors import Expelled, GearmanError, LimitReached, ProtocolError, RequestError
from gearmand_py.server.front import Front, Guest
from gearmand_py.server.guard import Guard
from gearmand_py.server.index import HeadComing, NotResident
from gearmand_py.server.output import Output
from gearmand_py.server.packets import LARGE
from gearmand_py.server.peers import Outgoing, Peer
from gearmand_py.server.seldom import Seldom
from gearmand_py.server.turns import A_PACKET, FEW, SOME_BYTES

log = logging.getLogger(__name__)
SELDOM: Final = Seldom(log)

# Answers that may queue behind a batch before their connection is no longer read: an outage must not fill the memory
# with the answers to a client that goes on asking.
FENCED_HIGH: Final = 10_000
FENCED_BYTES: Final = 32 * 1024 * 1024  # the same by what was read since an answer left
# How long a worker waits for a job that is on its way from the table, before it is told that there is none.
HEAD_PATIENCE: Final = 1.0


def address_of(name: Any, connected: Any) -> str:
    """Where a connection comes from. One that has ended already has no name, and is not taken for a Unix socket's."""
    if connected is not None and connected.family == socket.AF_UNIX:
        return UNIX
    return str(name[0]) if name else "?"


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.codec = Connection(packets.REQUEST, front.max_packet)
        self.peer = Peer()
        self.transport: Any = None
        self.output: Output  # once there is a transport
        self.closing = False
        self._paused: set[str] = set()  # why it is not read
        self._parked: list[Packet] = []  # packets that wait for rows to be read
        self._patience: asyncio.TimerHandle | None = None
        self._listing: Iterator[Outgoing] | None = None  # the rest of an answer, for which they wait too
        self._in_turn = False  # they wait for a turn
        self._rest = b""  # what came behind them
        self._over = False  # no more of its packets are handled
        self._silent = True  # has not sent a whole packet yet
        self._sending = False  # has a place for a large packet, or waits for one
        self._body = 0  # which of those that come in pieces that is
        self._fenced = 0  # bytes read since an answer left

    # ---- called by asyncio

    def connection_made(self, transport: Any) -> None:
        """Make the peer known to the broker."""
        self.transport = transport
        self.output = Output(self.front, self, transport)
        connected = transport.get_extra_info("socket")
        address = address_of(transport.get_extra_info("peername"), connected)
        self.peer = Peer(address, connected.fileno() if connected else -1, self)
        self.peer.exceptions = self.front.exceptions
        self.peer.certificate = name = transport.get_extra_info("certificate")  # of a server.encrypted.Encrypted
        shown = f" with the certificate {name!r}" if name else ""
        log.debug("connection %d from %s%s", self.peer.fd, self.peer.address, shown)
        try:
            if self._guest is self:
                self.front.enter(self)
        except LimitReached as error:
            self._turn_away(error)
            return
        self.front.broker.connect(self.peer)
        if self.front.guard is not None:
            self._admit(self.front.guard)

    @property
    def _guest(self) -> Guest:
        """Whom the door knows: the TLS below, which was there before."""
        below: Guest | None = self.transport.get_extra_info("guest")  # of a server.encrypted.Encrypted
        return below or self

    def _admit(self, guard: Guard) -> None:
        try:
            guard.admit(self.peer)
        except Expelled as error:
            self.front.begin()
            self.expel(error.answer)
            self.front.broker.send(self.peer, b"")
            self.front.end()

    def _turn_away(self, error: LimitReached) -> None:
        self.front.complain(self.peer, error.option, f"was refused: {error.text}")
        self.closing = self.peer.closed = True
        self.transport.write(packets.error(error.code, error.text))
        self.transport.close()
        self.peer.link = None

    def data_received(self, data: bytes) -> None:
        """Handle every packet that is now whole."""
        front = self.front
        if self.closing:
            return
        front.begin()
        codec = self.codec
        if self._paused or len(data) > SOME_BYTES:
            self._receive_much(data)
        elif len(received := codec.feed(data)) > FEW:
            self._handle_some(received)
        else:
            self._handle(received)
        if codec.missing >= LARGE or self._sending:
            self._look_at_large()
        if self.peer.fence is not None:  # answers wait for a batch
            self._fenced += len(data)
            if len(self.peer.tail) > FENCED_HIGH or self._fenced > FENCED_BYTES:
                front.pause_submitter(self)
        front.end_read(self)

    def _handle(self, received: list[Packet], *, last: bool = True) -> None:
        """Handle packets in turn; `last` if these are all that have come."""
        front, peer = self.front, self.peer
        if self._silent and received:
            self._silent = False
            front.door.spoke(self._guest)
        handlers, unexpected = front.handlers, front.unexpected
        for kind, body in (rest := iter(received)):
            try:
                handlers.get(kind, unexpected)(peer, body)
            except RequestError as error:
                peer.tail.append(packets.error(error.code, error.text))
                if isinstance(error, LimitReached):
                    front.complain(peer, error.option, f"was told: {error.text}")
            except NotResident as miss:
                self._park(miss, [(kind, body), *rest])
                return
            except Expelled as error:
                self.expel(error.answer)
                return
            except Unfinished as unfinished:
                self._listing = unfinished.slices
                self._wait_for_turn(list(rest))
                return
            except Exception:
                log.exception("handling %s from %s failed", packets.name(kind), peer.address)
                self.break_off(RequestError("INTERNAL_ERROR", "The server could not handle this packet"))
                break
        if self.codec.error and last:
            self._lost_frame(self.codec.error)

    def _lost_frame(self, error: ProtocolError) -> None:
        if error.text == TLS_HERE:
            SELDOM.warn(self.peer.address, "%s speaks TLS to a port without it", self.peer.address)
        self.break_off(error)

    def _receive_much(self, data: bytes) -> None:
        """Bytes that are taken apart some at a time, or behind packets that wait."""
        self._rest += data
        if not (self._parked or self._in_turn):
            self._handle_some([])

    def _take_apart(self) -> list[Packet]:
        """The packets of the next bytes. Those behind wait as they came: packets take ten times the memory."""
        most = self.codec.missing + SOME_BYTES
        some, self._rest = self._rest[:most], self._rest[most:]
        received = self.codec.feed(some)
        if self.codec.error:
            self._rest = b""
        return received

    def _handle_some(self, received: list[Packet]) -> None:
        """As many as this turn of the loop may take, one at least; the rest waits for the next ones."""
        turns = self.front.turns
        while not self._is_too_much(received):
            count = turns.take(len(received)) or 1
            some, received = received[:count], received[count:]
            self._handle(some, last=not (received or self._rest))
            if self._over:
                return
            if self._parked or self._in_turn:
                self._parked += received
                self._note_unhandled()
                return
            if received or (self._rest and turns.over):
                break
            if not self._rest:
                return
            received = self._take_apart()
        self._wait_for_turn(received)

    def _is_too_much(self, received: list[Packet]) -> bool:
        """These submissions would go into a batch that is full."""
        return bool(received) and received[0][0] in BACKGROUND and self.front.journal.full

    # ---- large packets

    def _look_at_large(self) -> None:
        """A large packet is on its way, or was."""
        front, codec = self.front, self.codec
        if self._sending and codec.bodies != self._body and not self._parked:
            self._sending = False
            front.incoming.end(self)
        if codec.missing < LARGE or self._sending:
            return
        if codec.kind in BACKGROUND and front.journal.full:
            front.pause_submitter(self)
        else:
            self._sending, self._body = True, codec.bodies
            front.incoming.begin(self)
            front.watch()

    @property
    def missing(self) -> int:
        """Bytes of a packet that are still to come."""
        return self.codec.missing

    @property
    def may_send(self) -> bool:
        """It is read."""
        return not self._paused

    def wait_for_place(self) -> None:
        """There is no memory for the rest of its packet now."""
        self.pause("memory")

    def have_place(self) -> None:
        """There is."""
        self.resume("memory")

    # ---- many packets, and long answers

    def _wait_for_turn(self, rest: list[Packet]) -> None:
        """Let packets wait until others have had their turn, and until an answer is complete."""
        self._parked, self._in_turn = rest, True
        self.pause("turn")
        self.front.turns.add(self)
        self._note_unhandled()

    def _note_unhandled(self) -> None:
        for other in self.front.unhandled.note(self, self.unhandled):
            self.front.drop(other, "--max-buffers", "sent more than could be handled, as others did too")

    @property
    def can_go_on(self) -> bool:
        """There is room for more of an answer."""
        if self.peer.closed:
            return True
        if self._listing:
            return len(self._paused) == 1 and not (self.output.slow or self.peer.fence)
        return len(self._paused) == 1 and not self._is_too_much(self._parked)

    def go_on(self) -> bool:
        """Send the next slice of an answer, or handle some of the packets behind it; is there more of the answer?"""
        if self.peer.closed:
            return False
        self.front.begin()
        piece = next(self._listing, None) if self._listing else None
        if piece is None:
            self._listing, self._in_turn = None, False
            parked, self._parked = self._parked, []
            self._handle_some(parked)
            self._resume_parked()
        else:
            self.front.turns.take(SLICE)
            self.peer.tail.append(piece)
        self.front.broker.touch(self.peer)
        self.front.end()
        return piece is not None

    def _resume_parked(self) -> None:
        """Packets that waited were handled, or wait for something else."""
        if not self._in_turn:
            self.resume("turn")
        if self._in_turn or not self._parked:
            self.resume("row")
        if not (self._in_turn or self._parked):
            self.front.unhandled.forget(self)
        if self.codec.missing >= LARGE or self._sending:
            self._look_at_large()

    def _park(self, miss: NotResident, parked: list[Packet]) -> None:
        """Let packets wait for a row, for a while."""
        self._parked = parked
        self.pause("row")
        seconds = HEAD_PATIENCE if isinstance(miss, HeadComing) else self.front.patience
        self._patience = asyncio.get_running_loop().call_later(seconds, self._give_up)
        self.front.look_up(miss, self, parked)

    def unpark(self) -> None:
        """Go on with the packets that waited."""
        if not self._parked or self._in_turn or self.peer.closed:
            return
        parked, self._parked = self._parked, []
        patience, self._patience = self._patience, None
        self._handle_some(parked)
        if len(self._parked) == len(parked) and patience is not None:  # the same packet still waits, as long as it may
            self._end_patience()
            self._patience = patience
        elif patience is not None:
            patience.cancel()
        self._resume_parked()
        self.front.broker.touch(self.peer)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        """The row cannot be read: its packet gets an error."""
        self._patience = None
        (kind, _), *rest = self._parked
        self._parked = []
        self.front.begin()
        self.peer.tail.append(unreadable(kind))
        self._handle_some(rest)
        self._resume_parked()
        self.front.broker.send(self.peer, b"")
        self.front.end()

    def eof_received(self) -> bool:
        """The peer has gone; what it is owed already is still sent, once its batches are settled."""
        if self.peer.closed:
            return False
        self.closing = True
        self.front.begin()
        self.front.broker.send(self.peer, b"")
        self.front.end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the broker."""
        log.debug("connection %d from %s ended%s", self.peer.fd, self.peer.address, f": {exc}" if exc else "")
        if self.peer.link is None:  # it was turned away
            return
        self._end_patience()
        self._parked, self._rest = [], b""
        self._listing, self._in_turn = None, False
        self.front.begin()
        self.front.leave(self._guest)
        self.front.unread.forget(self)
        self.front.unhandled.forget(self)
        if self._sending:
            self.front.incoming.end(self)
        self.front.part(self.peer)
        self.peer.link = None  # ends the reference cycle: see app.tame_collector
        self.front.end()

    def pause_writing(self) -> None:
        """A peer that leaves its answers unread."""
        self.output.falls_behind()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.output.catches_up()

    # ---- called by the front

    @property
    def unread(self) -> int:
        """Bytes of answers that its other end has not taken."""
        return self.output.unread

    @property
    def unhandled(self) -> int:
        """Bytes, about, of what came and waits."""
        return len(self._rest) + A_PACKET * len(self._parked)

    def flush(self) -> None:
        """Write what may be sent; close if that was the last of it."""
        outbox = self.peer.outbox
        if self.peer.held and self.peer.held[-1].results:
            self.output.look()
        if outbox:
            self._fenced = 0
            if len(outbox) == 1 and not self.output.watched:
                self.transport.write(outbox[0])
            else:
                self.output.write(outbox)
            outbox.clear()
        if self.closing and not (self.peer.held or self._parked or self._in_turn):
            self.transport.close()

    def drop(self) -> None:
        """End it at once, whatever it is owed."""
        self.closing = self.peer.closed = True
        self.peer.outbox.clear()
        self.transport.abort()

    def pause(self, reason: str) -> None:
        """Stop reading."""
        if not self._paused and not self.transport.is_closing():
            self.transport.pause_reading()
        self._paused.add(reason)

    def resume(self, reason: str) -> None:
        """Read again, unless there is another reason not to."""
        if reason in self._paused:
            self._paused.discard(reason)
            if self._in_turn:
                self.front.turns.wake()
            if not self._paused and not self.transport.is_closing():
                self.transport.resume_reading()

    def break_off(self, error: GearmanError) -> None:
        """Tell the peer why, and close once it has been told."""
        self.expel(packets.error(error.code, error.text))

    def expel(self, answer: bytes) -> None:
        """The same with a ready answer. What it has said after that is not looked at."""
        self.peer.tail.append(answer)
        self.closing = self._over = True

    def end(self) -> None:
        """Send what has been written, and then the end of the stream; read on, but take nothing.

        Closing with bytes unread would have the kernel drop what is on its way to the peer, acknowledgements included.
        """
        self.closing = self.peer.closed = True
        self._end_patience()
        self._parked, self._rest = [], b""
        self._listing, self._in_turn = None, False
        for reason in list(self._paused):
            self.resume(reason)
        if not self.transport.is_closing():
            self.transport.write_eof()
