"""Every transition of jobs and their clients. Synchronous: no I/O, no clock, no await.

Theory of operation. A job is in one of these states, which its fields tell:

    held      a row in a batch, not in `jobs`  nobody may run it yet, or knows its handle; a Job, with `batch` set, only
                                               where a foreground submission joined it
    delayed   tailed, in the index's `later`   committed; its time has not come
    waiting   queued, or tailed                in its function's queue for its priority
    running   worker set                       handed out; still a row in the table
    (gone)    not in `jobs`                    finished, cancelled, dropped, refused, or dead

    submit background ─> held ─ committed ─> waiting / delayed ─ due ─> waiting
                           └──── refused ──> gone (the submitter gets ERROR)
    submit foreground ─────────────────────> waiting
    grab:    waiting ─> running              complete, fail, exception: running ─> gone
    worker gone, CANT_DO, time out: running ─> waiting at the head; or gone when attempts have run out (a background
             job stays in the table as a dead row) or when it was foreground and nobody waits for it any more
    cancel, last foreground client gone: waiting ─> gone

Rules: a background job is never handed out before its batch is committed. A background job leaves the table only
through `_leave` (finished, cancelled) and is never dropped because somebody went away. One live job for each function
and coalesce key. What is sent to a peer goes to `peer.tail` (the fence, see peers.py), and the peer to `dirty`.

Which jobs there are, and which of them are in memory, is the index's (index.py). A `tailed` job's place is a bare id.

The shell calls `tick` with the clocks at the start of each event, `take_batch`, `committed` and `refused` for the
journal, `arrived` with rows that the index wants, and `connect` and `disconnect`. Handlers of packets are in
dispatch.py; who can do what, and who sleeps, is in workforce.py.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import chain, groupby, islice
from math import inf
from operator import itemgetter
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.batch import Batch
from gearmand_py.server.errors import LimitReached, RequestError
from gearmand_py.server.fetching import Fetch
from gearmand_py.server.ids import Ids, id_of
from gearmand_py.server.index import Index
from gearmand_py.server.jobs import Function, Job, JobQueue, coalesce_key
from gearmand_py.server.limits import Limits
from gearmand_py.server.packets import NO_JOB_PACKET, RESPONSE, pack
from gearmand_py.server.peers import Outgoing, Peer
from gearmand_py.server.residents import JOB_COST
from gearmand_py.server.schedule import Schedule
from gearmand_py.server.uniques import Key, Owner, Sees
from gearmand_py.server.workforce import Workforce
from gearmand_py.storage.base import DEAD, RUN_AT_ONCE, JobRecord, Payload, Update, new_record

MAX_ATTEMPTS: Final = 32767  # the column is a SMALLINT
UNLIMITED: Final = -1
# Submissions that may wait for one job: each of them gets all that a worker says of it.
MOST_WAITING: Final = 10_000
# Jobs that one worker may run at a time: they all go back with one packet.
MOST_RUNNING: Final = 10_000
# Of the memory of foreground jobs, when half of it is taken: what one function may have at most.
SHARES: Final = 16
# Of a row: its function, its priority and its time, which say where it goes.
PLACE: Final = itemgetter(
    JobRecord._fields.index("function"), JobRecord._fields.index("priority"), JobRecord._fields.index("run_at")
)
# Seconds between two searches for functions that nobody uses, when no more are taken.
SEARCH_EVERY: Final = 1.0


class Cancelled(Enum):
    """What became of a job that was to be cancelled."""

    UNKNOWN = "unknown"
    GONE = "gone"  # it was in memory only
    LEAVING = "leaving"  # its row is removed with the open batch


class Broker:
    """All jobs, functions and peers of one server.

    `job_retries`: -1 unlimited, otherwise how often a job is handed out (0 counts as 1).
    `worker_wakeup`: how many sleeping workers a new job wakes; 0 wakes all that can run it.
    """

    def __init__(
        self,
        ids: Ids,
        handle_prefix: bytes,
        *,
        node: int = 0,
        job_retries: int = UNLIMITED,
        worker_wakeup: int = 1,
        index: Index | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.ids = ids
        self.node = node
        self.prefix = handle_prefix
        self.job_retries = job_retries
        self.workforce = Workforce(self.send, worker_wakeup, lambda: self.now)
        self.limits = limits or Limits()
        self.index = index or Index()
        self.index.max_queue = self.limits.queue
        self.functions = self.index.functions
        self.jobs = self.index.jobs
        self.dead: set[int] = set()  # jobs whose death is not in the table yet
        self.peers: dict[Peer, None] = {}
        self.dirty: list[Peer] = []  # peers with something to flush
        self.batch = Batch(1)  # the open one
        self.underway: list[Batch] = []  # taken and not settled, the oldest first
        self.timeouts = Schedule()  # when running jobs take too long, by monotonic clock
        self.now = 0.0
        self.wall = 0.0
        self._half = self.limits.foreground / 2 or inf  # bytes of foreground jobs above which not all are taken
        self._search_at = 0.0  # when to look next for functions that nobody uses

    # ---- the clock

    def tick(self, now: float, wall: float) -> None:
        """Do what is due. `now` is monotonic, `wall` epoch seconds."""
        self.now = now
        self.wall = wall
        self.ids.advance(int(wall * 1000))
        index = self.index
        index.wall = max(index.wall, wall)
        if index.later or index.to_release:
            self._came(index.release_due())
        if self.timeouts:
            for id_ in self.timeouts.take_due(now):
                self._take_back(self.jobs[id_])
        if self.workforce.woken:
            self.workforce.lose_patience(now)

    @property
    def scheduled(self) -> bool:
        """Something is due at some time."""
        return bool(self.timeouts or self.index.later or self.index.to_release or self.workforce.woken)

    def next_deadline(self, now: float, wall: float) -> float:
        """Seconds until `tick` has something to do; infinity when nothing is scheduled."""
        if self.index.releasable:
            return 0.0
        monotonic = min(self.timeouts.next(), self.workforce.next_look())
        return max(0.0, min(self.index.later.next() - wall, monotonic - now))

    def unfinished(self) -> int:
        """Jobs that run, and those that wait where a connected worker can have them."""
        known = sum(f.running + (f.waiting + f.behind if f.workers else 0) for f in self.functions.values())
        return known + self.index.unsettled

    @property
    def stored(self) -> int:
        """Jobs in the table that live."""
        return sum(function.total for function in self.functions.values()) - sum(
            not job.background for job in self.jobs.values()
        )

    # ---- the table's side

    def looking_up(self, ids: Iterable[int]) -> None:
        """Rows are about to be looked up for packets: of some jobs that are over they may still be there."""
        leaving = chain.from_iterable(batch.deletes for batch in (*self.underway, self.batch))
        self.index.looking_up(ids, chain(leaving, self.dead))

    def arrived(self, fetch: Fetch, records: Iterable[JobRecord]) -> int:
        """What the index wanted was read; returns how many of the rows were gone."""
        arrival = self.index.arrived(fetch, records)
        self._came(arrival.ready)
        for job in arrival.lost:
            self._tell_failed(job)
            self._forget(job)
        return arrival.gone

    # ---- the journal's side

    def take_batch(self) -> Batch:
        """Close the open batch and open the next; every batch taken must end in `committed` or `refused`."""
        batch = self.batch
        self.batch = Batch(batch.number + 1)
        self.underway.append(batch)
        return batch

    def committed(self, batch: Batch) -> None:
        """The batch is on disk: its jobs may run, those who wait may know."""
        self.underway.remove(batch)
        for job in chain(batch.adopted, batch.joined.values()):
            job.batch = None
        runnable: dict[JobQueue, list[JobRecord]] = {}
        for (name, priority, run_at), rows in groupby(batch.inserts, PLACE):
            if run_at and self.index.is_to_come(run_at):
                for row in rows:
                    self.index.delay(row, batch.joined)
            else:
                runnable.setdefault(self.functions[name].queues[priority], []).extend(rows)
        ready = {q: count for q, rows in runnable.items() if (count := self.index.place_all(q, rows, batch.joined))}
        for queue in ready:
            self.index.grown(queue)
        self._came(ready)
        self._bury_written(batch)
        self.index.trim()
        self._release(batch)

    def _bury_written(self, batch: Batch) -> None:
        """Those that have died are in the table only from now on, unless a later batch is to say that they have."""
        if self.dead:
            later = chain.from_iterable(other.updates for other in (*self.underway, self.batch))
            written = self.dead.intersection(chain(batch.updates, (job.id for job in batch.adopted))).difference(later)
            self.dead -= written
            self.index.dead_rows += len(written)

    def refused(self, batch: Batch, reason: str, *, unknown: bool) -> None:
        """The batch's rows were not stored: their submitters get ERROR.

        With `unknown` they may have gone in after all (the connection broke at COMMIT): then they are to be deleted.
        """
        ids = batch.ids()
        if unknown:
            self.batch.deletes.extend(ids)
        self._deny(batch, set(ids), reason)
        self.underway.remove(batch)
        self._release(batch)

    def refused_row(self, id_: int, reason: str) -> None:
        """One row of a batch underway was not stored, and will not be; its submitters get ERROR."""
        for batch in self.underway:
            self._deny(batch, {id_}, reason)
            batch.leave_out(id_)

    def _deny(self, batch: Batch, ids: set[int], reason: str) -> None:
        """These rows, if they are the batch's, are not stored."""
        answer = packets.error("QUEUE_ERROR", reason)
        for waiting in (*self.underway, self.batch):  # somebody may wait in a later one for a row of this one
            waiting.deny(ids, answer)
        for row in batch.inserts:
            if row.id in ids:
                if job := batch.joined.get(row.id):
                    self._unstored(job)
                else:
                    self.index.give_up(row)
        for job in batch.adopted:
            if job.id in ids:
                self.dead.discard(job.id)
                if job.batch is not None:  # it lives
                    self._unstored(job)

    def _unstored(self, job: Job) -> None:
        """A job lost its row: it goes on in the foreground if somebody waits for it."""
        job.batch = None
        job.background = False
        self.index.foreground += JOB_COST + len(job.data)
        job.run_at = RUN_AT_ONCE
        if job.clients:
            if not (job.queued or job.tailed) and job.worker is None:
                self._make_runnable(job)
        elif job.queued or job.tailed:
            self._drop(job)
        elif job.worker is None:
            self._leave(job)

    def _release(self, batch: Batch) -> None:
        batch.release(self._created)
        for peer in batch.waiters:
            self.touch(peer)

    # ---- peers

    def connect(self, peer: Peer) -> None:
        """A connection was made."""
        self.peers[peer] = None

    def disconnect(self, peer: Peer) -> None:
        """A connection is gone. Its jobs are to be settled next."""
        peer.closed = True
        self.peers.pop(peer, None)
        self.workforce.remove_all(peer)

    def settle(self, peer: Peer, most: int) -> bool:
        """What a gone peer ran goes back, what only it waited for is dropped: so many jobs; are there more?"""
        for job in list(islice(peer.running.values(), most)):
            self._take_back(job)
        for _ in range(min(most, len(peer.awaited))):
            job = peer.awaited.pop()
            job.clients = [client for client in job.clients or () if client is not peer] or None
            if job.clients is None and not job.background and (job.queued or job.tailed):
                self._drop(job)
            self.index.release(job)
        return bool(peer.running or peer.awaited)

    def send(self, peer: Peer, packet: Outgoing) -> None:
        """Queue a packet for a peer that is not the one being read."""
        peer.tail.append(packet)
        self.touch(peer)

    def touch(self, peer: Peer) -> None:
        """The peer is to be looked at when the event ends."""
        if not peer.dirty:
            peer.dirty = True
            self.dirty.append(peer)

    # ---- functions

    def function(self, name: bytes) -> Function:
        """The function of this name, made when it is new. Raises RequestError for a name that cannot be."""
        if name not in self.functions:
            if not name:
                raise RequestError("INVALID_PACKET", "Function name is empty")
            most = self.limits.function_length
            if len(name) > most:
                raise LimitReached("ARGUMENT_TOO_LARGE", f"Function name is over {most} bytes", "--max-function-length")
            if 0 < self.limits.functions <= len(self.functions):
                self._make_room()
        return self.index.function(name)

    def _make_room(self) -> None:
        """For one more function. Raises LimitReached when all there may be are in use."""
        if self.now >= self._search_at and not self.index.replay:
            self._search_at = self.now + SEARCH_EVERY
            self.index.forget_unused()
        if self.limits.functions <= len(self.functions):
            text = f"There are {len(self.functions)} functions already"
            raise LimitReached("TOO_MANY_FUNCTIONS", text, "--max-functions")

    # ---- submitting

    def submit(
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
        """A client submits a job; it is answered at once, or after the commit if the job is a background one.

        Raises RequestError and NotResident.
        """
        if reducer is not None or len(unique) > self.limits.unique_length:
            self._check_lengths(unique, reducer)
        function = self.functions.get(name) or self.function(name)
        key = coalesce_key(unique, data) if unique else None
        if key is not None and (owner := self.index.same(function, key)) is not None:
            self._coalesce(peer, owner, background)
            return
        if 0 < function.limits[priority] <= function.total:
            raise LimitReached("QUEUE_ERROR", "Job queue is full", "--max-queue or the text command maxqueue")
        if not background and self.index.foreground >= self._half:
            self._check_foreground(function)
        function.total += 1
        id_ = self.ids.take()
        if not background:
            self._start(peer, Job(id_, function, unique, priority, False, data, run_at, reducer), key)
            return
        row = new_record((id_, function.name, unique or None, priority, 0, self.node, run_at, reducer, data))
        if key is not None:
            self.index.uniques.add(key, row)
        batch = self.batch
        batch.inserts.append(row)
        batch.data_bytes += len(data)
        (peer.tail if peer.fence is batch else batch.hold(peer)).append(id_)

    def _check_lengths(self, unique: bytes, reducer: bytes | None) -> None:
        """Raises LimitReached."""
        if len(unique) > self.limits.unique_length:
            raise LimitReached("ARGUMENT_TOO_LARGE", "Unique value too large", "--max-unique-length")
        most = self.limits.function_length
        if reducer is not None and len(reducer) > most:
            raise LimitReached("ARGUMENT_TOO_LARGE", f"Reducer name is over {most} bytes", "--max-function-length")

    def _start(self, peer: Peer, job: Job, key: Key | None) -> None:
        """A new foreground job."""
        self.index.add(job, key)
        job.clients = [peer]
        peer.awaited.add(job)
        peer.tail.append(self._created(job.id))
        self._make_runnable(job)

    def _check_foreground(self, function: Function) -> None:
        """Half of their memory is for jobs that somebody works on, a share for each function. Raises LimitReached."""
        if self.index.foreground >= self.limits.foreground:
            raise LimitReached("QUEUE_ERROR", "Foreground jobs take all the memory they may", "--memory-limit")
        if not function.workers:
            text = "Foreground jobs take half the memory they may, and nobody works on this function"
            raise LimitReached("QUEUE_ERROR", text, "--memory-limit")
        if function.total * JOB_COST * SHARES >= self.limits.foreground:
            text = "Foreground jobs take half the memory they may, and this function has its share"
            raise LimitReached("QUEUE_ERROR", text, "--memory-limit")

    def _coalesce(self, peer: Peer, owner: Owner, background: bool) -> None:
        """A submission joins the live job with its key, or the row of a job to be."""
        if isinstance(owner, Job):
            self._join(peer, owner, background)
        else:
            self._join_row(peer, owner, background)

    def _join_row(self, peer: Peer, row: JobRecord, background: bool) -> None:
        """A submission coalesces onto a row that is not committed yet."""
        batch = next(batch for batch in (self.batch, *reversed(self.underway)) if batch.may_hold(row.id))
        if background:
            batch.hold(peer).append(row.id)
        else:
            job = batch.joined[row.id] = self.index.make_early(row)
            job.batch = batch
            self._join(peer, job, background)

    def _join(self, peer: Peer, job: Job, background: bool) -> None:
        """A submission coalesces onto a live job. Its answer waits for that job's commit."""
        if background:
            if not job.background:
                self._adopt(job)
        else:
            if job.clients is None:
                job.clients = []
            elif len(job.clients) >= MOST_WAITING:
                raise RequestError("QUEUE_ERROR", f"{MOST_WAITING} submissions wait for this job already")
            job.clients.append(peer)
            peer.awaited.add(job)
        tail = job.batch.hold(peer) if job.batch else peer.tail
        # A foreground client is served even if the row is refused, so only a background one waits as an id.
        tail.append(job.id if background and job.batch else self._created(job.id))

    def _adopt(self, job: Job) -> None:
        """A foreground job becomes a background one, because its acknowledgement says so from now on."""
        job.background = True
        self.index.foreground -= JOB_COST + len(job.data)
        job.batch = self.batch
        self.batch.adopted[job] = None
        self.batch.data_bytes += len(job.data)

    def _created(self, id_: int) -> bytes:
        return pack(RESPONSE, packets.JOB_CREATED, b"%b%d" % (self.prefix, id_))

    # ---- waiting

    def _came(self, ready: Mapping[JobQueue, int]) -> None:
        """So many more jobs of these queues can be handed out."""
        for queue, count in ready.items():
            function = queue.function
            if function.sleepers or function.crewed:
                self.workforce.came(function, queue.priority, count)

    def _make_runnable(self, job: Job) -> None:
        function = job.function
        if self.index.place(function.queues[job.priority], job) and (function.sleepers or function.crewed):
            self.workforce.came(function, job.priority, 1)

    # ---- workers

    def can_do(self, peer: Peer, name: bytes, seconds: float) -> None:
        """A worker can run a function, each job of it within `seconds` (0: no limit). Raises RequestError."""
        if self.workforce.skills_of(peer) >= self.limits.functions_per_worker > 0:
            self._refuse_skill(peer, name)
        function = self.function(name)
        self.workforce.add(peer, function, seconds)
        if function.behind:
            for queue in function.queues:
                self.index.want(queue)

    def _refuse_skill(self, peer: Peer, name: bytes) -> None:
        """Raises LimitReached, but for a function that the worker can do already."""
        function = self.functions.get(name)
        if function is None or function not in peer.functions:
            text = f"A worker may have {self.limits.functions_per_worker} functions"
            raise LimitReached("TOO_MANY_FUNCTIONS", text, "--max-functions-per-worker")

    def cannot_do(self, peer: Peer, name: bytes) -> None:
        """A worker can no longer run a function; what it ran of it goes back."""
        function = self.functions.get(name)
        if function is not None and function in peer.functions:
            self.workforce.remove(peer, function)
            for job in [job for job in peer.running.values() if job.function is function]:
                self._take_back(job)

    def forget_abilities(self, peer: Peer) -> None:
        """A worker can do nothing any more; all it ran goes back."""
        self.workforce.remove_all(peer)
        for job in list(peer.running.values()):
            self._take_back(job)

    def pre_sleep(self, peer: Peer) -> None:
        """A worker goes to sleep: it is woken at once if there is work, else with the next job it can do."""
        self.workforce.sleep(peer)

    def grab(self, peer: Peer) -> tuple[bytes, Job] | None:
        """Hand the worker its next job, with its handle; None when there is none for it.

        Raises HeadComing and RequestError.
        """
        if len(peer.running) >= MOST_RUNNING:
            raise RequestError("TOO_MANY_JOBS", f"A worker may run {MOST_RUNNING} jobs at a time")
        job = self.workforce.next_job(peer)
        if job is None:
            if self.index.bare or self.index.replay:
                self.index.wait_for_head(peer.functions)
            peer.tail.append(NO_JOB_PACKET)
            return None
        job.worker = peer
        function = job.function
        function.running += 1
        handle = b"%b%d" % (self.prefix, job.id)
        peer.running[handle] = job
        queue = function.queues[job.priority]
        if queue.tail is not None:
            self.index.want(queue)
        if seconds := peer.functions[function]:
            self.timeouts.add(job.id, self.now + seconds)
        return handle, job

    def _take_back(self, job: Job) -> None:
        """A job did not end: its worker went, gave up its function, or took too long."""
        self._stop_running(job)
        if job.clients is None and not job.background:
            self._leave(job)
            return
        job.attempts = min(job.attempts + 1, MAX_ATTEMPTS)
        job.status = None
        if 0 <= self.job_retries <= job.attempts:
            self._die(job)
            return
        if job.background:
            self._note_update(job)
        function = job.function
        if job.partial:
            self.index.returns(job)
            return
        function.queues[job.priority].give_back(job)
        if function.sleepers or function.crewed:
            self.workforce.came(function, job.priority, 1)

    def _stop_running(self, job: Job) -> bytes:
        """The job is no longer its worker's; returns the handle."""
        handle = self.handle(job)
        assert job.worker is not None
        del job.worker.running[handle]
        job.worker = None
        job.function.running -= 1
        self.timeouts.discard(job.id)
        return handle

    def _die(self, job: Job) -> None:
        """Its attempts ran out: clients are told, a background job's row is kept as a dead one."""
        self._tell_failed(job)
        if job.background:
            job.run_at = DEAD
            self._note_update(job)
            self.dead.add(job.id)
        self._forget(job)

    def _note_update(self, job: Job) -> None:
        if job.batch is not self.batch:  # else its row is not written yet, and will be as it is then
            self.batch.updates[job.id] = Update(job.id, job.attempts, job.run_at)

    # ---- results

    def forward(self, job: Job, packet: bytes) -> None:
        """Pass what a worker says of a job to all who wait for it."""
        if job.clients:
            for client in job.clients:
                if client.fence is None:
                    client.outbox.append(packet)
                else:
                    client.held[-1].put(packet)
                self.touch(client)

    def finish(self, peer: Peer, handle: bytes, job: Job) -> None:
        """The worker has ended the job, one way or the other."""
        del peer.running[handle]
        job.worker = None
        job.function.running -= 1
        if self.timeouts:
            self.timeouts.discard(job.id)
        self._leave(job)

    def raise_exception(self, job: Job, handle: bytes, packet: bytes) -> None:
        """WORK_EXCEPTION: only for clients that asked for exceptions; the others see a failure."""
        failed = packets.response(packets.WORK_FAIL, handle)
        for client in job.clients or ():
            self.send(client, packet if client.exceptions else failed)

    def _tell_failed(self, job: Job) -> None:
        self.forward(job, packets.response(packets.WORK_FAIL, self.handle(job)))

    # ---- the end of a job

    def cancel(self, handle: bytes) -> Cancelled:
        """Take a job out of queue and table. Raises NotResident.

        The clients of a running one get WORK_FAIL and its late result is dropped.
        """
        id_ = id_of(handle)
        if id_ in self.dead or id_ in self.index.dead_visitors:
            self._bury(id_)
            return Cancelled.LEAVING
        job = self._look_up(id_, dead=True)
        if job is None:
            return Cancelled.UNKNOWN
        leaving = Cancelled.LEAVING if job.background else Cancelled.GONE
        if job.worker is not None:
            worker = job.worker
            worker.discarded.add(self._stop_running(job))
        elif job.queued:
            self._take_out(job)
        self._tell_failed(job)
        self._leave(job)
        return leaving

    def _bury(self, id_: int) -> None:
        """Remove a dead job's row, also if it is not written yet."""
        if id_ not in self.dead:
            self.index.bury(id_)
        self.dead.discard(id_)
        self.index.dead_visitors.discard(id_)
        unwritten = [job for job in self.batch.adopted if job.id == id_]
        for job in unwritten:
            self.batch.forget(job)
        if not unwritten:
            self.batch.deletes.append(id_)

    def _drop(self, job: Job) -> None:
        """A waiting foreground job that nobody waits for."""
        if job.queued:
            self._take_out(job)
        self._leave(job)

    def _take_out(self, job: Job) -> None:
        queue = job.function.queues[job.priority]
        queue.discard(job)
        self.index.want(queue)

    def _leave(self, job: Job) -> None:
        """The job is over: out of memory, and out of the table."""
        if job.background:
            if job.batch is self.batch:
                self.batch.forget(job)
            else:
                self.batch.deletes.append(job.id)
        self._forget(job)

    def _forget(self, job: Job) -> None:
        self.index.remove(job)
        job.batch = None
        if job.clients:
            for client in job.clients:
                client.awaited.discard(job)
            job.clients = None

    # ---- looking

    def handle(self, job: Job) -> bytes:
        """The name clients know the job by."""
        return b"%b%d" % (self.prefix, job.id)

    def find(self, handle: bytes) -> Job | None:
        """The job with this handle, given out before a restart or after. Raises NotResident."""
        return self._look_up(id_of(handle))

    def _look_up(self, id_: int | None, *, dead: bool = False) -> Job | None:
        if id_ is None:
            return None
        job = self.jobs.get(id_)
        if job is None and id_ not in self.dead and self.ids.may_have_given(id_) and not self._is_held(id_):
            self.index.look_elsewhere(id_, dead=dead)
        return None if job is None or job.held else job

    def _is_held(self, id_: int) -> bool:
        """No row with this id is committed: ids rise, and batches are settled in their order."""
        return any(batch.may_hold(id_) for batch in (*self.underway, self.batch))

    def find_unique(self, unique: bytes, sees: Sees) -> Owner | None:
        """A job with this unique key, or its row, of whatever function is seen. Raises NotResident.

        A row too: who asks right behind a submission is answered right behind its acknowledgement.
        """
        return self.index.with_unique(unique, sees) if unique else None
