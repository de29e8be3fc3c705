"""The asyncio side of connections: from a read to packets to the broker, and what that gives to be sent.

Every event (a read, a connection lost, a deadline, a batch settled) is one `begin`, the broker's work, one `end`. In
between nothing is awaited, logged or timed; at the end each peer with something to send gets one joined write.

Results gather: while the loop is busy, what a worker says of a job waits for a few turns of the loop, so that one write
to a client carries the results of several workers. A write costs more in the kernel than the job does here. Answers
to who was read, and what wakes a worker, never wait.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from gearmand_py.server import packets
from gearmand_py.server.access import UNIX, Access
from gearmand_py.server.broker import Broker
from gearmand_py.server.codec import TLS_HERE, Connection, Packet
from gearmand_py.server.dispatch import Dispatch, keys_in, unreadable
from gearmand_py.server.errors import Expelled, GearmanError, RequestError
from gearmand_py.server.guard import Guard
from gearmand_py.server.index import HeadComing, NotResident
from gearmand_py.server.journal import Journal
from gearmand_py.server.loader import Loader
from gearmand_py.server.peers import Peer
from gearmand_py.server.seldom import Seldom
from gearmand_py.server.streaming import Streaming
from gearmand_py.storage.base import Storage

log = logging.getLogger(__name__)
SELDOM: Final = Seldom(log)

# Unsent bytes at which a connection is no longer read. High enough for a client that submits some ten thousand jobs in
# one go before it reads an answer.
WRITE_HIGH: Final = 1024 * 1024
# Answers that may queue behind a batch before their connection is no longer read: an outage must not fill the memory
# with the answers to a client that goes on asking.
FENCED_HIGH: Final = 10_000
# A turn of the loop with fewer reads is a quiet one, and ends the gathering; so do this many busy ones, well under a
# millisecond of them (docs/benchmarks.md).
BUSY_TURN: Final = 3
MOST_TURNS: Final = 4
# Deadlines by wall clock are looked at this often at least, so that a clock that jumps is noticed.
LONGEST_SLEEP: Final = 1.0
# How long a worker waits for a job that is on its way from the table, before it is told that there is none.
HEAD_PATIENCE: Final = 1.0
SHORTEST_PATIENCE: Final = 1.0  # of packets that wait for rows, however little submissions are to wait


class Front:
    """What all connections share: the broker, the journal and the timer."""

    def __init__(
        self,
        dispatch: Dispatch,
        storage: Storage,
        *,
        max_packet: int,
        storage_timeout: float,
        exceptions: bool = False,
    ) -> None:
        self.broker: Broker = dispatch.broker
        self.guard = dispatch if isinstance(dispatch, Guard) else None
        self.handlers = dispatch.handlers
        self.unexpected = dispatch.unexpected
        self.max_packet = max_packet
        self.exceptions = exceptions  # sent to clients that have not asked for them, too
        self.journal = Journal(
            storage, self.broker, taken=self.resume_submitters, settled=self.settled, timeout=storage_timeout
        )
        self.patience = max(storage_timeout, SHORTEST_PATIENCE)
        self.loader: Loader | None = None  # reads rows, where there is a table
        self.streaming: Streaming | None = None  # reads those from before the start
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # loop's seconds; uvloop's handle of a time that has come already cannot tell
        self._gathered: list[Peer] = []  # clients whose results wait for the end of a busy time
        self._reads = 0  # in this turn, since results gather
        self._turns = 0  # before this one
        self._paused: list[Client] = []  # submitters that wait for the batch to be taken

    def accept(self) -> "Client":
        """A protocol for a new connection."""
        return Client(self)

    # ---- an event

    def begin(self) -> None:
        """Before the broker is told of an event. While results gather, their first event's clock holds."""
        if not self._gathered:
            self.broker.tick(time.monotonic(), time.time())

    def end(self) -> None:
        """After it: send what is to be sent, let the journal and the timer look."""
        self.flush()
        self._look_after()

    def end_read(self, client: "Client") -> None:
        """The same after a read: the results of other clients gather."""
        client.flush()
        self._reads += 1
        dirty, self.broker.dirty = self.broker.dirty, []
        for peer in dirty:
            if peer.functions:
                write_to(peer)
            else:
                self._gather(peer)
        self._look_after()

    def _look_after(self) -> None:
        if self.broker.batch.waiters:
            if self.journal.full:
                self._pause_submitters()
            self.journal.wake()
        elif not self.broker.batch.empty:
            self.journal.linger()
        if self.broker.scheduled and not self._gathered:
            self._arm_timer()
        if self.broker.index.wanting and self.loader is not None:
            self.loader.wake()

    def look_up(self, miss: NotResident, client: "Client", packets: Sequence[Packet]) -> None:
        """Read what the first of these packets misses, and call `client.unpark`."""
        if self.loader is not None and isinstance(miss, HeadComing):
            self.loader.await_head(client)
        elif self.loader is not None and miss.ids:
            self.loader.look_up(miss.ids, client)
        elif self.streaming is not None:
            self.streaming.look_up({miss.key, *keys_in(packets)} if miss.key else (), client)

    def flush(self) -> None:
        """One write to each peer that has something to be sent."""
        gathered, self._gathered = self._gathered, []
        dirty, self.broker.dirty = self.broker.dirty, []
        for peer in gathered:
            write_to(peer)
        for peer in dirty:
            write_to(peer)

    def _gather(self, peer: Peer) -> None:
        if not self._gathered:
            self._reads = self._turns = 0
            self._loop.call_soon(self._end_turn)
        self._gathered.append(peer)

    def _end_turn(self) -> None:
        self._turns += 1
        if self._gathered and self._reads >= BUSY_TURN and self._turns < MOST_TURNS:
            self._reads = 0
            self._loop.call_soon(self._end_turn)
        else:
            self.end()

    def resume_submitters(self) -> None:
        """There is room in the open batch again, or answers have left."""
        paused, self._paused = self._paused, []
        for client in paused:
            client.resume("journal")

    def settled(self) -> None:
        """The journal is done with a batch."""
        if not self.journal.full:
            self.resume_submitters()
        self.end()

    def _pause_submitters(self) -> None:
        for peer in self.broker.batch.waiters:
            if not peer.closed:
                self.pause_submitter(peer.link)

    def pause_submitter(self, client: "Client") -> None:
        """Stop reading a connection until the journal has taken or settled a batch."""
        client.pause("journal")
        self._paused.append(client)

    def _arm_timer(self) -> None:
        wait = self.broker.next_deadline(time.monotonic(), time.time())
        when = self._loop.time() + min(wait, LONGEST_SLEEP)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.begin()
        self.end()

    # ---- who may do what

    def judge_anew(self, access: Access) -> None:
        """The rules have changed: what is no longer allowed ends."""
        if self.guard is not None:
            self.begin()
            for peer, answer in self.guard.judge_anew(access):
                peer.link.expel(answer)
                self.broker.send(peer, b"")
            self.end()

    # ---- the end

    def stop_reading(self) -> None:
        """Take nothing more from anybody."""
        for peer in self.broker.peers:
            peer.link.pause("stopping")

    def say_goodbye(self) -> None:
        """End every connection on our side, what it is owed being sent first."""
        self.flush()
        for peer in list(self.broker.peers):
            peer.link.end()

    def abort(self) -> None:
        """Drop whoever has not gone by itself."""
        for peer in list(self.broker.peers):
            peer.link.transport.abort()


def write_to(peer: Peer) -> None:
    """Write what may be sent to a peer that was marked as having something."""
    peer.dirty = False
    if not peer.closed:
        peer.link.flush()


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
        self.closing = False
        self._paused: set[str] = set()  # why it is not read
        self._parked: list[Packet] = []  # packets that wait for rows to be read
        self._patience: asyncio.TimerHandle | None = None

    # ---- called by asyncio

    def connection_made(self, transport: Any) -> None:
        """Make the peer known to the broker."""
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        connected = transport.get_extra_info("socket")
        address = address_of(transport.get_extra_info("peername"), connected)
        self.peer = Peer(address, connected.fileno() if connected else -1, self)
        self.peer.exceptions = self.front.exceptions
        self.peer.certificate = name = transport.get_extra_info("certificate")  # of a server.encrypted.Encrypted
        shown = f" with the certificate {name!r}" if name else ""
        log.debug("connection %d from %s%s", self.peer.fd, self.peer.address, shown)
        self.front.broker.connect(self.peer)
        if self.front.guard is not None:
            self._admit(self.front.guard)

    def _admit(self, guard: Guard) -> None:
        try:
            guard.admit(self.peer)
        except Expelled as error:
            self.front.begin()
            self.expel(error.answer)
            self.front.broker.send(self.peer, b"")
            self.front.end()

    def data_received(self, data: bytes) -> None:
        """Handle every packet that is now whole."""
        front = self.front
        if self.closing:
            return
        front.begin()
        if self._parked:
            self._parked += self.codec.feed(data)
        else:
            self._handle(self.codec.feed(data))
        front.end_read(self)

    def _handle(self, received: list[Packet]) -> None:
        front, peer = self.front, self.peer
        handlers, unexpected = front.handlers, front.unexpected
        for kind, body in (rest := iter(received)):
            try:
                handlers.get(kind, unexpected)(peer, body)
            except RequestError as error:
                peer.tail.append(packets.error(error.code, error.text))
            except NotResident as miss:
                self._park(miss, [(kind, body), *rest])
                return
            except Expelled as error:
                self.expel(error.answer)
                return
            except Exception:
                log.exception("handling %s from %s failed", packets.name(kind), peer.address)
                self.break_off(RequestError("INTERNAL_ERROR", "The server could not handle this packet"))
                break
        if self.codec.error:
            if self.codec.error.text == TLS_HERE:
                SELDOM.warn(peer.address, "%s speaks TLS to a port without it", peer.address)
            self.break_off(self.codec.error)
        if peer.fence and len(peer.tail) > FENCED_HIGH:
            front.pause_submitter(self)

    def _park(self, miss: NotResident, parked: list[Packet]) -> None:
        """Let packets wait for a row, for a while."""
        self._parked = parked
        self.pause("row")
        seconds = HEAD_PATIENCE if isinstance(miss, HeadComing) else self.front.patience
        self._patience = asyncio.get_running_loop().call_later(seconds, self._give_up)
        self.front.look_up(miss, self, parked)

    def unpark(self) -> None:
        """Go on with the packets that waited."""
        parked, self._parked = self._parked, []
        if not parked or self.peer.closed:
            return
        patience, self._patience = self._patience, None
        self._handle(parked)
        if len(self._parked) == len(parked) and patience is not None:  # the same packet still waits, as long as it may
            self._end_patience()
            self._patience = patience
        elif patience is not None:
            patience.cancel()
        if not self._parked:
            self.resume("row")
        if not self.peer.dirty:
            self.peer.dirty = True
            self.front.broker.dirty.append(self.peer)

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
        self._handle(rest)
        if not self._parked:
            self.resume("row")
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
        self._end_patience()
        self._parked = []
        self.front.begin()
        self.front.broker.disconnect(self.peer)
        self.peer.link = None  # ends the reference cycle: see app.tame_collector
        self.front.end()

    def pause_writing(self) -> None:
        """A peer that does not read its answers is not read either."""
        self.pause("slow reader")

    def resume_writing(self) -> None:
        """It has caught up."""
        self.resume("slow reader")

    # ---- called by the front

    def flush(self) -> None:
        """Write what may be sent; close if that was the last of it."""
        outbox = self.peer.outbox
        if len(outbox) == 1:
            self.transport.write(outbox[0])
            outbox.clear()
        elif outbox:
            if sum(map(len, outbox)) < packets.LARGE:
                self.transport.write(b"".join(outbox))
            else:
                self.transport.writelines(outbox)
            outbox.clear()
        if self.closing and not self.peer.held and not self._parked:
            self.transport.close()

    def pause(self, reason: str) -> None:
        """Stop reading."""
        if not self._paused and not self.transport.is_closing():
            self.transport.pause_reading()
        self._paused.add(reason)

    def resume(self, reason: str) -> None:
        """Read again, unless there is another reason not to."""
        if reason in self._paused:
            self._paused.discard(reason)
            if not self._paused and not self.transport.is_closing():
                self.transport.resume_reading()

    def break_off(self, error: GearmanError) -> None:
        """Tell the peer why, and close once it has been told."""
        self.expel(packets.error(error.code, error.text))

    def expel(self, answer: bytes) -> None:
        """The same with a ready answer."""
        self.peer.tail.append(answer)
        self.closing = True

    def end(self) -> None:
        """Send what has been written, and then the end of the stream; read on, but take nothing.

        Closing with bytes unread would have the kernel drop what is on its way to the peer, acknowledgements included.
        """
        self.closing = self.peer.closed = True
        self._end_patience()
        self._parked = []
        for reason in list(self._paused):
            self.resume(reason)
        if not self.transport.is_closing():
            self.transport.write_eof()
