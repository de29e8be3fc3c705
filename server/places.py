"""Where jobs wait: at the head of a queue, or as a bare id in its tail or among those whose time is to come."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from gearmand_py.server.jobs import Function, Job, JobQueue
from gearmand_py.server.later import Later
from gearmand_py.server.residents import BARE_COST, JOB_COST, Residents
from gearmand_py.server.tails import Tail
from gearmand_py.storage.base import JobRecord

if TYPE_CHECKING:
    from gearmand_py.server.replay import Replay

# A job whose time is further away (seconds) waits as a bare id.
FAR: Final = 60.0


class Sizes(NamedTuple):
    """How much is moved at a time: ids, and bytes of payloads."""

    # A head is filled up by a page when less than a page is left of it. The second pair holds above the limit.
    page: int = 2048
    page_bytes: int = 8 * 1024 * 1024
    tight_page: int = 128
    tight_bytes: int = 512 * 1024
    # Of a queue so many stay in memory whatever the limit: a new job of a short queue is not read back for its worker.
    least: int = 16
    # Jobs that leave memory at one time, in some milliseconds.
    evicted: int = 2000


class Places(Residents):
    """Jobs in memory, with the place of each job that waits."""

    def __init__(self, limit: float = inf, *, readable: bool = True, sizes: Sizes | None = None) -> None:
        super().__init__(limit, readable=readable)
        self.sizes = sizes or Sizes()
        self.bare = 0  # jobs whose place is a bare id
        self.later = Later()
        self.wall = 0.0  # the latest that is known
        self.replay: Replay | None = None  # while rows from before the start are not known
        self.skipped: set[int] = set()  # given up while their ids were still in their places
        self.hungry: dict[JobQueue, None] = {}  # heads to be filled up
        self._filling: dict[JobQueue, None] = {}  # these, and those that are being filled
        self._fat: dict[JobQueue, None] = {}  # heads that may give jobs up

    # ---- at the end of a queue

    def place(self, queue: JobQueue, job: Job) -> bool:
        """Queue a job at the end; can it be handed out now?"""
        if queue.tail is None and self.used <= self.limit and self.replay is None:
            queue.push(job)
            return True
        tail = self._tail_for(queue, job) if queue.tail is None or self.replay is not None else queue.tail
        if tail is None:
            queue.push(job)
            return True
        self._append(job, tail, queue)
        return False

    def place_all(self, queue: JobQueue, rows: Sequence[JobRecord], joined: Mapping[int, Job]) -> int:
        """Queue rows of one commit at the end; how many of them can be handed out now?

        Those of them that are jobs already are in `joined`.
        """
        tail = queue.tail
        if self.replay is None and tail is not None:
            tail.append([row.id for row in rows], [len(row.data) for row in rows])
            self._tailed(queue, len(rows))
            self._to_bare_ids(queue.function, rows, joined)
            return 0
        jobs = self._to_jobs(queue.function, rows, joined)
        if self.replay is None and self.used <= self.limit:
            queue.push_all(jobs)
            return len(jobs)
        return [self.place(queue, job) for job in jobs].count(True)

    def _append(self, job: Job, tail: Tail, queue: JobQueue) -> None:
        tail.append((job.id,), (len(job.data),))
        self._tailed(queue, 1)
        self._make_bare((job,))

    def _tailed(self, queue: JobQueue, count: int) -> None:
        queue.tailed += count
        if queue.size < self.sizes.page:
            self.want(queue)

    def _to_bare_ids(self, function: Function, rows: Sequence[JobRecord], joined: Mapping[int, Job]) -> None:
        """Rows that are committed become bare ids, and are let go."""
        assert self.readable
        if joined:
            self._make_bare([joined[row.id] for row in rows if row.id in joined])
            rows = [row for row in rows if row.id not in joined]
        self.bare += len(rows)
        self.used += BARE_COST * len(rows)
        self.uniques.spill(function, rows)

    def _tail_for(self, queue: JobQueue, job: Job) -> Tail | None:
        if self.replay and self.replay.comes_before(queue, job):
            return self.replay.after(queue)
        if queue.tail is None and self.used > self.limit and queue.size >= self.sizes.least:
            queue.tail = Tail()
        return queue.tail

    # ---- as bare ids

    def is_to_come(self, when: int) -> bool:
        """Jobs of this time are in `later`."""
        return when > self.wall or when >= self.later.left_from

    def delay(self, row: JobRecord, joined: Mapping[int, Job]) -> None:
        """Let a committed row wait for its time."""
        self.later.add(row.id, row.run_at, self.wall)
        function = self.functions[row.function]
        near = row.run_at - self.wall < FAR and self.used + JOB_COST + len(row.data) <= self.limit
        if near or not self.readable:
            self._make_bare(self._to_jobs(function, (row,), joined), keep=True)
        else:
            self._to_bare_ids(function, (row,), joined)

    def _make_bare(self, jobs: Sequence[Job], *, keep: bool = False) -> None:
        """The place of each job is its id. It leaves memory, unless it is not in the table or somebody waits for it."""
        self.bare += len(jobs)
        self.used += BARE_COST * len(jobs)
        for job in jobs:
            job.tailed = True
        if not keep and self.readable:
            self._unload([job for job in jobs if job.background and job.batch is None and not job.clients])

    def _now_elsewhere(self, job: Job) -> None:
        job.tailed = False
        self.bare -= 1
        self.used -= BARE_COST

    # ---- heads

    def want(self, queue: JobQueue) -> None:
        """Have the head of the queue filled up, if it runs low and somebody can use it."""
        if queue.tail is None or queue.loading or self._is_filled(queue):
            return
        if queue.function.workers or self.used < self.limit / 2:
            self.hungry[queue] = None
            self._filling[queue] = None

    def _is_filled(self, queue: JobQueue) -> bool:
        """The head has a page, or by the size of its last job about as many bytes."""
        count, most_bytes = self._page
        last = len(queue.ready[-1].data) if queue.ready else 0
        return queue.size >= count or queue.size * last >= most_bytes

    @property
    def _page(self) -> tuple[int, int]:
        """How much of a queue to read at a time: ids, and bytes of payloads."""
        sizes = self.sizes
        return (sizes.tight_page, sizes.tight_bytes) if self.used > self.limit else (sizes.page, sizes.page_bytes)

    def grown(self, queue: JobQueue) -> None:
        """Jobs were added to the queue's head."""
        if queue.size > 2 * self.sizes.page:
            self._fat[queue] = None

    def trim(self) -> None:
        """Above the limit the longest heads give up their last jobs, some at a time."""
        if self.used <= self.limit or not self._fat:
            return
        queue = next(iter(self._fat))
        if not self._evict(queue):
            del self._fat[queue]

    def _evict(self, queue: JobQueue) -> bool:
        """Turn jobs from the end of a head into bare ids; False when there is nothing to be had."""
        if queue.loading:  # what is being read goes before these
            return False
        evicted: list[Job] = []
        over = self.used - self.limit
        while len(evicted) < self.sizes.evicted and queue.ready and queue.size > self.sizes.page and over > 0:
            job = queue.ready.pop()
            if job.queued:
                job.queued = False
                queue.size -= 1
                evicted.append(job)
                over -= JOB_COST + len(job.data) - BARE_COST
        if not evicted:
            return False
        queue.tail = queue.tail or Tail()
        queue.tail.put_back([(job.id, len(job.data)) for job in reversed(evicted)])
        queue.tailed += len(evicted)
        self._make_bare(evicted)
        return True
