"""What all connections share: broker, journal, timer and door, and one write to each peer when an event ends.

Every event (a read, a connection lost, a deadline, a batch settled) is one `begin`, the broker's work, one `end`. In
between nothing is awaited, logged or timed; at the end each peer with something to send gets one joined write.

Results gather: while the loop is busy, what a worker says of a job waits for a few turns of the loop, so that one write
to a client carries the results of several workers. A write costs more in the kernel than the job does here. Answers
to who was read, and what wakes a worker, never wait.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

from gearmand_py.server.access import Access
from gearmand_py.server.broker import Broker
from gearmand_py.server.buffers import Backlogs, Incoming, Sender
from gearmand_py.server.codec import Packet
from gearmand_py.server.dispatch import Dispatch, keys_in
from gearmand_py.server.door import Door
from gearmand_py.server.guard import Guard
from gearmand_py.server.index import HeadComing, NotResident
from gearmand_py.server.journal import Journal
from gearmand_py.server.limits import Limits
from gearmand_py.server.loader import Loader
from gearmand_py.server.peers import Peer
from gearmand_py.server.seldom import Seldom
from gearmand_py.server.streaming import Streaming
from gearmand_py.server.turns import FEW, Turns
from gearmand_py.storage.base import Storage

log = logging.getLogger(__name__)

# A turn of the loop with fewer reads is a quiet one, and ends the gathering; so do this many busy ones, well under a
# millisecond of them (docs/benchmarks.md).
BUSY_TURN: Final = 3
MOST_TURNS: Final = 4
# Deadlines by wall clock are looked at this often at least, so that a clock that jumps is noticed.
LONGEST_SLEEP: Final = 1.0
SHORTEST_PATIENCE: Final = 1.0  # of packets that wait for rows, however little submissions are to wait
# How often connections are looked at whose time runs; one timer for all of them, and none where there are none.
LOOK_EVERY: Final = 1.0
DEPARTING: Final = 1000  # jobs of somebody who has left that are looked at in one go, in 2 ms


class Guest(Protocol):
    """A connection, as the door sees it."""

    @property
    def peer(self) -> Peer:
        """Where it comes from."""

    def drop(self) -> None:
        """End it at once."""


class Link(Guest, Sender, Protocol):
    """A connection, as the front sees it."""

    @property
    def unread(self) -> int:
        """Bytes of answers that its other end has not taken."""

    @property
    def unhandled(self) -> int:
        """Bytes that came and wait for their turn."""

    def unpark(self) -> None:
        """Rows that its packets wait for have come."""

    def flush(self) -> None:
        """Write what may be sent."""

    def pause(self, reason: str) -> None:
        """Read it no more."""

    def resume(self, reason: str) -> None:
        """There is this reason no more."""


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
        limits: Limits | None = None,
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
        self._paused: list[Link] = []  # submitters that wait for the batch to be taken
        self.limits = limits or Limits()
        self.door = Door(self.limits)
        self.incoming: Incoming[Link] = Incoming(self.limits.buffers)
        self.unread: Backlogs[Link] = Backlogs(self.limits.buffers, lambda client: client.unread)
        self.unhandled: Backlogs[Link] = Backlogs(self.limits.buffers, lambda client: client.unhandled)
        self.turns = Turns(self._loop)
        self._warnings = Seldom(log)
        self._watching: asyncio.TimerHandle | None = None

    # ---- an event

    def begin(self) -> None:
        """Before the broker is told of an event. While results gather, their first event's clock holds."""
        if not self._gathered:
            self.broker.tick(time.monotonic(), time.time())

    def end(self) -> None:
        """After it: send what is to be sent, let the journal and the timer look."""
        self.flush()
        self._look_after()

    def end_read(self, client: Link) -> None:
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

    def look_up(self, miss: NotResident, client: Link, packets: Sequence[Packet]) -> None:
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
        self.turns.wake()

    def settled(self) -> None:
        """The journal is done with a batch."""
        if not self.journal.full:
            self.resume_submitters()
        self.end()

    def _pause_submitters(self) -> None:
        for peer in self.broker.batch.waiters:
            if not peer.closed:
                self.pause_submitter(peer.link)

    def pause_submitter(self, client: Link) -> None:
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

    # ---- limits

    def enter(self, guest: Guest) -> None:
        """A connection was made. Raises LimitReached."""
        gives_way = self.door.enter(guest, guest.peer.address, self._loop.time())
        if gives_way is not None:
            self.drop(gives_way, "--max-connections", "had not said anything, and gave its place to another")
        self.watch()

    def leave(self, guest: Guest) -> None:
        """It has ended."""
        self.door.leave(guest, guest.peer.address)

    def part(self, peer: Peer) -> None:
        """A connection has ended; where it leaves many jobs, these wait for their turn."""
        self.broker.disconnect(peer)
        if len(peer.running) + len(peer.awaited) > FEW:
            self.turns.add(Departure(self, peer))
        else:
            self.broker.settle(peer, FEW)

    def complain(self, peer: Peer, option: str, what: str) -> None:
        """Tell the operator what came of a limit, and which option it is."""
        self._warnings.warn(f"{peer.address} {option}", "connection from %s %s (%s)", peer.address, what, option)

    def drop(self, guest: Guest, option: str, why: str) -> None:
        """End a connection at once."""
        self.complain(guest.peer, option, why)
        guest.drop()

    def watch(self) -> None:
        """Look after those whose time runs, if there are any."""
        if self._watching is None and (self.door.watching or self.incoming.crowded):
            self._watching = self._loop.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        self._watching = None
        for client in self.door.overdue(self._loop.time()):
            self.drop(client, "--first-packet-timeout", "has sent no packet in time")
        for client in self.incoming.look():
            self.drop(client, "--max-buffers", "sent too little of a large packet while others waited to send theirs")
        self.watch()

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


class Departure:
    """The jobs that a connection has left, some of them each turn."""

    def __init__(self, front: Front, peer: Peer) -> None:
        self._front = front
        self._peer = peer

    @property
    def can_go_on(self) -> bool:
        """The batch has room: a row is changed for each background job that goes back."""
        return not self._front.journal.full

    def go_on(self) -> bool:
        """Some; are there more?"""
        self._front.turns.take(DEPARTING // 4)  # a job takes a quarter of what a packet does
        self._front.begin()
        more = self._front.broker.settle(self._peer, DEPARTING)
        self._front.end()
        return more


def write_to(peer: Peer) -> None:
    """Write what may be sent to a peer that was marked as having something."""
    peer.dirty = False
    if not peer.closed:
        peer.link.flush()
