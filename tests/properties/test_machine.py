"""Clients, workers, commits, failures and crashes in any order, against the naive model and the promises we make.

After every step each connection has been sent exactly what the model foretells, in that order, no later and no sooner;
the broker's counts equal naive counts; and the promises of the design hold, which are checked without the model's help
where that is possible: against the table, and against what clients were told.

In some runs rows are read `later`: what the index wants arrives at some time, from two readers in any order, and after
a crash the rows are taken up page by page while the rest goes on. Then the model does not say when a job can be had,
and nothing of NOOPs; but a job that can be had is the first of its queue, and in the end every one is had.
"""

from math import inf
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from gearmand_py.server.packets import RESPONSE
from gearmand_py.server.places import Sizes
from gearmand_py.server.residents import JOB_COST, UNLOADED
from gearmand_py.storage.base import DEAD, JobRecord
from tests.core import PREFIX, Core, Said, said
from tests.properties.model import NOOP, Model, ModelJob, ModelPeer, State, by_time, key_of

SUBMITS: Final = {
    packets.SUBMIT_JOB_HIGH: (0, False),
    packets.SUBMIT_JOB: (1, False),
    packets.SUBMIT_JOB_LOW: (2, False),
    packets.SUBMIT_JOB_HIGH_BG: (0, True),
    packets.SUBMIT_JOB_BG: (1, True),
    packets.SUBMIT_JOB_LOW_BG: (2, True),
}
MOST_PEERS: Final = 5
SIZES: Final = Sizes(page=1, tight_page=1, least=1, evicted=2)
READERS: Final = 2

ANY: Final = st.integers(0, 1000)  # which of those there are, modulo their number
FUNCTIONS: Final = st.sampled_from([b"f", b"f", b"g", b"g", b"h"])
UNIQUES: Final = st.sampled_from([b"", b"k", b"k", b"l", b"-"])


class Large(bytes):
    """A payload that leaves memory while its job runs, and does not fill the screen when an example fails."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LARGE"


LARGE: Final = Large(UNLOADED)
DATA: Final = st.sampled_from([b"", b"one", b"two", LARGE])


class Machine(RuleBasedStateMachine):
    @initialize(
        job_retries=st.sampled_from([-1, 1, 2]),
        worker_wakeup=st.sampled_from([1, 1, 2, 0]),
        few=st.sampled_from([0, 1, 2, 16]),
        memory_limit=st.sampled_from([None, None, inf, 0, 2 * JOB_COST, 6 * JOB_COST]),
        later=st.booleans(),
        backlog=st.sampled_from([0, 0, 8]),
    )
    def start(
        self, job_retries: int, worker_wakeup: int, few: int, memory_limit: float | None, later: bool, backlog: int
    ) -> None:
        """Without a `memory_limit` all jobs are in memory, whenever it matters, and sleep is foretold too."""
        bounded = memory_limit is not None
        self.core = Core(
            job_retries=job_retries,
            worker_wakeup=worker_wakeup,
            few=few,
            memory_limit=inf if memory_limit is None else memory_limit,
            sizes=SIZES if bounded else None,
        )
        self.core.reading = not (bounded and later)
        self.model = Model(job_retries, worker_wakeup, at_once=self.core.reading, wakes=not bounded)
        self.placed = 0  # the last place in the model that was compared with the real one
        self.acknowledged: dict[bytes, ModelJob] = {}  # what clients were told
        if backlog:
            self.begin_with(backlog)
        for _ in range(3):
            self.connect()
        for function in (b"f", b"g"):
            self.can_do(0, function, 0)
        self.can_do(1, b"f", 2)

    def begin_with(self, backlog: int) -> None:
        """A table with so many rows, and a start."""
        self.connect()
        for number in range(backlog):
            kind = packets.SUBMIT_JOB_HIGH_BG if number % 4 == 0 else packets.SUBMIT_JOB_BG
            unique = {1: b"k", 3: b"l"}.get(number % 5, b"")
            priority, background = SUBMITS[kind]
            function = b"g" if number % 3 == 0 else b"f"
            self.send(self.peer(0), kind, function, unique, b"one")
            self.submitted(self.peer(0), function, unique, b"one", priority=priority, background=background)
        self.commit()
        self.everybody_was_told_what_the_model_says()
        self.crash(stored=False, paged=True)

    # ---- helpers

    def peer(self, number: int) -> ModelPeer:
        return self.model.peers[number % len(self.model.peers)]

    @property
    def later(self) -> bool:
        """Rows are read by rules of their own."""
        return not self.model.at_once

    @property
    def replaying(self) -> bool:
        return self.core.index.replay is not None

    def tick(self) -> None:
        """Every event begins with what is due."""
        self.model.pass_time(self.core.now, self.core.wall)

    def send(self, peer: ModelPeer, kind: int, *arguments: bytes) -> None:
        self.tick()
        self.core.send(peer.peer, kind, *arguments)
        self.due_jobs_arrive()

    def last_said(self, peer: ModelPeer) -> Said:
        """The last packet for the peer, be it sent or held."""
        data = peer.peer.tail[-1] if peer.peer.held else self.core._sent[peer.peer]
        codec = Connection(RESPONSE)
        return [said(kind, body) for kind, body in codec.feed(data)][-1]

    # ---- connections

    @precondition(lambda self: len(self.model.peers) < MOST_PEERS)
    @rule()
    def connect(self) -> None:
        self.model.connect(self.core.connect())

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY)
    def disconnect(self, number: int) -> None:
        peer = self.peer(number)
        self.tick()
        self.model.disconnect(peer)
        self.core.disconnect(peer.peer)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, text=DATA)
    def echo(self, number: int, text: bytes) -> None:
        peer = self.peer(number)
        self.send(peer, packets.ECHO_REQ, text)
        peer.expect((packets.ECHO_RES, text))

    # ---- clients

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, kind=st.sampled_from(list(SUBMITS)), function=FUNCTIONS, unique=UNIQUES, data=DATA)
    def submit(self, number: int, kind: int, function: bytes, unique: bytes, data: bytes) -> None:
        peer = self.peer(number)
        priority, background = SUBMITS[kind]
        unique = self.askable(unique)
        self.send(peer, kind, function, unique, data)
        self.submitted(peer, function, unique, data, priority=priority, background=background)

    @precondition(lambda self: self.model.peers and any(job.key for job in self.model.jobs))
    @rule(number=ANY, which=ANY, kind=st.sampled_from(list(SUBMITS)))
    def join(self, number: int, which: int, kind: int) -> None:
        """A submission that coalesces, every other time onto a job that is on its way to the table if there is one."""
        jobs = [job for job in self.model.jobs if job.key]
        unstored = [job for job in jobs if job.batch]
        job = (unstored or jobs)[which // 2 % len(unstored or jobs)] if which % 2 else jobs[which // 2 % len(jobs)]
        self.submit(number, kind, job.function, job.unique, job.data)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, function=FUNCTIONS, unique=UNIQUES, data=DATA, delay=st.integers(-1, 4))
    def submit_later(self, number: int, function: bytes, unique: bytes, data: bytes, delay: int) -> None:
        peer = self.peer(number)
        unique = self.askable(unique)
        run_at = int(self.core.wall) + delay
        self.send(peer, packets.SUBMIT_JOB_EPOCH, function, unique, b"%d" % run_at, data)
        self.submitted(
            peer, function, unique, data, priority=1, background=True, run_at=run_at if run_at > self.core.wall else 0
        )

    def submitted(
        self,
        peer: ModelPeer,
        function: bytes,
        unique: bytes,
        data: bytes,
        *,
        priority: int,
        background: bool,
        run_at: int = 0,
    ) -> None:
        newest = max([*self.core.broker.jobs, *(row.id for row in self.core.broker.batch.inserts)], default=0)
        self.model.submit(
            peer,
            function,
            unique,
            data,
            priority=priority,
            background=background,
            run_at=run_at,
            handle=PREFIX + b"%d" % newest,
        )
        self.overtake_unknown_rows()

    def askable(self, unique: bytes) -> bytes:
        """The key of equal payloads has to wait for the end of a replay."""
        return b"" if self.replaying and unique == b"-" else unique

    @precondition(lambda self: self.model.peers and (self.model.jobs or self.model.past))
    @rule(number=ANY, which=ANY)
    def get_status(self, number: int, which: int) -> None:
        peer = self.peer(number)
        job = self.any_job(which)
        self.send(peer, packets.GET_STATUS, job.handle)
        known, running = job.state not in (State.HELD, State.GONE), job.state is State.RUNNING
        progress = job.status if known else (b"0", b"0")
        peer.expect((packets.STATUS_RES, job.handle, b"%d" % known, b"%d" % running, *progress))

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, unique=st.sampled_from([b"k", b"l", b"none", b"-", b""]))
    def get_status_unique(self, number: int, unique: bytes) -> None:
        found = [job for job in self.model.jobs if unique not in (b"", b"-") and job.unique == unique]
        if self.replaying:  # it may have to wait for the end
            return
        if len(found) > 1:  # it ignores the function, so which of them it tells of is not said
            return
        peer = self.peer(number)
        self.send(peer, packets.GET_STATUS_UNIQUE, unique)
        job = found[0] if found else None
        running = job is not None and job.state is State.RUNNING
        progress = job.status if job else (b"0", b"0")
        waiting = len(job.clients) if job else 0
        peer.expect(
            (packets.STATUS_RES_UNIQUE, unique, b"%d" % len(found), b"%d" % running, *progress, b"%d" % waiting)
        )

    # ---- workers

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, function=FUNCTIONS, seconds=st.sampled_from([0, 0, 2]))
    def can_do(self, number: int, function: bytes, seconds: int) -> None:
        peer = self.peer(number)
        if seconds:
            self.send(peer, packets.CAN_DO_TIMEOUT, function, b"%d" % (1000 * seconds))
        else:
            self.send(peer, packets.CAN_DO, function)
        self.model.can_do(peer, function, seconds)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY, function=FUNCTIONS)
    def cannot_do(self, number: int, function: bytes) -> None:
        peer = self.peer(number)
        self.send(peer, packets.CANT_DO, function)
        self.model.cannot_do(peer, function)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY)
    def reset_abilities(self, number: int) -> None:
        peer = self.peer(number)
        self.send(peer, packets.RESET_ABILITIES)
        self.model.reset(peer)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY)
    def sleep(self, number: int) -> None:
        peer = self.peer(number)
        self.send(peer, packets.PRE_SLEEP)
        woken = peer.peer.woken
        self.model.sleep(peer, woken.name if woken else None)

    @precondition(lambda self: any(peer.functions and not peer.asleep for peer in self.model.peers))
    @rule()
    def all_workers_go_to_sleep(self) -> None:
        for number, peer in enumerate(self.model.peers):
            if peer.functions and not peer.asleep:
                self.sleep(number)

    @precondition(lambda self: any(peer.woken is not None for peer in self.model.peers))
    @rule(which=ANY, does=st.sampled_from(["goes", "gives up", "forgets", "sleeps", "takes what there is"]))
    def a_woken_worker(self, which: int, does: str) -> None:
        """What it was woken for may be left lying, and others sleep."""
        woken = [number for number, peer in enumerate(self.model.peers) if peer.woken is not None]
        number = woken[which % len(woken)]
        match does:
            case "goes":
                self.disconnect(number)
            case "gives up":
                self.cannot_do(number, self.model.peers[number].woken or b"")
            case "forgets":
                self.reset_abilities(number)
            case "sleeps":
                self.sleep(number)
            case _:
                self.grab(number)

    @precondition(lambda self: self.model.peers)
    @rule(number=ANY)
    def grab(self, number: int) -> None:
        self.grab_and_look(self.peer(number))

    @precondition(lambda self: self.able_to_grab())
    @rule(number=ANY)
    def grab_a_job(self, number: int) -> None:
        workers = self.able_to_grab()
        self.grab_and_look(workers[number % len(workers)])

    @precondition(lambda self: any(peer.running for peer in self.model.peers))
    @rule(which=ANY)
    def a_worker_vanishes(self, which: int) -> None:
        _, worker = self.running_job(which)
        self.disconnect(self.model.peers.index(worker))

    def able_to_grab(self) -> list[ModelPeer]:
        return [peer for peer in self.model.peers if self.candidates(peer)]

    def candidates(self, peer: ModelPeer) -> list[ModelJob]:
        """The jobs that the worker may be given next."""
        functions = list(peer.functions)
        if not self.later:
            return self.model.heads(functions)
        for priority in range(3):
            if found := [self.first_of(name, priority) for name in functions if self.at_hand(name, priority)]:
                return found
        return []

    def at_hand(self, function: bytes, priority: int) -> bool:
        """Jobs of the queue are in memory, to be handed out."""
        return function in self.core.broker.functions and (
            self.core.broker.functions[function].queues[priority].size > 0
        )

    def first_of(self, function: bytes, priority: int) -> ModelJob:
        """It has to be this one; but one that came back without its payload has no turn until that is read."""
        being_read = self.core.index._returning
        return next(job for job in self.model.in_queue(function, priority) if job.id not in being_read)

    def grab_and_look(self, peer: ModelPeer) -> None:
        self.tick()
        peer.asleep = 0
        self.core._tick()
        self.due_jobs_arrive()
        candidates = self.candidates(peer)
        self.send(peer, packets.GRAB_JOB_UNIQ)
        answer = self.last_said(peer)
        if not candidates:
            assert answer == (packets.NO_JOB,)
            peer.expect(answer)
            self.model.has_come(peer)
            return
        (job,) = [job for job in candidates if job.handle == answer[1]]
        if job.background and not job.foreground_once:
            assert job.id in self.core.table.rows, "a background job was handed out before its commit"
        peer.expect((packets.JOB_ASSIGN_UNIQ, job.handle, job.function, job.unique, job.data))
        self.model.assign(peer, job, self.core.now)
        self.model.has_come(peer)

    @precondition(lambda self: any(peer.running for peer in self.model.peers))
    @rule(which=ANY, percent=st.sampled_from([b"10", b"99"]))
    def report_status(self, which: int, percent: bytes) -> None:
        job, worker = self.running_job(which)
        self.send(worker, packets.WORK_STATUS, job.handle, percent, b"100")
        job.status = (percent, b"100")
        self.model.tell(job, (packets.WORK_STATUS, job.handle, percent, b"100"))

    @precondition(lambda self: any(peer.running for peer in self.model.peers))
    @rule(which=ANY, kind=st.sampled_from([packets.WORK_COMPLETE, packets.WORK_FAIL, packets.WORK_EXCEPTION]))
    def report_end(self, which: int, kind: int) -> None:
        job, worker = self.running_job(which)
        data = [] if kind == packets.WORK_FAIL else [b"result"]
        self.send(worker, kind, job.handle, *data)
        if kind == packets.WORK_COMPLETE:
            self.model.tell(job, (kind, job.handle, *data))
        else:
            self.model.tell_failed(job)
        self.model.end(job)

    def running_job(self, which: int) -> tuple[ModelJob, ModelPeer]:
        running = [(job, peer) for peer in self.model.peers for job in peer.running]
        return running[which % len(running)]

    @precondition(lambda self: self.model.peers and (self.model.jobs or self.model.past))
    @rule(number=ANY, which=ANY)
    def report_on_any_job(self, number: int, which: int) -> None:
        """Only who runs a job may report on it; the late result of a cancelled one is dropped."""
        peer = self.peer(number)
        job = self.any_job(which)
        if job in peer.running:
            return
        self.send(peer, packets.WORK_COMPLETE, job.handle, b"late")
        if job.handle in peer.discarded:
            peer.discarded.remove(job.handle)
        else:
            peer.expect((packets.ERROR, b"JOB_NOT_FOUND", b"Job given in work result not found"))

    def any_job(self, which: int) -> ModelJob:
        jobs = [*self.model.jobs, *self.model.past[-5:]]
        return jobs[which % len(jobs)]

    # ---- the operator

    @precondition(lambda self: self.model.jobs or self.model.past)
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        job = self.any_job(which)
        if job.state is State.HELD:
            return
        self.tick()
        operator = self.core.connect()
        self.core.feed(operator, b"cancel job %b\n" % job.handle)
        if job.state is State.GONE and not job.dead:
            assert self.core.raw(operator) == b"ERR UNKNOWN_JOB\r\n"
        elif job.dead:
            job.dead = False
            self.model.remove_row(job)
        else:
            if job.worker is not None:
                job.worker.discarded.append(job.handle)
            self.model.tell_failed(job)
            self.model.end(job)
        self.core.disconnect(operator)

    # ---- the clock

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0]))
    def advance(self, seconds: float) -> None:
        self.core.advance(seconds)
        self.tick()
        self.due_jobs_arrive()

    # ---- rows that are read later

    @precondition(lambda self: self.later and len(self.core.fetches) < READERS and self.core.index.wanting)
    @rule()
    def begin_to_read(self) -> None:
        self.core.begin_fetch()

    @precondition(lambda self: self.core.fetches)
    @rule(which=ANY)
    def rows_arrive(self, which: int) -> None:
        self.tick()
        assert self.core.end_fetch(which % len(self.core.fetches)) == 0
        self.core._flush()
        self.due_jobs_arrive()

    def due_jobs_arrive(self) -> None:
        """Those whose rows were read now have their places; they come in the order in which they were due."""
        index = self.core.index
        due = sorted((job for job in self.model.jobs if job.state is State.DUE), key=by_time)
        reading = [job for job in due if job.id in index._due or index.is_to_come(job.run_at)]
        for job in due:
            if job not in reading:
                before = [
                    other for other in reading if (other.function, other.priority) == (job.function, job.priority)
                ]
                assert not any(by_time(other) < by_time(job) for other in before), "a due job was overtaken by another"
                self.model.queue(job)

    # ---- a replay in pages

    @precondition(lambda self: self.replaying and self.core.page is None)
    @rule(rows=st.integers(1, 3))
    def read_page(self, rows: int) -> None:
        self.core.read_page(rows)

    @precondition(lambda self: self.replaying)
    @rule(rows=st.integers(1, 3))
    def stream(self, rows: int) -> None:
        if self.core.page is None:
            self.core.read_page(rows)
        self.tick()
        self.core._tick()
        self.due_jobs_arrive()
        self.meet({entry.id for entry in self.core.page or ()})
        replay = self.core.index.replay
        assert replay
        self.core.stream()
        self.model.position = replay.position if self.replaying else replay.upto
        self.tick()
        self.due_jobs_arrive()

    def meet(self, ids: set[int]) -> None:
        """Rows become known: whose time has passed stands in line, by id or where no others are, at the end."""
        replay = self.core.index.replay
        assert replay
        for job in self.model.jobs:
            if job.id in ids and job.run_at:
                line = (job.function, job.priority)
                if self.core.index.is_to_come(job.run_at):
                    self.model.delay(job)
                elif replay._backlog is not None and line not in replay._backlog:
                    self.model.queue(job)
                else:
                    job.state = State.WAITING

    @precondition(lambda self: self.replaying)
    @rule()
    def tell_backlog(self) -> None:
        self.tick()
        self.core.tell_backlog()
        self.due_jobs_arrive()

    def overtake_unknown_rows(self) -> None:
        """A foreground job does not wait for rows that may not be, as long as that is not known."""
        replay = self.core.index.replay
        new = [job for job in self.model.jobs if job.place > self.placed and job.state is State.WAITING]
        for job in new if replay and replay._backlog is None else []:
            queue = self.core.broker.functions[job.function].queues[job.priority]
            line = self.model.in_queue(job.function, job.priority)
            places = [other.place for other in line if not self.model.known(other) and not other.returned]
            if not job.background and not job.returned and queue.after is None and places:
                job.place = min(places) - 1 + job.place * 1e-6
        self.placed = self.model.count

    # ---- the database

    @precondition(lambda self: not self.core.in_flight)
    @rule()
    def take(self) -> None:
        self.core.take()
        self.model.open += 1

    @rule(outcome=st.sampled_from(["committed", "committed", "refused", "crash"]), how=st.tuples(*[st.booleans()] * 3))
    def settle(self, outcome: str, how: tuple[bool, bool, bool]) -> None:
        """One rule for all that ends a commit, so that a lot happens before it ends."""
        unknown, stored, completions = how
        match outcome:
            case "committed":
                self.commit()
            case "refused":
                self.refuse(unknown=unknown, stored=stored, completions=completions)
            case "crash":
                self.crash(stored=stored, paged=unknown)

    def commit(self) -> None:
        if not self.core.in_flight:
            self.take()
        self.tick()
        self.core.commit()
        self.model.committed(self.model.open - 1, self.core.wall)
        self.tick()
        self.due_jobs_arrive()

    def refuse(self, *, unknown: bool, stored: bool, completions: bool) -> None:
        if not self.core.in_flight:
            self.take()
        self.tick()
        self.core.refuse("disk full", unknown=unknown, stored=stored, completions=completions)
        self.model.refused(
            self.model.open - 1,
            (packets.ERROR, b"QUEUE_ERROR", b"disk full"),
            unknown=unknown,
            completions=completions,
        )
        self.overtake_unknown_rows()
        self.due_jobs_arrive()

    def crash(self, *, stored: bool, paged: bool = False) -> None:
        """`paged`: where rows are read later, they are also taken up page by page."""
        landing = {row.id for row in self.core.in_flight[1].inserts} if self.core.in_flight and stored else set()
        self.core.crash(stored=stored, paged=self.later and paged)
        rows = self.core.table.rows
        for handle, job in self.acknowledged.items():
            assert job.id in rows or job.state is State.GONE, f"acknowledged job {handle!r} is lost"
        must = {job.id for job in self.live_rows()}
        may = {job.id for job in self.model.jobs + self.model.past if job.row_until}
        assert must - may <= set(rows) <= must | may | landing
        self.check_rows()
        self.model.position, self.model.upto = 0, max(rows) if self.replaying else 0
        self.model.restored([row for _, row in sorted(rows.items())], self.core.wall)
        self.placed = self.model.count

    def live_rows(self) -> list[ModelJob]:
        """The jobs whose rows are in the table for sure, dead ones too, if none of their changes is on its way."""
        live = [job for job in self.model.jobs if job.background and not job.batch]
        return live + [job for job in self.model.past if job.dead and not job.batch]

    def check_rows(self) -> None:
        known = {job.id: job for job in self.model.jobs + self.model.past}
        for id_, row in self.core.table.rows.items():
            job = known[id_]
            same = JobRecord(
                id_, job.function, job.unique or None, job.priority, row.attempts, 0, row.run_at, None, job.data
            )
            assert row == same
            assert row.attempts <= job.attempts
            assert row.run_at in (job.run_at, job.refused_at, DEAD)

    # ---- what holds after every step

    @invariant()
    def everybody_was_told_what_the_model_says(self) -> None:
        for peer in self.model.peers:
            got = self.core.received(peer.peer)
            due = self.model.due(peer)
            if not self.model.wakes:
                got = [packet for packet in got if packet != NOOP]
                due = [expected for expected in due if expected.said != NOOP]
            assert got == [expected.said for expected in due]
            for expected in due:
                if expected.job is not None:
                    self.check_acknowledged(expected.job)

    def check_acknowledged(self, job: ModelJob) -> None:
        self.acknowledged[job.handle] = job
        assert job.id in self.core.table.rows or job.state is State.GONE, "acknowledged before its commit"

    @invariant()
    def counts_are_naive_counts(self) -> None:
        self.core.check()
        broker = self.core.broker
        assert set(broker.jobs) <= {job.id for job in self.model.jobs}
        jobs = [job for job in self.model.jobs if self.model.known(job)]
        for function in broker.functions.values():
            own = [job for job in jobs if job.function == function.name]
            assert function.total == len(own)
            assert function.running == sum(job.state is State.RUNNING for job in own)
            for priority, queue in enumerate(function.queues):
                waiting = sum(job.state is State.WAITING and job.priority == priority for job in own)
                assert queue.size + queue.tailed == waiting
                if waiting and function.workers and not queue.size:
                    assert self.later, "a worker has to wait for the table"
                    reading = queue in broker.index.hungry or queue.loading
                    assert reading or not queue.tail, "a worker has to wait for a table that nobody reads"
        assert len(broker.timeouts) == sum(job.deadline is not None for job in jobs)
        dead = sum(job.dead for job in self.model.past if self.model.known(job))
        assert len(broker.dead) + broker.index.dead_rows == dead

    @invariant()
    def one_live_job_for_each_function_and_unique(self) -> None:
        keys = [key for job in self.model.jobs if (key := key_of(job.function, job.unique, job.data)) is not None]
        assert len(keys) == len(set(keys))

    @invariant()
    def deadlines_are_those_of_jobs_and_of_woken_workers(self) -> None:
        core, jobs = self.core, self.model.jobs
        waits = [peer.come_by - core.now for peer in self.model.peers if peer.woken is not None]
        waits += [job.deadline - core.now for job in jobs if job.deadline is not None]
        waits += [job.run_at - core.wall for job in jobs if job.state is State.DELAYED and self.model.known(job)]
        soonest = core.broker.next_deadline(core.now, core.wall)
        expected = max(0, min(waits, default=inf))
        early = core.index.skipped or not self.model.wakes
        assert soonest == expected or (soonest < expected and early), "only a cancelled job comes for nothing"

    @invariant()
    def what_is_settled_is_in_the_table(self) -> None:
        if self.core.broker.batch.empty and not self.core.in_flight:
            rows = self.core.table.rows
            expected = {job.id: (job.attempts, DEAD if job.dead else job.run_at) for job in self.live_rows()}
            assert {id_: (row.attempts, row.run_at) for id_, row in rows.items()} == expected
            self.check_rows()

    def teardown(self) -> None:
        """When all has been committed and everybody has gone, only background jobs are left."""
        if not hasattr(self, "core"):
            return
        if self.later:
            self.everything_is_had()
        while self.core.in_flight or not self.core.broker.batch.empty:
            self.commit()
        self.everybody_was_told_what_the_model_says()
        assert not any(peer.expected for peer in self.model.peers)
        while self.model.peers:
            self.disconnect(0)
            self.core.check()
        self.core.commit()
        broker = self.core.broker
        assert not broker.peers
        assert len(broker.timeouts) == 0
        assert broker.batch.empty
        assert not broker.workforce.woken
        assert not broker.workforce.crews._crews
        assert all(job.background and job.id in self.core.table.rows for job in broker.jobs.values())
        for function in broker.functions.values():
            assert not any((function.workers, function.sleepers, function.woken, function.crewed))

    def everything_is_had(self) -> None:
        """What had to be read is read; a worker gets every job that there is, in order."""
        while self.replaying:
            self.stream(3)
        self.core.reading = True
        while self.core.in_flight or not self.core.broker.batch.empty:
            self.commit()
        while self.core.fetches:
            self.rows_arrive(0)
        self.advance(10.0)
        while self.model.peers:
            self.disconnect(0)
        self.advance(10.0)
        self.connect()
        for function in (b"f", b"g", b"h"):
            self.can_do(0, function, 0)
        (worker,) = self.model.peers
        while self.candidates(worker):
            self.grab_and_look(worker)
            self.report_end(len(worker.running) - 1, packets.WORK_COMPLETE)
        assert not self.model.jobs, "a job was lost"
        index = self.core.index
        assert (index.used, index.bare, index.uniques.spilled, len(index.uniques)) == (0, 0, 0, 0)


TestMachine = Machine.TestCase
