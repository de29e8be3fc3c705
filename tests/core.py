"""Drives the pure core as the shell would: with plain lists, a made-up clock and a dict for a table.

`Core` has a broker with its dispatch and admin, and the peers that are connected. Bytes go in through the codec, and
what comes out is read through the codec from the client's side, so a test speaks in packets:

    core = Core()
    client = core.connect()
    core.send(client, SUBMIT_JOB, b"reverse", b"", b"hello")
    assert core.received(client) == [(JOB_CREATED, handle)]
"""

from collections.abc import Collection, Iterable
from math import inf
from typing import Any, Final

from gearmand_py.server import packets
from gearmand_py.server.admin import Admin
from gearmand_py.server.batch import Batch
from gearmand_py.server.broker import UNLIMITED, Broker
from gearmand_py.server.codec import DEFAULT_MAX_PACKET, Connection
from gearmand_py.server.crews import Skills
from gearmand_py.server.dispatch import Dispatch, Unfinished
from gearmand_py.server.errors import RequestError
from gearmand_py.server.fetching import Fetch
from gearmand_py.server.ids import Ids
from gearmand_py.server.index import HeadComing, Index, NotResident
from gearmand_py.server.jobs import Job, coalesce_key
from gearmand_py.server.limits import Limits
from gearmand_py.server.packets import REQUEST, RESPONSE
from gearmand_py.server.peers import Peer
from gearmand_py.server.places import Sizes
from gearmand_py.server.replay import Replay
from gearmand_py.server.residents import BARE_COST, JOB_COST
from gearmand_py.server.workforce import FEW
from gearmand_py.storage.base import DEAD, Changes, Entry, JobRecord

PREFIX: Final = b"H:here:"
START: Final = 1_750_000_000.0  # 2025-06-15 15:06:40 UTC, a Sunday

# A packet that a server sent, for people: its type and its arguments.
Said = tuple[Any, ...]

# How many arguments a server's packets have; the last one is the rest of the body.
ARITY: Final = {
    packets.NOOP: 0,
    packets.NO_JOB: 0,
    packets.JOB_CREATED: 1,
    packets.JOB_ASSIGN: 3,
    packets.JOB_ASSIGN_UNIQ: 4,
    packets.JOB_ASSIGN_ALL: 5,
    packets.WORK_STATUS: 3,
    packets.WORK_COMPLETE: 2,
    packets.WORK_DATA: 2,
    packets.WORK_WARNING: 2,
    packets.WORK_EXCEPTION: 2,
    packets.WORK_FAIL: 1,
    packets.STATUS_RES: 5,
    packets.STATUS_RES_UNIQUE: 6,
    packets.ECHO_RES: 1,
    packets.OPTION_RES: 1,
    packets.ERROR: 2,
    packets.TEXT: 1,
}


def said(kind: int, body: bytes) -> Said:
    """A packet from a server, taken apart; it must have all its arguments."""
    count = ARITY[kind]
    if not count:
        assert body == b"", f"{packets.name(kind)} has a body"
        return (kind,)
    parts = body.split(b"\0", count - 1)
    assert len(parts) == count, f"{packets.name(kind)} is short of arguments: {body!r}"
    return (kind, *parts)


class Table:
    """The naive table: a dict of rows."""

    def __init__(self) -> None:
        self.rows: dict[int, JobRecord] = {}

    def apply(self, changes: Changes) -> None:
        """One transaction: deletes, updates, inserts; what is gone or there already changes nothing."""
        for id_ in changes.deletes:
            self.rows.pop(id_, None)
        for update in changes.updates:
            if update.id in self.rows:
                self.rows[update.id] = self.rows[update.id]._replace(attempts=update.attempts, run_at=update.run_at)
        for row in changes.inserts:
            self.rows.setdefault(row.id, row)

    def entries(self, after: int = 0) -> list[Entry]:
        """What an index is told of the rows with higher ids, in id order."""
        return [entry_of(row) for _, row in sorted(self.rows.items()) if row.id > after]

    def present(self, ids: Iterable[int]) -> list[JobRecord]:
        """Those of these rows that are there."""
        return [self.rows[id_] for id_ in ids if id_ in self.rows]

    @property
    def data(self) -> list[bytes]:
        """The payloads of the rows that are to be run, in id order."""
        return [bytes(row.data) for _, row in sorted(self.rows.items()) if row.run_at != DEAD]


def entry_of(row: JobRecord) -> Entry:
    """What an index is told of a row."""
    data = row.data if row.unique == b"-" else None
    return Entry(row.id, row.function, row.unique, row.priority, row.attempts, row.run_at, len(row.data), data)


class Core:
    """A broker, its peers, its table and the clock."""

    def __init__(
        self,
        *,
        job_retries: int = UNLIMITED,
        worker_wakeup: int = 1,
        few: int = FEW,
        max_packet: int = DEFAULT_MAX_PACKET,
        memory_limit: float = inf,
        readable: bool = True,
        sizes: Sizes | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`few`: how many functions a worker may have before it shares them with others. Not `readable`: no table."""
        self.table = Table()
        self.now = 1000.0
        self.wall = START
        self._job_retries = job_retries
        self._worker_wakeup = worker_wakeup
        self._few = few
        self._max_packet = max_packet
        self._memory_limit = memory_limit
        self._readable = readable
        self._sizes = sizes
        self._limits = limits
        self.reading = True  # rows are read as soon as they are wanted
        self._start()

    def _start(self, *, paged: bool = False) -> None:
        self.broker = Broker(
            Ids(0),
            PREFIX,
            job_retries=self._job_retries,
            worker_wakeup=self._worker_wakeup,
            index=Index(self._memory_limit, readable=self._readable, sizes=self._sizes),
            limits=self._limits,
        )
        self.broker.workforce.few = self._few
        self.index = self.broker.index
        self.admin = Admin(self.broker, version="1.2.3", pid=6145, verbose="INFO")
        self.dispatch = Dispatch(self.broker, self.admin)
        self._inputs: dict[Peer, Connection] = {}
        self._outputs: dict[Peer, Connection] = {}
        self._sent: dict[Peer, bytes] = {}
        self.in_flight: tuple[Batch, Changes] | None = None
        self.fetches: list[tuple[Fetch, list[JobRecord]]] = []  # that are being read
        self.page: list[Entry] | None = None  # of a replay, read and not taken up yet
        self.broker.tick(self.now, self.wall)
        if self.table.rows:
            upto = max(self.table.rows)
            self.broker.ids.observe(upto)
            Replay(self.index, upto)
            if not paged:
                self.stream_all()

    # ---- a replay

    def read_page(self, most: int) -> None:
        """The reader has the next rows; `stream` takes them up, as they are now."""
        assert self.index.replay
        upto = self.index.replay.upto
        self.page = [entry for entry in self.table.entries(self.index.replay.position) if entry.id <= upto][:most]

    def stream(self, most: int = 1) -> None:
        """Take up the next page; the last one ends the replay."""
        replay = self.index.replay
        assert replay
        if self.page is None:
            self.read_page(most)
        page, self.page = self.page, None
        self._tick()
        if page:
            replay.streamed(page)
        if not page or replay.position >= replay.upto:
            replay.finish()
        self._flush()

    def stream_all(self) -> None:
        """Take up all that is left, a page that had been read first."""
        while self.index.replay:
            self.stream(1_000_000)

    def tell_backlog(self) -> None:
        """The scan has found which functions have rows."""
        replay = self.index.replay
        assert replay
        rows = self.table.rows.values()
        self._tick()
        replay.backlog_is({(row.function, row.priority) for row in rows if row.id <= replay.upto and not row.run_at})
        self._flush()

    def _scan(self, keys: Collection[tuple[bytes, bytes]]) -> None:
        replay = self.index.replay
        assert replay
        found = [entry for entry in self.table.entries(replay.position) if entry.id <= replay.upto]
        replay.learned(keys, [e for e in found if e.run_at != DEAD and (e.function, e.unique) in keys])

    # ---- connections

    def connect(self, address: str = "127.0.0.1") -> Peer:
        """A new connection, which nobody has said anything on."""
        peer = Peer(address, 10 + len(self._inputs))
        self._inputs[peer] = Connection(REQUEST, self._max_packet)
        self._outputs[peer] = Connection(RESPONSE)
        self._sent[peer] = b""
        self.broker.connect(peer)
        return peer

    def worker(self, *functions: bytes) -> Peer:
        """A new connection that can do these functions."""
        peer = self.connect()
        for function in functions:
            self.send(peer, packets.CAN_DO, function)
        return peer

    def sleeper(self, *functions: bytes) -> Peer:
        """A new worker that has gone to sleep."""
        peer = self.worker(*functions)
        self.send(peer, packets.PRE_SLEEP)
        assert self.received(peer) == []
        return peer

    def disconnect(self, peer: Peer) -> None:
        """The connection is lost."""
        self._tick()
        self.broker.disconnect(peer)
        while self.broker.settle(peer, 3):
            pass
        del self._inputs[peer]
        self._flush()

    def feed(self, peer: Peer, data: bytes) -> None:
        """Bytes arrive. After those that cannot be framed the shell closes: see `broken`."""
        self._tick()
        self._mark_dirty(peer)
        codec = self._inputs[peer]
        was_broken = codec.error is not None
        for kind, body in codec.feed(data):
            self._handle(peer, kind, body)
        if codec.error and not was_broken:
            peer.tail.append(packets.error(codec.error.code, codec.error.text))
        self._flush()

    def _handle(self, peer: Peer, kind: int, body: bytes) -> None:
        try:
            self.dispatch.handlers.get(kind, self.dispatch.unexpected)(peer, body)
        except RequestError as error:
            peer.tail.append(packets.error(error.code, error.text))
        except Unfinished as unfinished:
            peer.tail += unfinished.slices
        except HeadComing:
            if self.reading and self.index.wanting:
                self.read()
                self._handle(peer, kind, body)
            else:  # until its patience ends
                peer.tail.append(packets.NO_JOB_PACKET)
        except NotResident as miss:
            self._supply(miss, peer, kind, body)

    def _supply(self, miss: NotResident, peer: Peer, kind: int, body: bytes) -> None:
        """Read what a packet misses, and handle it again."""
        if not miss.ids:
            if miss.key:
                self._scan([miss.key])
            else:
                self.stream_all()
                self._mark_dirty(peer)
            self._handle(peer, kind, body)
            return
        self.broker.looking_up(miss.ids)
        self.index.visit([entry_of(row) for row in self.table.present(miss.ids)], miss.ids)
        self._handle(peer, kind, body)
        self.index.dismiss()
        self.index.looked_up()

    # ---- reading

    def read(self) -> None:
        """Read all the rows that the index wants."""
        while self.begin_fetch():
            pass
        while self.fetches:
            self.end_fetch()
            while self.begin_fetch():
                pass

    def begin_fetch(self) -> bool:
        """A reader asks for what the index wants next, and has its rows; is there anything?"""
        fetch = self.index.next_fetch()
        if fetch is not None:
            self.fetches.append((fetch, self.table.present(fetch.ids)))
        return fetch is not None

    def end_fetch(self, which: int = 0) -> int:
        """The rows of one of the readers arrive; how many were gone?"""
        fetch, rows = self.fetches.pop(which)
        self._tick()
        return self.broker.arrived(fetch, rows)

    def _mark_dirty(self, peer: Peer) -> None:
        """The shell flushes the peer it reads from in any case."""
        if not peer.dirty:
            peer.dirty = True
            self.broker.dirty.append(peer)

    def _flush(self) -> None:
        """Each event ends with one write to each peer that the broker has marked."""
        if self.reading:
            self.read()
        dirty, self.broker.dirty = self.broker.dirty, []
        for peer in dirty:
            peer.dirty = False
            if not peer.closed:
                self._sent[peer] += b"".join(peer.outbox)
                peer.outbox.clear()
        assert all(not peer.outbox for peer in self._inputs), "the shell was not told to write"

    def broken(self, peer: Peer) -> bool:
        """The peer has sent bytes that cannot be framed."""
        return self._inputs[peer].error is not None

    def send(self, peer: Peer, kind: int, *arguments: bytes) -> None:
        """A packet arrives."""
        self.feed(peer, packets.request(kind, *arguments))

    def raw(self, peer: Peer) -> bytes:
        """What the peer has been sent since the last look, byte for byte."""
        data, self._sent[peer] = self._sent[peer], b""
        return data

    def received(self, peer: Peer) -> list[Said]:
        """What the peer has been sent since the last look."""
        codec = self._outputs[peer]
        packets_ = codec.feed(self.raw(peer))
        assert codec.error is None
        return [said(kind, body) for kind, body in packets_]

    def ask(self, peer: Peer, line: bytes) -> bytes:
        """A line of the text protocol, and its whole answer as it was sent."""
        self.feed(peer, line)
        return self.raw(peer)

    # ---- the things every test does

    def submit(
        self, peer: Peer, function: bytes, data: bytes = b"", unique: bytes = b"", kind: int = packets.SUBMIT_JOB
    ) -> bytes:
        """Submit a job, see it acknowledged, and return its handle. A background job is committed on the way."""
        self.send(peer, kind, function, unique, data)
        self.commit()
        (answer,) = self.received(peer)
        kind, handle = answer
        assert kind == packets.JOB_CREATED, answer
        return bytes(handle)

    def grab(self, peer: Peer) -> tuple[bytes, bytes] | None:
        """Grab a job: its handle and its data; None when there is none."""
        self.send(peer, packets.GRAB_JOB)
        (answer,) = self.received(peer)
        if answer == (packets.NO_JOB,):
            return None
        assert answer[0] == packets.JOB_ASSIGN, answer
        return answer[1], answer[3]

    def drain(self, peer: Peer) -> list[bytes]:
        """Grab and complete until there is nothing left: the data of the jobs, in order."""
        found = []
        while job := self.grab(peer):
            handle, data = job
            found.append(data)
            self.send(peer, packets.WORK_COMPLETE, handle, b"")
        return found

    # ---- the journal

    def take(self) -> None:
        """The journal takes the open batch to the database."""
        assert self.in_flight is None
        batch = self.broker.take_batch()
        self.in_flight = batch, batch.changes(self.broker.node)

    def commit(self) -> None:
        """The batch in flight (or else the open one) is committed."""
        if self.in_flight is None:
            self.take()
        batch, changes = self._landed()
        self.table.apply(changes)
        self._tick()
        self.broker.committed(batch)
        self._flush()

    def refuse(
        self, reason: str = "disk full", *, unknown: bool = False, stored: bool = False, completions: bool | None = None
    ) -> None:
        """The database does not take the batch in flight (or else the open one).

        With `unknown` the connection broke at COMMIT, and `stored` tells what really happened. Otherwise `completions`,
        the deletes and updates, which need no room, go through all the same, unless told that they do not.
        """
        if self.in_flight is None:
            self.take()
        batch, changes = self._landed()
        if unknown and stored:
            self.table.apply(changes)
        if not unknown if completions is None else completions:
            self.table.apply(changes._replace(inserts=()))
        else:
            self.broker.batch.inherit(batch)
        self._tick()
        self.broker.refused(batch, reason, unknown=unknown)
        self._flush()

    def _landed(self) -> tuple[Batch, Changes]:
        assert self.in_flight is not None
        landed, self.in_flight = self.in_flight, None
        return landed

    def crash(self, *, stored: bool = False, paged: bool = False) -> None:
        """The server is killed and, a second later, started again.

        `stored`: what was in flight reached the disk. `paged`: the rows are not taken up at once, but by `stream`.
        """
        if stored and self.in_flight:
            self.table.apply(self.in_flight[1])
        self.now += 1
        self.wall += 1
        self._start(paged=paged)

    # ---- the clock

    def advance(self, seconds: float) -> None:
        """Time passes, and what is due is done."""
        self.now += seconds
        self.wall += seconds
        self._tick()
        self._flush()
        while self.broker.next_deadline(self.now, self.wall) <= 0:  # what is due comes in pages
            self._tick()
            self._flush()

    def _tick(self) -> None:
        self.broker.tick(self.now, self.wall)

    # ---- what must always hold

    def check(self) -> None:
        """Every count and index of the broker equals what a naive count of its jobs gives."""
        check_jobs(self.broker, [fetch for fetch, _ in self.fetches])
        check_peers(self.broker, self._inputs)
        check_workers(self.broker)
        check_crews(self.broker)
        check_sleep(self.broker, wakes_all=not self._worker_wakeup)


def check_jobs(broker: Broker, fetches: Collection[Fetch] = ()) -> None:
    """Functions, schedules and unique keys agree with the jobs that are in memory."""
    jobs = list(broker.jobs.values())
    for function in broker.functions.values():
        own = [job for job in jobs if job.function is function]
        assert function.total >= sum(not is_ahead(broker, job) for job in own)
        assert function.running == sum(job.worker is not None for job in own)
        for priority, queue in enumerate(function.queues):
            queued = [job for job in own if job.queued and job.priority == priority]
            assert queue.size == len(queued)
            assert {job.id for job in queue.ready if job.queued} | {
                id_ for id_, job in queue.returned if job.queued
            } == {job.id for job in queued}
    check_index(broker, jobs, fetches)
    for job in jobs:
        held = job.batch is not None and not (job.queued or job.tailed) and job.worker is None
        states = [held, job.queued, job.tailed, job.worker is not None]
        assert states.count(True) == 1
        assert job.background or job.batch is None
        assert job.id not in broker.dead
    assert len(broker.timeouts) == sum(job.id in broker.timeouts and job.worker is not None for job in jobs)


def is_ahead(broker: Broker, job: Job) -> bool:
    """A replay has not met its row yet; it is known because somebody asked for it."""
    replay = broker.index.replay
    return replay is not None and replay.position < job.id <= replay.upto


def check_index(broker: Broker, jobs: list[Job], fetches: Collection[Fetch]) -> None:
    """What the index counts is what there is in its places."""
    index = broker.index
    queues = [queue for function in broker.functions.values() for queue in function.queues]
    tails = [id_ for queue in queues for tail in (queue.tail, queue.after) if tail for id_ in tail]
    tails += [id_ for fetch in fetches for _, entries in fetch.pages for id_, _ in entries]
    places = [id_ for id_ in (*tails, *index._returning, *index._due) if id_ not in index.skipped]
    read_or_in_line = {*tails, *index._returning, *index._due}
    waiting = len(places) + len(index.later) - len(index.skipped - read_or_in_line)
    assert len(places) == len(set(places)), "an id has two places"
    assert sum(queue.tailed for queue in queues) == len([id_ for id_ in places if id_ not in index._due])
    assert index.bare == waiting
    assert index.used == sum(JOB_COST + len(job.data) for job in jobs) + BARE_COST * index.bare
    keyed = [job for job in jobs if job.coalesce_key is not None]
    assert all(has_key(index, job) for job in keyed), "a live job lost its unique key"
    rows = [row for batch in (*broker.underway, broker.batch) for row in batch.inserts if row.id not in batch.joined]
    assert all(
        row is index.uniques.get(index.functions[row.function], key)
        for row in rows
        if (key := coalesce_key(row.unique or b"", row.data)) is not None
    ), "a row that is not committed lost its unique key"
    assert sum(function.total for function in broker.functions.values()) == index.bare + len(rows) + sum(
        not job.tailed for job in jobs
    )


def has_key(index: Index, job: Job) -> bool:
    """The job can be found by its unique key."""
    key = job.coalesce_key
    assert key is not None
    return index.uniques.get(job.function, key) is job or job.id in index.uniques.noted(job.function, key)


def check_peers(broker: Broker, connected: Iterable[Peer]) -> None:
    """Every reference to a peer is to one that is connected, and goes both ways."""
    peers = list(connected)
    assert list(broker.peers) == peers
    jobs = broker.jobs.values()
    for peer in peers:
        assert peer.awaited == {job for job in jobs if job.clients and peer in job.clients}
        assert list(peer.running.values()) == [job for job in peer.running.values() if job.worker is peer]
        assert len(peer.running) == sum(job.worker is peer for job in jobs)
        assert bool(peer.held) == (peer.fence is not None)
        assert peer.tail is (peer.held[-1] if peer.held else peer.outbox)
    for job in jobs:
        assert set(job.clients or ()) <= set(peers)
        assert job.worker is None or job.worker in peers


def check_workers(broker: Broker) -> None:
    """Who can do what, who sleeps where, and who is on the way."""
    for peer in broker.peers:
        assert set(peer.abilities) == (set(peer.functions) if isinstance(peer.functions, dict) else set())
        assert not (peer.asleep and peer.woken)
    for function in broker.functions.values():
        able = [peer for peer in broker.peers if function in peer.functions]
        assert function.workers == len(able)
        assert function.woken == sum(peer.woken is function for peer in broker.peers)
        assert all(peer in able for peer in broker.peers if peer.woken is function)
        asleep = [peer for peer in able if peer.asleep and isinstance(peer.functions, dict)]
        assert list(function.sleepers) == sorted(asleep, key=since)
    assert set(broker.workforce.woken) == {peer for peer in broker.peers if peer.woken}
    assert sorted(broker.workforce.woken.values()) == list(broker.workforce.woken.values())


def check_crews(broker: Broker) -> None:
    """No crew, no number is kept that nobody uses, and the agendas tell of every job that a crew could have."""
    crews = broker.workforce.crews
    skilled = {peer: peer.functions for peer in broker.peers if isinstance(peer.functions, Skills)}
    for function in broker.functions.values():
        assert function.crewed == sum(function in skills for skills in skilled.values())
        assert (function.number >= 0) == (function.crewed > 0)
        if function.crewed:
            assert crews.functions[function.number] is function
            for agenda, queue in zip(crews._agendas, function.queues, strict=True):
                assert function.number in agenda or not queue.size
    assert len(crews.functions) - len(crews._free) == sum(f.crewed > 0 for f in broker.functions.values())
    assert all(set(skills._exceptions) <= set(skills.numbers) for skills in skilled.values())
    for crew in crews._crews.values():
        members = [peer for peer, skills in skilled.items() if skills.crew is crew]
        assert crew.members == len(members) > 0
        assert all(list(skilled[peer].numbers) == list(crew.numbers) for peer in members)
        assert list(crew.sleepers) == sorted((peer for peer in members if peer.asleep), key=since)
        assert crew.size == len(list(crew.numbers))
        knowing = {function for function in broker.functions.values() if crew in function.crews}
        assert knowing == ({crews.functions[number] for number in crew.numbers} if crew.listed else set())
    assert {crew for function in broker.functions.values() for crew in function.crews} <= set(crews._crews.values())
    assert set(crews._unlisted) == {crew for crew in crews._crews.values() if crew.sleepers and not crew.listed}
    assert {skills.crew for skills in skilled.values() if skills.crew} == set(crews._crews.values())


def since(peer: Peer) -> int:
    """Those who fell asleep first come first."""
    return peer.asleep


def check_sleep(broker: Broker, *, wakes_all: bool) -> None:
    """Where a worker sleeps that could run a job, each job there has somebody on the way; or nobody sleeps there."""
    for function in broker.functions.values():
        if function.waiting and any(function in peer.functions for peer in broker.peers if peer.asleep):
            assert not wakes_all, "asleep while a job waits"
            assert function.woken >= function.waiting, "jobs wait, and nobody has been woken for them"
