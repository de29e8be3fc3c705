"""Jobs, the queues they wait in, and the functions that own the queues."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from gearmand_py.server.tails import Tail
from gearmand_py.storage.base import RUN_AT_ONCE, JobRecord, Payload

if TYPE_CHECKING:
    from gearmand_py.server.batch import Batch
    from gearmand_py.server.crews import Crew
    from gearmand_py.server.peers import Peer

HIGH: Final = 0
NORMAL: Final = 1
LOW: Final = 2
PRIORITIES: Final = (HIGH, NORMAL, LOW)

# What equal submissions of a function share: the unique key, or for the key `-` the data in a tuple of its own, so
# that it never equals somebody's key. None never coalesces.
CoalesceKey = bytes | tuple[bytes] | None

# A queue is rebuilt when this many more dead entries than live ones are in it: each rebuild is paid for by the
# removals before it.
STALE_SLACK: Final = 64


class Job:
    """A job while it lives: its row, and where it stands. A million of these wait in memory, so every slot counts."""

    __slots__ = (
        "attempts",
        "background",
        "batch",
        "clients",
        "data",
        "function",
        "id",
        "noted",
        "partial",
        "priority",
        "queued",
        "reducer",
        "run_at",
        "status",
        "tailed",
        "unique",
        "worker",
    )

    def __init__(
        self,
        id: int,  # noqa: A002 - the protocol's and the table's word
        function: "Function",
        unique: bytes,
        priority: int,
        background: bool,
        data: Payload,
        run_at: int = RUN_AT_ONCE,
        reducer: bytes | None = None,
        attempts: int = 0,
    ) -> None:
        self.id = id
        self.function = function
        self.unique = unique
        self.priority = priority
        self.background = background  # lies, or will lie, in the table
        self.data = data
        self.run_at = run_at
        self.reducer = reducer
        self.attempts = attempts
        self.queued = False  # waits in its function's queue, to be handed out
        self.tailed = False  # waits as a bare id: in the tail of its queue, or for its time
        self.noted = False  # its unique key is among those of bare ids
        self.partial = False  # payload and reducer are in the table only
        self.batch: Batch | None = None  # the batch that will make its row durable; None once it has
        self.worker: Peer | None = None  # who runs it
        self.clients: list[Peer] | None = None  # who waits for its result, once for each submission
        self.status: tuple[bytes, bytes] | None = None  # numerator, denominator

    @property
    def held(self) -> bool:
        """Nobody may run it or know of it before its batch is committed."""
        return self.batch is not None and not (self.queued or self.tailed) and self.worker is None

    @property
    def stored(self) -> bool:
        """It is a row in the table."""
        return self.background and self.batch is None

    @property
    def coalesce_key(self) -> CoalesceKey:
        """See CoalesceKey."""
        return coalesce_key(self.unique, self.data)

    def record(self, node: int) -> JobRecord:
        """The row this job is in the table."""
        return JobRecord(
            self.id,
            self.function.name,
            self.unique or None,
            self.priority,
            self.attempts,
            node,
            self.run_at,
            self.reducer,
            self.data,
        )


def coalesce_key(unique: bytes, data: Payload) -> CoalesceKey:
    """See CoalesceKey."""
    if unique == b"-":
        return (bytes(data),) if data else None
    return unique or None


class JobQueue:
    """The waiting jobs of one function and priority, first in first out; those that came back go first, by id.

    What can be handed out (`size` jobs) is in memory. Behind it are bare ids (`tailed` of them live), see index.py.
    A job that is taken out of the middle stays as a dead entry (`queued` is False) until it is met or swept.
    """

    __slots__ = ("after", "function", "loading", "priority", "ready", "returned", "size", "tail", "tailed")

    def __init__(self, function: "Function", priority: int) -> None:
        self.function = function
        self.priority = priority
        self.ready: deque[Job] = deque()
        self.returned: list[tuple[int, Job]] = []  # a heap
        self.size = 0
        self.tail: Tail | None = None  # ids behind `ready`; None when nothing is there or on its way into memory
        self.after: Tail | None = None  # ids behind those that the start has not read yet
        self.loading = False  # the first ids of the tail are being read
        self.tailed = 0

    def push(self, job: Job) -> None:
        """Queue a new job."""
        job.queued = True
        self.ready.append(job)
        self.size += 1

    def push_all(self, jobs: Sequence[Job]) -> None:
        """Queue new jobs."""
        for job in jobs:
            job.queued = True
        self.ready.extend(jobs)
        self.size += len(jobs)

    def give_back(self, job: Job) -> None:
        """Queue a job that had been handed out, before all that have not."""
        job.queued = True
        heappush(self.returned, (job.id, job))
        self.size += 1

    def pop(self) -> Job:
        """Take the next job. Only when `size` is not 0."""
        returned = self.returned
        while True:
            job = heappop(returned)[1] if returned else self.ready.popleft()
            if job.queued:
                job.queued = False
                self.size -= 1
                if not self.size:
                    self._sweep()
                return job

    def discard(self, job: Job) -> None:
        """Take out a job wherever it stands."""
        job.queued = False
        self.size -= 1
        if len(self.ready) + len(self.returned) > 2 * self.size + STALE_SLACK:
            self._sweep()

    def _sweep(self) -> None:
        if not self.size:
            self.ready.clear()
            self.returned.clear()
            return
        self.ready = deque(job for job in self.ready if job.queued)
        self.returned = [entry for entry in self.returned if entry[1].queued]
        heapify(self.returned)


class Function:
    """A function: its queues, and the workers that can run it."""

    __slots__ = (
        "crewed",
        "crews",
        "limits",
        "name",
        "number",
        "queues",
        "running",
        "sleepers",
        "total",
        "woken",
        "workers",
    )

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.queues = (JobQueue(self, HIGH), JobQueue(self, NORMAL), JobQueue(self, LOW))
        self.total = 0  # jobs that are queued, delayed or running, or waiting for their commit
        self.running = 0
        self.workers = 0
        self.crewed = 0  # those of them that are for crews, see crews.py
        self.number = -1  # among the functions of these; -1: there are none
        self.crews: dict[Crew, None] = {}
        self.sleepers: OrderedDict[Peer, None] = OrderedDict()  # the others, in the order they fell asleep
        self.woken = 0  # workers on their way to a job of it
        self.limits: tuple[int, ...] = (0, 0, 0)  # maxqueue by priority; 0 or less: none

    @property
    def waiting(self) -> int:
        """Jobs that a worker could have at once."""
        high, normal, low = self.queues
        return high.size + normal.size + low.size

    @property
    def unused(self) -> bool:
        """No job, no worker, and no id of a job that is over stands in a queue: it can be forgotten."""
        return not (self.total or self.workers or any(q.tail or q.after or q.loading for q in self.queues))

    @property
    def behind(self) -> int:
        """Jobs that wait as bare ids."""
        high, normal, low = self.queues
        return high.tailed + normal.tailed + low.tailed
