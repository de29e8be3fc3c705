"""One process of a benchmark: it makes its connections, waits for the common start, and serves them until told to stop.

What it and its parent say to each other, over a pipe: a Phase; READY, once connected; the time to start; Progress, now
and then; STOP; the Tally. A Tally may come at any time: then something went wrong, and it says what.
"""

import gc
import select
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, Final, NamedTuple

from gearmand_py.server import packets
from gearmand_py.server.bench.links import Client, Link, Worker
from gearmand_py.server.bench.load import Phase, Share
from gearmand_py.server.bench.source import SECOND, Source
from gearmand_py.server.bench.tally import Tally
from gearmand_py.server.client import Client as SetUp
from gearmand_py.server.client import ClientError

READY: Final = "ready"
STOP: Final = "stop"
TELL_EVERY: Final = SECOND // 10
BYTES_AT_ONCE: Final = 1 << 20  # of jobs given to one client


class Progress(NamedTuple):
    """How far a process is."""

    submitted: int = 0
    answered: int = 0  # acknowledged or refused
    settled: int = 0
    acknowledged: int = 0
    ran: int = 0
    ended: bool = False  # it will submit no more
    quiet: int = 0  # nanoseconds since something was sent or came

    @property
    def is_last(self) -> bool:
        """Whether this process waits for nothing but jobs to run."""
        return self.ended and self.settled == self.submitted


def serve(pipe: "Connection[Any, Any]", share: Share) -> None:
    """Do one phase after the other, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to obey
    gc.freeze()
    gc.disable()  # a pause would be counted as the server's
    with suppress(EOFError, BrokenPipeError):
        while True:
            phase = pipe.recv()
            if isinstance(phase, Phase):  # else it is for one that had failed
                pipe.send(Generator(phase, share, pipe).run())


class Generator:
    """A process in one phase."""

    def __init__(self, phase: Phase, share: Share, pipe: "Connection[Any, Any]") -> None:
        self._phase = phase
        self._share = share
        self._pipe = pipe
        self._tally = Tally(foreground=phase.foreground)
        self._selector = DefaultSelector()
        self._clients: list[Client] = []
        self._workers: list[Worker] = []
        self._turns: deque[Client] = deque()
        self._blocked: set[Link] = set()
        self._stopped = False
        self._idle = 0  # nanoseconds spent waiting
        self._at_once = max(BYTES_AT_ONCE // phase.load.payload[1], 1)
        self._moved = 0  # bytes, when that was last looked at
        self._active = time.monotonic_ns()  # when it last changed

    def run(self) -> Tally:
        """From connecting to the tally."""
        try:
            self._connect()
            self._pipe.send(READY)
            start = self._pipe.recv()
            if start != STOP:
                self._work(start)
        except (ClientError, OSError) as error:
            self._tally.failure = error
        finally:
            self._selector.close()
            for link in [*self._clients, *self._workers]:
                link.leave()
            for link in [*self._clients, *self._workers]:
                link.close()
        return self._tally

    # ---- set up

    def _connect(self) -> None:
        phase, load = self._phase, self._phase.load
        if phase.works:
            for number in self._share.workers(load):
                connected = self._open(phase.abilities(number))
                self._workers.append(Worker(connected, phase.server, self._tally, phase.run))
        if phase.submits:
            for _ in self._share.clients(load):
                window, waits = load.in_flight, phase.foreground
                self._clients.append(Client(self._open([]), phase.server, self._tally, window=window, waits=waits))

    def _open(self, abilities: list[bytes]) -> socket.socket:
        """A connection whose abilities the server has read."""
        client = SetUp.connect(*self._phase.server)
        for function in abilities:
            client.send(packets.CAN_DO, function)
        client.ask(packets.ECHO_REQ, b"", answer=packets.ECHO_RES)
        return client.detach()

    # ---- the loop

    def _work(self, start: int) -> None:
        for link in [*self._clients, *self._workers]:
            self._selector.register(link.socket, EVENT_READ, link)
        self._selector.register(self._pipe, EVENT_READ, None)
        source = Source(self._phase, self._share, start)
        self._turns.extend(self._clients)
        time.sleep(max(start - time.monotonic_ns(), 0) / SECOND)
        began = time.monotonic_ns()
        for worker in self._workers:
            worker.begin()
        self._loop(source, start)
        elapsed = time.monotonic_ns() - began
        self._tally.busy = 1 - self._idle / elapsed if elapsed else 0.0

    def _loop(self, source: Source, start: int) -> None:
        for client in self._clients:
            self._give(source, client, start)
        told, tell_at = Progress(), start
        now = time.monotonic_ns()
        while not self._stopped:
            if self._phase.load.rate:
                self._give_in_turn(source, now)
            progress = self._progress(source, now)
            if now >= tell_at or (progress.is_last and not told.is_last):
                self._pipe.send(progress)
                told, tell_at = progress, now + TELL_EVERY
            now = self._attend(source, tell_at - now)

    def _attend(self, source: Source, wait: int) -> int:
        """Serve what is ready, or becomes so within `wait` nanoseconds; returns when that was."""
        before = time.monotonic_ns()
        events = self._select(source, wait, before)
        now = time.monotonic_ns()
        self._idle += now - before
        for key, mask in events:
            link = key.data
            if link is None:
                self._stopped = self._pipe.recv() == STOP
                continue
            if mask & EVENT_WRITE:
                link.write()
            if mask & EVENT_READ:
                link.read(now)
            if isinstance(link, Client) and not self._phase.load.rate:
                self._give(source, link, now)
            self._watch(link)
        return now

    def _select(self, source: Source, wait: int, now: int) -> Any:
        due = source.wait(now)
        if due is None:
            return self._selector.select(wait / SECOND)
        # Selectors wait for whole milliseconds, which would be counted as the server's; select(2) is exact.
        select.select([self._selector], [], [], min(wait, due) / SECOND)
        return self._selector.select(0)

    def _watch(self, link: Link) -> None:
        """Wait until what waits to be sent can be."""
        if link.blocked != (link in self._blocked):
            self._blocked ^= {link}
            self._selector.modify(link.socket, EVENT_READ | (EVENT_WRITE if link.blocked else 0), link)

    # ---- jobs

    def _give(self, source: Source, client: Client, now: int) -> None:
        """What is due, as far as the client has room and its socket takes it: a large job is not made before that."""
        while client.room and not client.blocked and (jobs := source.take(min(client.room, self._at_once), now)):
            client.submit(jobs)
        self._watch(client)

    def _give_in_turn(self, source: Source, now: int) -> None:
        """What is due, to the clients that have room."""
        for _ in range(len(self._turns)):
            if source.wait(now) != 0:
                return
            client = self._turns[0]
            self._turns.rotate(-1)
            self._give(source, client, now)

    def _progress(self, source: Source, now: int) -> Progress:
        tally = self._tally
        if tally.moved != self._moved:
            self._moved, self._active = tally.moved, now
        ended = not self._clients or source.ended(now)
        counts = tally.submitted, tally.answers, tally.settled, tally.acked.count, tally.ran.count
        return Progress(*counts, ended, now - self._active)
