"""A naive job server to hold the real one against: lists that are searched from end to end, and no batches of rows.

What it takes from the server is only what it cannot know: the handle of a new job, and which of the jobs that may go
next a worker was given (the round robin has tests of its own). Everything else it foretells: each packet to each
connection, in order, and no later than it may be sent.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.peers import Peer
from gearmand_py.server.workforce import WAKE_PATIENCE
from gearmand_py.storage.base import DEAD, JobRecord
from tests.core import Said


class State(Enum):
    HELD = auto()
    DELAYED = auto()
    DUE = auto()  # its time has come, its row is being read
    WAITING = auto()
    RUNNING = auto()
    GONE = auto()


@dataclass(eq=False)
class ModelJob:
    """A job as a client thinks of it."""

    number: int  # in the order of submission
    handle: bytes
    function: bytes
    unique: bytes
    data: bytes
    priority: int
    run_at: int
    background: bool
    foreground_once: bool  # was runnable without a row
    state: State = State.HELD
    batch: int = 0  # the batch that is to make it durable
    place: float = 0  # in its queue, or among those of its second
    returned: bool = False
    attempts: int = 0
    clients: list["ModelPeer"] = field(default_factory=list)
    worker: "ModelPeer | None" = None
    deadline: float | None = None
    status: tuple[bytes, bytes] = (b"0", b"0")
    dead: bool = False
    refused_at: int = 0  # run_at of a row that was refused, and may be there
    row_until: int = 0  # the batch that takes its row, if it has one, out of the table

    @property
    def id(self) -> int:
        return int(self.handle.rpartition(b":")[2])

    @property
    def key(self) -> tuple[bytes, ...] | None:
        return key_of(self.function, self.unique, self.data)


def key_of(function: bytes, unique: bytes, data: bytes) -> tuple[bytes, ...] | None:
    """What equal submissions share."""
    if unique == b"-":
        return (function, unique, data) if data else None
    return (function, unique) if unique else None


def by_time(job: ModelJob) -> tuple[int, float]:
    """The order in which delayed jobs are due."""
    return job.run_at, job.place


@dataclass(eq=False)
class Expected:
    """A packet that a peer is to get; `job` if it acknowledges the row of one."""

    after: int  # the batch that must be settled first
    said: Said
    job: ModelJob | None = None


@dataclass(eq=False)
class ModelPeer:
    peer: Peer
    fence: int = 0
    expected: list[Expected] = field(default_factory=list)
    functions: dict[bytes, float] = field(default_factory=dict)
    running: list[ModelJob] = field(default_factory=list)
    discarded: list[bytes] = field(default_factory=list)
    asleep: int = 0  # when it fell asleep, among all that did
    woken: bytes | None = None  # the function it is on its way for
    woken_number: int = 0  # among all that were woken
    come_by: float = 0
    closed: bool = False

    def expect(self, *said: Said, after: int = 0, job: ModelJob | None = None) -> None:
        """Replies keep request order: nothing overtakes what waits for a batch."""
        self.fence = max(self.fence, after)
        self.expected += [Expected(self.fence, packet, job) for packet in said]


NOOP: Final[Said] = (packets.NOOP,)


class Model:
    """`at_once`: what is in the table only is read as soon as it is wanted; else NOOPs and due jobs come some time."""

    def __init__(self, job_retries: int, worker_wakeup: int, *, at_once: bool = True, wakes: bool = True) -> None:
        self.job_retries = job_retries
        self.worker_wakeup = worker_wakeup
        self.at_once = at_once
        self.wakes = wakes  # who sleeps and who is woken is foretold: where no job waits outside memory
        self.position = self.upto = 0  # of a replay: rows between these are not known to the server yet
        self.peers: list[ModelPeer] = []
        self.jobs: list[ModelJob] = []  # alive, in the order of submission
        self.past: list[ModelJob] = []  # those that have ended
        self.now = 0.0
        self.open = 1
        self.settled = 0
        self.count = 0

    def known(self, job: ModelJob) -> bool:
        """A replay has met its row."""
        return not self.position < job.id <= self.upto

    # ---- peers

    def connect(self, peer: Peer) -> None:
        self.peers.append(ModelPeer(peer))

    def disconnect(self, peer: ModelPeer) -> None:
        peer.closed = True
        self.peers.remove(peer)
        self.reset(peer)
        for job in list(self.jobs):
            if peer in job.clients:
                job.clients = [client for client in job.clients if client is not peer]
                if not job.clients and not job.background and job.state is State.WAITING:
                    self.end(job)

    def due(self, peer: ModelPeer) -> list[Expected]:
        """What the peer must have been sent by now."""
        due = [expected for expected in peer.expected if expected.after <= self.settled]
        peer.expected = [expected for expected in peer.expected if expected.after > self.settled]
        return due

    # ---- submitting

    def find(self, key: tuple[bytes, ...] | None) -> ModelJob | None:
        return next((job for job in self.jobs if key is not None and job.key == key), None)

    def submit(
        self,
        peer: ModelPeer,
        function: bytes,
        unique: bytes,
        data: bytes,
        *,
        priority: int,
        background: bool,
        handle: bytes,
        run_at: int = 0,
    ) -> ModelJob:
        """`handle` is what the server calls the job if it is a new one."""
        job = self.find(key_of(function, unique, data))
        if job is None:
            assert all(handle != other.handle for other in self.jobs + self.past), "a handle was given twice"
            self.count += 1
            job = ModelJob(
                self.count, handle, function, unique, data, priority, run_at, background, foreground_once=not background
            )
            self.jobs.append(job)
            job.batch = self.open if background else 0
        elif background and not job.background:
            job.background = True
            job.batch = self.open
        peer.expect((packets.JOB_CREATED, job.handle), after=job.batch, job=job if background else None)
        if not background:
            job.clients.append(peer)
            if job.state is State.HELD and not job.background:
                self.make_runnable(job)
        return job

    # ---- waiting

    def make_runnable(self, job: ModelJob) -> None:
        self.queue(job)
        self.came(job.function, 1)

    def queue(self, job: ModelJob) -> None:
        self.take_place(job)
        job.state = State.WAITING

    def delay(self, job: ModelJob) -> None:
        self.take_place(job)
        job.state = State.DELAYED

    def take_place(self, job: ModelJob) -> None:
        self.count += 1
        job.place = self.count

    def in_queue(self, function: bytes, priority: int) -> list[ModelJob]:
        """Those that wait, in order."""
        waiting = [
            job
            for job in self.jobs
            if job.state is State.WAITING and job.function == function and job.priority == priority
        ]
        return sorted(waiting, key=lambda job: (0, job.number) if job.returned else (1, job.place))

    def heads(self, functions: list[bytes]) -> list[ModelJob]:
        """The jobs that may go next: the first of each function, of the highest priority there is."""
        waiting = [job for job in self.jobs if job.state is State.WAITING and job.function in functions]
        highest = min((job.priority for job in waiting), default=0)
        queues = [self.in_queue(function, highest) for function in functions]
        return [queue[0] for queue in queues if queue]

    # ---- sleeping

    def came(self, function: bytes, jobs: int) -> None:
        self.wake(function, jobs * self.worker_wakeup if self.worker_wakeup else len(self.peers))

    def wake(self, function: bytes, most: int) -> None:
        """Who has slept longest comes first."""
        able = [peer for peer in self.peers if peer.asleep and function in peer.functions]
        for peer in sorted(able, key=lambda peer: peer.asleep)[: max(0, most)]:
            self.rouse(peer, function)

    def rouse(self, peer: ModelPeer, function: bytes) -> None:
        self.count += 1
        peer.asleep = 0
        peer.woken = function
        peer.woken_number = self.count
        peer.come_by = self.now + WAKE_PATIENCE
        peer.expect(NOOP)

    def fill(self, function: bytes) -> None:
        """As many are on their way for a function as it has jobs waiting, if there are so many."""
        self.wake(function, self.unattended(function))

    def unattended(self, function: bytes) -> int:
        waiting = sum(job.state is State.WAITING and job.function == function for job in self.jobs)
        on_their_way = sum(peer.woken == function for peer in self.peers)
        if self.worker_wakeup:
            return max(0, waiting - on_their_way)
        return len(self.peers) if waiting else 0

    def has_come(self, peer: ModelPeer) -> None:
        """A worker that was woken asks for a job, or will not."""
        if peer.woken is not None:
            function, peer.woken = peer.woken, None
            self.fill(function)

    def lie_down(self, peer: ModelPeer) -> None:
        self.count += 1
        peer.asleep = self.count if self.wakes else 0

    def sleep(self, peer: ModelPeer, woken_for: bytes | None) -> None:
        """`woken_for` is which of its functions the server wakes it for, if there are jobs of several."""
        if not self.wakes:
            return
        self.has_come(peer)
        if any(self.unattended(function) for function in peer.functions):
            assert woken_for in peer.functions
            assert self.unattended(woken_for)
            self.rouse(peer, woken_for)
        elif not peer.asleep:
            self.lie_down(peer)

    # ---- abilities

    def can_do(self, peer: ModelPeer, function: bytes, seconds: float) -> None:
        """A sleeper that can do something else than before falls asleep anew."""
        changed = peer.functions.get(function) != seconds
        peer.functions[function] = seconds
        if peer.asleep and changed:
            self.lie_down(peer)
            self.fill(function)

    def cannot_do(self, peer: ModelPeer, function: bytes) -> None:
        if function in peer.functions:
            del peer.functions[function]
            if peer.asleep:
                self.lie_down(peer)
            if peer.woken == function:
                self.has_come(peer)
            for job in [job for job in peer.running if job.function == function]:
                self.take_back(job)

    def reset(self, peer: ModelPeer) -> None:
        """A sleeper sleeps on: only a NOOP and a GRAB_JOB end its sleep."""
        peer.functions.clear()
        if peer.asleep:
            self.lie_down(peer)
        self.has_come(peer)
        for job in list(peer.running):
            self.take_back(job)

    # ---- running

    def assign(self, peer: ModelPeer, job: ModelJob, now: float) -> None:
        job.state = State.RUNNING
        job.worker = peer
        peer.running.append(job)
        seconds = peer.functions[job.function]
        job.deadline = now + seconds if seconds else None

    def stop_running(self, job: ModelJob) -> None:
        assert job.worker is not None
        job.worker.running.remove(job)
        job.worker = job.deadline = None

    def take_back(self, job: ModelJob) -> None:
        self.stop_running(job)
        if not job.background and not job.clients:
            self.end(job)
            return
        job.attempts += 1
        job.status = (b"0", b"0")
        if 0 <= self.job_retries <= job.attempts:
            self.tell_failed(job)
            job.dead = job.background
            self.end(job)
            return
        job.returned = True
        self.make_runnable(job)

    def tell_failed(self, job: ModelJob) -> None:
        self.tell(job, (packets.WORK_FAIL, job.handle))

    def tell(self, job: ModelJob, *said: Said) -> None:
        for client in job.clients:
            if not client.closed:
                client.expect(*said)

    def end(self, job: ModelJob) -> None:
        """Finished, cancelled, dropped, or dead."""
        if job.worker is not None:
            self.stop_running(job)
        job.state = State.GONE
        job.clients = []
        if not job.dead:
            self.remove_row(job)
        self.jobs.remove(job)
        self.past.append(job)

    def remove_row(self, job: ModelJob) -> None:
        job.row_until = self.open
        if job.batch == self.open:
            job.batch = 0  # its row need not be written

    # ---- the clock

    def pass_time(self, now: float, wall: float) -> None:
        self.now = now
        self.release_delayed(wall)
        late = [job for job in self.jobs if job.deadline is not None and job.deadline <= now]
        for job in sorted(late, key=lambda job: (job.deadline or 0, job.number)):
            self.take_back(job)
        while late_workers := [peer for peer in self.peers if peer.woken is not None and peer.come_by <= now]:
            self.has_come(min(late_workers, key=lambda peer: (peer.come_by, peer.woken_number)))

    def release_delayed(self, wall: float) -> None:
        due = [job for job in self.jobs if job.state is State.DELAYED and job.run_at <= wall and self.known(job)]
        for job in sorted(due, key=by_time):
            if self.at_once:
                self.make_runnable(job)
            else:
                job.state = State.DUE

    # ---- batches

    def committed(self, number: int, wall: float) -> None:
        self.settled = number
        came: dict[tuple[bytes, int], int] = {}
        for job in self.jobs:
            if job.batch == number and job.state is State.HELD:
                if job.run_at > wall:
                    self.delay(job)
                else:
                    self.queue(job)
                    queue = job.function, job.priority
                    came[queue] = came.get(queue, 0) + 1
        for (function, _), count in came.items():
            self.came(function, count)
        for job in self.jobs + self.past:
            if job.batch == number:
                job.batch = 0
            if job.row_until == number:
                job.row_until = 0

    def refused(self, number: int, error: Said, *, unknown: bool, completions: bool) -> None:
        """The rows are not stored (or it is `unknown`); the deletes are, if `completions`."""
        self.settled = number
        for expected in [expected for peer in self.peers for expected in peer.expected]:
            if expected.job is not None and expected.job.batch == number:
                expected.said, expected.job = error, None
        lost = [job for job in self.jobs + self.past if job.batch == number]
        still_there = [job for job in lost if job.row_until == number and not completions]  # stored by an earlier batch
        for job in self.jobs + self.past:
            if job.row_until == number:
                job.row_until = 0 if completions else self.open
        for job in lost:
            job.batch = 0
            job.dead = False
            job.row_until = self.open if unknown or job in still_there else 0
            if job.state is not State.GONE:
                self.lose_row(job)

    def lose_row(self, job: ModelJob) -> None:
        """It goes on in the foreground if somebody waits for it."""
        job.background = False
        job.foreground_once = True
        job.refused_at, job.run_at = job.run_at, 0
        row_until = job.row_until
        if not job.clients and job.state is not State.RUNNING:
            self.end(job)
        elif job.state is State.HELD:
            self.make_runnable(job)
        job.row_until = row_until

    # ---- the crash

    def restored(self, rows: list[JobRecord], wall: float) -> None:
        """Everything begins again with these rows, in the order of their ids."""
        known = {job.id: job for job in self.jobs + self.past}
        for job in known.values():
            job.state = State.GONE
            job.dead = False
            job.batch = job.row_until = 0
        self.peers.clear()
        self.open, self.settled = 1, 0
        self.jobs = [known[row.id] for row in rows if row.run_at != DEAD]
        self.past = [job for job in known.values() if job not in self.jobs]
        for row in rows:
            job = known[row.id]
            job.dead = row.run_at == DEAD
            job.run_at = job.run_at if job.dead else row.run_at
            job.background = True
            job.foreground_once = job.returned = False
            job.attempts = row.attempts
            job.clients = []
            job.worker = job.deadline = None
            job.status = (b"0", b"0")
            if not job.dead and row.run_at <= wall:
                self.queue(job)
            elif not job.dead:
                self.delay(job)
