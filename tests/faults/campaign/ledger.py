"""What clients and workers saw of all jobs of a queue, and what may not be. No I/O, no clock.

Events come in the order in which one thread sent and read them, so what it read was true before what it sent later
arrived. A job is known by the id in its handle, a submission by the number in its payload. Whatever contradicts a
promise is noted in `anomalies`, at once or by `settle`, which is called when all is healed and drained.

The promises: see docs/reliability.md.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """How a job is submitted."""

    BACKGROUND = "background"
    FOREGROUND = "foreground"
    LATER = "later"  # a background job for some time


class Submission(NamedTuple):
    """What a client asked for."""

    number: int
    kind: Kind
    function: bytes
    priority: int
    unique: bytes


@dataclass(slots=True)
class Job:
    """What is known of one."""

    id: int
    key: tuple[bytes, bytes] | None = None  # function and unique key
    promised: bool = False  # acknowledged as a background job
    submission: int | None = None  # the one whose payload it has
    worker: int | None = None  # that has it
    runs: int = 0
    given_up: int = 0  # runs that did not come to an end
    ended: bool = False  # its worker has said so since it was handed out last
    ended_by: int | None = None  # the worker that said so, until the server has read it
    read_at: int | None = None  # when it was known that the server had read it
    gone: bool = False  # and that it is on disk


RECENT: Final = 200


@dataclass(slots=True)
class Ledger:
    """`limited`: jobs die when their attempts run out."""

    limited: bool = False
    anomalies: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    submissions: dict[int, Submission] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)  # sent, and the connection is there
    jobs: dict[int, Job] = field(default_factory=dict)
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))  # ids
    _events: int = 0
    _sent_at: dict[int, int] = field(default_factory=dict)  # since the last restart
    _answers: dict[int, int] = field(default_factory=dict)  # number to id
    _refused: dict[int, int] = field(default_factory=dict)  # number to when
    _erased: set[int] = field(default_factory=set)  # refused, and that on disk
    _live: dict[tuple[bytes, bytes], set[int]] = field(default_factory=dict)  # promised, and not ended
    _foreground_keys: set[tuple[bytes, bytes]] = field(default_factory=set)
    _held: dict[int, set[int]] = field(default_factory=dict)  # jobs by worker
    _stored_from: int = 0  # when the last job that is known to be stored was sent
    _last: dict[tuple[int, bytes, int, Kind], int] = field(default_factory=dict)
    _strays: int = 0  # jobs that may have been handed out to workers who have not heard of it
    # By what was broken and by job: strays explain so many of each.
    _maybe: defaultdict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))

    # ---- clients

    def sent(self, submission: Submission) -> None:
        """A client submits."""
        self.counts["submitted"] += 1
        self.submissions[submission.number] = submission
        self._sent_at[submission.number] = self._now()
        self.waiting.add(submission.number)
        if submission.kind is Kind.FOREGROUND and submission.unique:
            self._foreground_keys.add((submission.function, submission.unique))

    def created(self, number: int, id_: int) -> None:
        """JOB_CREATED came."""
        submission = self.submissions[number]
        self._answers[number] = id_
        job = self._job(id_, submission)
        self.counts["acknowledged"] += 1
        if submission.kind is Kind.FOREGROUND:
            return
        self.counts["acknowledged in the background"] += 1
        self.waiting.discard(number)
        job.promised = True
        if not submission.unique:  # else it may have joined a job that was stored long before
            self._stored_from = max(self._stored_from, self._sent_at.get(number, 0))
        self._look_for_twins(job)
        if job.key and not job.ended:
            self._live.setdefault(job.key, set()).add(id_)

    def refused(self, number: int, reason: str) -> None:
        """ERROR came."""
        self.counts["refused"] += 1
        self.waiting.discard(number)
        self._refused[number] = self._now()
        if not self._may_run_refused(number) and any(job.submission == number for job in self.jobs.values()):
            self._note(f"submission {number} was refused ({reason}) after it had run")

    def answered(self, number: int) -> None:
        """A foreground client has its result."""
        self.counts["results"] += 1
        self.waiting.discard(number)

    def cut_off(self, number: int) -> None:
        """A client's connection was gone before its answer: the job is stored, or not; a foreground job is nobody's."""
        self.waiting.discard(number)
        if number not in self._answers:
            self.counts["unanswered"] += 1

    def is_certain(self, id_: int) -> bool:
        """Must the server know this job now, whatever it has not been heard to say?"""
        job = self.jobs[id_]
        return job.promised and not job.ended and not self.limited

    def unknown(self, id_: int) -> None:
        """STATUS_RES says that there is no such job. It was certain when that was asked."""
        if self.is_certain(id_):
            self._note(f"job {id_} was acknowledged, and the server does not know it: {self.jobs[id_]}")

    # ---- workers

    def handed_out(self, worker: int, id_: int, number: int, function: bytes) -> None:
        """A worker got a job."""
        submission = self.submissions.get(number)
        if submission is None or submission.function != function:
            self._note(f"job {id_} of {function!r} has the payload of submission {number}, which is {submission}")
        submission = submission or Submission(number, Kind.LATER, function, 0, b"")
        job = self._job(id_, submission)
        self.counts["handed out"] += 1
        self._check_payload(job, submission)
        self._check_return(job)
        self._check_order(worker, job, submission)
        job.submission = number
        job.worker, job.ended, job.ended_by, job.read_at = worker, False, None, None
        job.runs += 1
        self._held.setdefault(worker, set()).add(id_)
        self._look_for_twins(job)
        if job.promised and job.key:
            self._live.setdefault(job.key, set()).add(id_)

    def _check_payload(self, job: Job, submission: Submission) -> None:
        answer = self._answers.get(submission.number, job.id)
        if answer != job.id:
            self._note(f"submission {submission.number} was told of job {answer} and ran as job {job.id}")
        if job.submission not in (None, submission.number):
            self._note(f"job {job.id} had the payload of {job.submission} and now that of {submission.number}")
        number = submission.number
        is_over = number in self._erased or (number in self._refused and number in self._sent_at)
        if is_over and not self._may_run_refused(number):
            self._note(f"submission {number} was refused and ran all the same")

    def _may_run_refused(self, number: int) -> bool:
        """A foreground client that joined a job keeps it when its background submitter is refused."""
        submission = self.submissions[number]
        return (submission.function, submission.unique) in self._foreground_keys

    def _check_return(self, job: Job) -> None:
        if job.gone:
            self._note(f"job {job.id} came back although its end was on disk")
        elif job.read_at is not None:
            self._note(f"job {job.id} came back although the server knew of its end, and was not killed since")
        elif job.worker is not None:
            self._note(f"job {job.id} was handed out while worker {job.worker} had it")
        if job.runs:
            self.counts["came back"] += 1

    def _check_order(self, worker: int, job: Job, submission: Submission) -> None:
        """First in, first out for whoever asks, but for jobs that come back."""
        if job.runs or submission.kind is Kind.LATER:
            return
        queue = worker, submission.function, submission.priority, submission.kind
        last = self._last.get(queue, 0)
        self._last[queue] = max(last, job.id)
        if job.id > last:
            return
        self._maybe["order"][job.id] = f"job {job.id} was overtaken by job {last} in the queue {queue[1:]}"

    def ended(self, worker: int, id_: int) -> None:
        """The worker says that the job is over."""
        job = self.jobs[id_]
        self.counts["ended"] += 1
        self._held[worker].discard(id_)
        if job.worker not in (None, worker):
            return  # it was taken from this worker and is another's by now
        job.worker, job.ended, job.ended_by = None, True, worker
        self._bury(job)

    def read(self, worker: int, id_: int) -> None:
        """The server has read that: it has answered what came behind it."""
        job = self.jobs[id_]
        if job.ended_by == worker:
            job.ended_by, job.read_at = None, self._now()

    def not_taken(self, worker: int, id_: int) -> None:
        """The server says that it was not the worker's job any more."""
        job = self.jobs[id_]
        if job.ended_by == worker:
            job.ended_by, job.ended = None, False
            job.given_up += 1

    def gave_up(self, worker: int, id_: int) -> None:
        """The worker does not do the job."""
        job = self.jobs[id_]
        self._held[worker].discard(id_)
        job.worker = None
        job.given_up += 1

    def may_lose(self, worker: int) -> None:
        """The server may take the worker's jobs back before the worker knows."""
        for id_ in list(self._held.get(worker, ())):
            self.gave_up(worker, id_)

    def doubt(self) -> None:
        """A fault of the network or of time: the server may take any worker for gone."""
        for worker in list(self._held):
            self.may_lose(worker)

    def worker_gone(self, worker: int, grabs: int) -> None:
        """Its connection is over, with so many grabs unanswered."""
        self._strays += grabs
        self.may_lose(worker)
        for queue in [queue for queue in self._last if queue[0] == worker]:
            del self._last[queue]

    # ---- the server

    def killed(self) -> None:
        """The server is gone, and what it only knew in memory.

        An end that was read before a job was sent is committed with that job or before it, and so is the removal of a
        refused one. So where that job was acknowledged, they must not come back.
        """
        self.doubt()
        for job in self.jobs.values():
            if job.read_at is not None:
                job.gone = job.gone or job.read_at < self._stored_from
                job.read_at = None
        self._erased.update(number for number, at in self._refused.items() if at < self._stored_from)
        self._sent_at.clear()

    # ---- the end of a round

    @property
    def open_promises(self) -> list[Job]:
        """Jobs that must still run."""
        return [job for job in self.jobs.values() if job.promised and not job.ended]

    def settle(self, dead: set[int]) -> None:
        """All is healed and drained: what is not done, and not among the `dead` ones in the table, is lost."""
        for job in self.open_promises:
            if job.id not in dead:
                self._note(f"job {job.id} was acknowledged and is lost: {job}")
            elif not self.limited:
                self._note(f"job {job.id} is dead, and attempts are without limit")
            elif not job.given_up:
                self._maybe["deaths"][job.id] = f"job {job.id} is dead, and no worker ever left it"
            self._bury(job)
            job.ended = True  # said once
        for number in sorted(self.waiting):
            self._note(f"the client of {self.submissions[number]} was never answered")
        self.waiting.clear()
        for maybe in self._maybe.values():
            self.anomalies += list(maybe.values())[self._strays :]
        self._maybe.clear()
        self._strays = 0

    def close_round(self) -> None:
        """The table is empty and nothing is under way: from here on nothing of before comes back."""
        for job in self.jobs.values():
            job.gone = True
        self._erased.update(self._refused)
        self._foreground_keys.clear()

    # ----

    def _job(self, id_: int, submission: Submission) -> Job:
        if id_ not in self.jobs:
            self.recent.append(id_)
            key = (submission.function, submission.unique) if submission.unique else None
            self.jobs[id_] = Job(id_, key)
        job = self.jobs[id_]
        if job.key and job.key != (submission.function, submission.unique):
            self._note(f"{submission} was given job {id_}, whose key is {job.key}")
        return job

    def _look_for_twins(self, job: Job) -> None:
        """Is there another live job of its function with its unique key?"""
        if job.key is None or job.ended:
            return
        for id_ in self._live.get(job.key, set()) - {job.id}:
            text = f"jobs {id_} and {job.id} live at the same time with the key {job.key}"
            if not self.limited:
                self._note(text)
            elif not self.jobs[id_].given_up:  # else it may be dead
                self._maybe["twins"][id_] = text

    def _bury(self, job: Job) -> None:
        if job.key and job.key in self._live:
            self._live[job.key].discard(job.id)

    def _note(self, text: str) -> None:
        self.anomalies.append(text)

    def _now(self) -> int:
        self._events += 1
        return self._events
