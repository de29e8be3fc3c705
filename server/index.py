"""The bounded index: which jobs there are, which of them are in memory, and what is to be read from the table.

A job's place is at the head of its queue, in memory, to be handed out; or it is a bare id: in the tail of its queue, or
among those whose time is to come. What has such a place need not be in memory (`jobs`): its row lies in the table. So
above `limit` bytes, and behind ids that are bare already, a committed job leaves memory. Foreground jobs, and jobs with
clients, stay, but their place is a bare id all the same: order is that of the ids.

What is to be read is told by `next_fetch` and taken in by `arrived`: pages for queues whose heads run low, payloads of
jobs that came back, jobs that are due.

A packet that needs a row which is not here raises NotResident. Whoever drives the broker reads what it names, calls
`visit`, gives the packet to its handler again, and calls `dismiss`: so the same handlers work on all jobs.

How the rows that the table held before the start get in here is replay.py's.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from gearmand_py.server.jobs import PRIORITIES, Function, Job, JobQueue, coalesce_key
from gearmand_py.server.later import Later
from gearmand_py.server.tails import Tail
from gearmand_py.server.uniques import Key, Owner, Sees, Uniques, name_of
from gearmand_py.storage.base import BY_PAYLOAD, DEAD, Entry, JobRecord

if TYPE_CHECKING:
    from gearmand_py.server.replay import Replay

# Resident bytes of a job without its payload (docs/benchmarks.md), and of a bare id with its key.
JOB_COST: Final = 460
BARE_COST: Final = 32
# A payload from this size on leaves memory while its job runs; it is read again if the job comes back.
UNLOADED: Final = 64 * 1024
# A job whose time is further away (seconds) waits as a bare id.
FAR: Final = 60.0


class NotResident(Exception):
    """Rows must be read before a packet can be handled: those of `ids`, or those of the start that have `key`.

    With neither, all that the table held before the start must be known.
    """

    def __init__(self, ids: Sequence[int] = (), key: tuple[bytes, bytes] | None = None) -> None:
        super().__init__(ids, key)
        self.ids = ids
        self.key = key


class HeadComing(NotResident):
    """A worker's next job is on its way into memory."""


class Abilities(Protocol):
    """What a worker can do."""

    def __contains__(self, function: Function, /) -> bool: ...


@dataclass(slots=True)
class Fetch:
    """Rows to be read, and for what: the next ids of queues, jobs that came back, jobs that are due."""

    ids: list[int] = field(default_factory=list)
    pages: list[tuple[JobQueue, list[tuple[int, int]]]] = field(default_factory=list)
    returning: list[Job] = field(default_factory=list)
    due: list[int] = field(default_factory=list)


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


class Index:
    """`limit`: bytes for jobs that wait. Not `readable`: there is no table, and all stays in memory."""

    def __init__(self, limit: float = inf, *, readable: bool = True, sizes: Sizes | None = None) -> None:
        self.limit = limit if readable else inf
        self.sizes = sizes or Sizes()
        self.readable = readable
        self.used = 0  # bytes, of jobs in memory and bare ids, about; rows of batches are bounded by the journal
        self.foreground = 0  # those of jobs that are in no table
        self.max_queue = 0  # what functions begin with: jobs of each, 0 without limit
        self.jobs: dict[int, Job] = {}
        self.functions: dict[bytes, Function] = {}
        self.uniques = Uniques(self.limit / BARE_COST)
        self.bare = 0  # jobs whose place is a bare id
        self.later = Later()
        self.wall = 0.0  # the latest that is known
        self.dead_rows = 0  # that are in the table only
        self.replay: Replay | None = None  # while rows from before the start are not known
        # to be read, and by which ids these are known until they have arrived
        self.hungry: dict[JobQueue, None] = {}
        self._filling: dict[JobQueue, None] = {}  # these, and those that are being filled
        self._to_return: deque[Job] = deque()
        self._returning: set[int] = set()
        self.to_release: deque[int] = deque()
        self._due: set[int] = set()
        self._releasing = False  # jobs that are due are being read: those after them wait
        # given up while their ids were still in their places
        self.skipped: set[int] = set()
        self.gone = 0  # rows that were not there when they were read
        self._careful = self.sizes.page  # ids of a fetch: fewer after one that failed
        self._failing = False  # the last fetch could not be read
        self._fat: dict[JobQueue, None] = {}  # heads that may give jobs up
        # packets that wait for rows
        self._lookups = 0
        self._asked: set[int] = set()  # ids whose rows are being looked up
        self._left: set[int] = set()  # those of them whose jobs are over, whatever the rows say
        self._absent: set[int] = set()
        self._visitors: list[Job] = []
        self.dead_visitors: set[int] = set()

    # ---- jobs in memory

    def add(self, job: Job, key: Key | None) -> None:
        """A new foreground job, and its unique key."""
        self.jobs[job.id] = job
        self.used += JOB_COST + len(job.data)
        if key is not None:
            self.uniques.add(key, job)

    def make_early(self, row: JobRecord) -> Job:
        """A job of a row that is not committed yet."""
        job = self._make(row, self.functions[row.function], noted=False)
        self.uniques.pass_on((row,), (job,))
        return job

    def give_up(self, row: JobRecord) -> None:
        """A row is not stored, and will not be."""
        key = coalesce_key(row.unique or b"", row.data)
        if key is not None:
            self.uniques.discard(key, row)
        self.functions[row.function].total -= 1

    def remove(self, job: Job) -> None:
        """A job is over."""
        del self.jobs[job.id]
        size = JOB_COST + len(job.data)
        self.used -= size
        if not job.background:
            self.foreground -= size
        if job.id in self._asked:
            self._left.add(job.id)
        key = job.coalesce_key
        if key is not None and job.noted:
            self.uniques.strike(job.function, key, job.id)
        elif key is not None:
            self.uniques.discard(key, job)
        if job.tailed and self.replay and self.replay.skip(job.id):
            return  # it was not counted yet
        job.function.total -= 1
        if job.tailed:
            self._give_up_place(job)

    def _give_up_place(self, job: Job) -> None:
        """The id stays where it is until it is met."""
        self.skipped.add(job.id)
        self._now_elsewhere(job)
        if job.id not in self._due and not self.is_to_come(job.run_at):
            job.function.queues[job.priority].tailed -= 1

    def _now_elsewhere(self, job: Job) -> None:
        job.tailed = False
        self.bare -= 1
        self.used -= BARE_COST

    def same(self, function: Function, key: Key) -> Owner | None:
        """The live job with this unique key, or its row if that is not committed yet. Raises NotResident."""
        uniques = self.uniques
        job: Owner | None
        if uniques.is_new(function, key):
            job = None
        elif (job := uniques.get(function, key)) is None and (ids := uniques.noted(function, key)):
            job = self._noted(function, key, ids)
        if job is None and self.replay is not None:
            self.replay.check(function, key)
        return job

    def _noted(self, function: Function, key: Key, ids: Sequence[int]) -> Job | None:
        missing = []
        for id_ in ids:
            job = self.jobs.get(id_)
            if job is not None and job.function is function and job.coalesce_key == key:
                return job
            if id_ in self._absent or id_ in self.dead_visitors:
                self.uniques.strike(function, key, id_)
            elif job is None:
                missing.append(id_)
        if missing:
            raise NotResident(missing)
        return None

    def with_unique(self, unique: bytes, sees: Sees) -> Owner | None:
        """The same, of whatever function is seen. Raises NotResident."""
        for known in self.uniques.all_with(unique):
            if sees(name_of(known)):
                return known
        missing: list[int] = []
        for id_ in self.uniques.noted_anywhere(unique, sees):
            job = self.jobs.get(id_)
            if job is not None and job.unique == unique and sees(job.function.name):
                return job
            if job is None and id_ not in self._absent and id_ not in self.dead_visitors:
                missing.append(id_)
        if missing or self.replay:
            raise NotResident(missing)
        return None

    def look_elsewhere(self, id_: int, *, dead: bool = False) -> None:
        """Raises NotResident for an id, not in `jobs`, that may be that of a row; of a dead job's too if wanted."""
        may_be = self.bare or self.replay or (dead and self.dead_rows)
        if may_be and self.readable and id_ not in self._absent and id_ not in self.dead_visitors:
            raise NotResident((id_,))

    # ---- places

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

    def _to_jobs(self, function: Function, rows: Sequence[JobRecord], joined: Mapping[int, Job]) -> list[Job]:
        """Rows that are committed become jobs in memory."""
        jobs = [joined.get(row.id) or self._make(row, function, noted=False) for row in rows]
        self.uniques.pass_on(rows, jobs)
        return jobs

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

    def _unload(self, jobs: Sequence[Job]) -> None:
        """Let jobs of one function out of memory."""
        own = self.jobs
        for job in jobs:
            del own[job.id]
        self.used -= JOB_COST * len(jobs) + sum([len(job.data) for job in jobs])
        if jobs:
            self.uniques.spill(jobs[0].function, [job for job in jobs if not job.noted])

    def want(self, queue: JobQueue) -> None:
        """Have the head of the queue filled up, if it runs low and somebody can use it."""
        if queue.tail is None or queue.loading or self._is_filled(queue):
            return
        if queue.function.workers or self.used < self.limit / 2:
            self.hungry[queue] = None
            self._filling[queue] = None

    def wait_for_head(self, functions: Abilities) -> None:
        """Raises HeadComing if jobs of one of these functions are about to be in memory, or may be."""
        if self.replay and self.replay.young:
            raise HeadComing
        if self._failing:  # it may be long, and there may be other work soon
            return
        for queue in self._filling:
            if queue.tailed and queue.function in functions:
                raise HeadComing

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

    def bare_ids(self) -> Iterator[int]:
        """Of jobs that are not in memory, but for those that are being read just now; it may change meanwhile."""
        queues = (queue for function in list(self.functions.values()) for queue in function.queues)
        tails = (tail.ids() for queue in queues for tail in (queue.tail, queue.after) if tail)
        for id_ in chain(chain.from_iterable(tails), self.later.ids(), list(self.to_release)):
            if id_ not in self.jobs and id_ not in self.skipped:
                yield id_

    # ---- payloads of jobs that run

    def handed_out(self, job: Job) -> None:
        """A large payload that is on its way to a worker is not kept."""
        if self.readable and job.stored and job.unique != BY_PAYLOAD:
            self.used -= len(job.data)
            job.data = b""
            job.partial = True

    def returns(self, job: Job) -> None:
        """A job came back without its payload."""
        self._to_return.append(job)
        self._returning.add(job.id)
        job.tailed = True
        job.function.queues[job.priority].tailed += 1
        self.bare += 1
        self.used += BARE_COST

    # ---- reading

    @property
    def wanting(self) -> bool:
        """There is something to read."""
        return bool(self.hungry or self._to_return or (self.to_release and not self._releasing))

    def release_due(self) -> dict[JobQueue, int]:
        """Queue jobs whose time has come, or have them read first; how many of which queues can be handed out now?"""
        if self.later.next() <= self.wall:
            due = self.later.take_due(self.wall, self.sizes.page)
            self._due.update(due)
            self.to_release.extend(due)
        ready: dict[JobQueue, int] = {}
        for _ in range(self.sizes.page):  # of a million that are due at midnight
            if not self.releasable:
                break
            self._arrive_due(self.to_release.popleft(), {}, ready, [])
        return ready

    @property
    def releasable(self) -> bool:
        """The next job that is due is in memory, and those before it are in their queues."""
        return bool(self.to_release) and not (self._releasing or self._is_to_be_read(self.to_release[0]))

    @property
    def unsettled(self) -> bool:
        """There are jobs on their way to their queues."""
        return bool(self.replay or self._due)

    def next_fetch(self) -> Fetch | None:
        """What to read next; it must end in `arrived` or `put_back`."""
        if not self.wanting:
            return None
        fetch = Fetch()
        if self._to_return:
            fetch.returning.append(self._to_return.popleft())
            fetch.ids = [job.id for job in fetch.returning]
        elif self.to_release and not self._releasing:
            self._releasing = True
            most = min(self.sizes.tight_page, self._careful, len(self.to_release))  # their sizes are not known
            fetch.due = [self.to_release.popleft() for _ in range(most)]
            fetch.ids = [id_ for id_ in fetch.due if self._is_to_be_read(id_)]
        else:
            self._take_pages(fetch)
        return fetch

    def _take_pages(self, fetch: Fetch) -> None:
        count, most_bytes = self._page
        count = min(count, self._careful)
        while self.hungry and len(fetch.ids) < min(self.sizes.page, self._careful) and most_bytes > 0:
            queue = next(iter(self.hungry))
            del self.hungry[queue]
            assert queue.tail is not None
            entries = queue.tail.take(count, most_bytes)
            queue.loading = True
            most_bytes -= sum(size for _, size in entries)
            fetch.pages.append((queue, entries))
            fetch.ids += self._to_be_read([id_ for id_, _ in entries])

    def _to_be_read(self, ids: list[int]) -> list[int]:
        if not self.skipped and self.jobs.keys().isdisjoint(ids):  # as a rule
            return ids
        return [id_ for id_ in ids if self._is_to_be_read(id_)]

    def _is_to_be_read(self, id_: int) -> bool:
        job = self.jobs.get(id_)
        return job.partial if job is not None else id_ not in self.skipped

    def put_back(self, fetch: Fetch) -> None:
        """The rows could not be read. The next fetches are smaller, so that a row which is the cause stands alone, and
        begin with others.
        """
        self._failing = True
        self._careful = max(1, min(self._careful, len(fetch.ids)) // 2)
        for queue, entries in fetch.pages:
            assert queue.tail is not None
            queue.tail.put_back(entries)
            queue.loading = False
            del self._filling[queue]
            self.want(queue)
        self._to_return.extend(fetch.returning)
        if fetch.due:
            self._releasing = False
            self.to_release.extendleft(reversed(fetch.due))

    def arrived(self, fetch: Fetch, records: Iterable[JobRecord]) -> tuple[dict[JobQueue, int], list[Job]]:
        """Take in what was read: how many jobs of which queues can be handed out now; and jobs without a row.

        These others are removed from the index, but for telling their clients.
        """
        self._failing = False
        self._careful = min(2 * self._careful, self.sizes.page)
        rows = {record[0]: record for record in records}
        ready: dict[JobQueue, int] = {}
        lost: list[Job] = []
        for queue, entries in fetch.pages:
            self._arrive_in(queue, [id_ for id_, _ in entries], rows, ready, lost)
        for job in fetch.returning:
            self._arrive_again(job, rows, ready, lost)
        for id_ in fetch.due:
            self._arrive_due(id_, rows, ready, lost)
        if fetch.due:
            self._releasing = False
        return ready, lost

    def _arrive_in(
        self,
        queue: JobQueue,
        ids: list[int],
        rows: Mapping[int, JobRecord],
        ready: dict[JobQueue, int],
        lost: list[Job],
    ) -> None:
        arrived: list[Job] = []
        made = 0
        for id_ in ids:
            row = rows.get(id_)
            if row is not None and id_ not in self.jobs and id_ not in self.skipped:  # as nearly all are
                arrived.append(self._make(row, queue.function))
                made += 1
            elif id_ in self.skipped:
                self.skipped.discard(id_)
            else:
                queue.tailed -= 1
                job = self._whole(id_, rows, queue, lost)
                if job is not None:
                    self._now_elsewhere(job)
                    arrived.append(job)
        queue.push_all(arrived)
        queue.tailed -= made
        self.bare -= made
        self.used -= BARE_COST * made
        queue.loading = False
        del self._filling[queue]
        if not queue.tail:
            queue.tail = None
        if arrived:
            ready[queue] = len(arrived)
        self.grown(queue)
        self.want(queue)

    def _arrive_again(
        self, job: Job, rows: Mapping[int, JobRecord], ready: dict[JobQueue, int], lost: list[Job]
    ) -> None:
        self._returning.discard(job.id)
        if job.id in self.skipped:
            self.skipped.discard(job.id)
            return
        queue = job.function.queues[job.priority]
        queue.tailed -= 1
        if self._whole(job.id, rows, queue, lost) is not None:
            self._now_elsewhere(job)
            queue.give_back(job)
            ready[queue] = ready.get(queue, 0) + 1

    def _arrive_due(self, id_: int, rows: Mapping[int, JobRecord], ready: dict[JobQueue, int], lost: list[Job]) -> None:
        self._due.discard(id_)
        if id_ in self.skipped:
            self.skipped.discard(id_)
            return
        job = self._whole(id_, rows, None, lost)
        if job is None:
            return
        self._now_elsewhere(job)
        queue = job.function.queues[job.priority]
        if self.place(queue, job):
            ready[queue] = ready.get(queue, 0) + 1

    def _whole(self, id_: int, rows: Mapping[int, JobRecord], queue: JobQueue | None, lost: list[Job]) -> Job | None:
        """The job of a bare id, in memory with all that belongs to it; None when its row is gone."""
        job = self.jobs.get(id_)
        if job is not None and not job.partial:
            return job
        row = rows.get(id_)
        if row is None:
            self._row_is_gone(id_, job, queue, lost)
            return None
        if job is None:
            return self._make(row, self.function(row.function))
        self.used += len(row.data) - len(job.data)
        job.data, job.reducer, job.partial = row.data, row.reducer, False
        return job

    def _make(self, row: JobRecord, function: Function, *, noted: bool = True) -> Job:
        """A job of a row. `noted`: its unique key is among those of bare ids."""
        id_, _, unique, priority, attempts, _, run_at, reducer, data = row
        job = self.jobs[id_] = Job(id_, function, unique or b"", priority, True, data, run_at, reducer, attempts)
        job.noted = noted
        self.used += JOB_COST + len(data)
        return job

    def _row_is_gone(self, id_: int, job: Job | None, queue: JobQueue | None, lost: list[Job]) -> None:
        """Somebody has deleted it from the table."""
        self.gone += 1
        self.bare -= 1
        self.used -= BARE_COST
        if job is not None:
            job.tailed = False
            lost.append(job)
        elif queue is not None:
            queue.function.total -= 1

    def function(self, name: bytes) -> Function:
        """The function of this name, made when it is new."""
        function = self.functions.get(name)
        if function is None:
            function = self.functions[name] = Function(name)
            if self.max_queue:
                function.limits = (self.max_queue,) * len(PRIORITIES)
        return function

    def forget_unused(self) -> None:
        """Make room for new functions. One with limits of its own stays."""
        usual = (self.max_queue,) * len(PRIORITIES)
        for function in [one for one in self.functions.values() if one.unused and one.limits == usual]:
            del self.functions[function.name]

    # ---- packets that wait for rows

    def visit(self, entries: Iterable[Entry], asked: Iterable[int]) -> None:
        """Let jobs be found, without their payloads, until `dismiss`; what was asked for and is not there is absent."""
        for entry in entries:
            if entry.id in self._left or entry.id in self.skipped or entry.id in self.jobs:
                continue
            if entry.run_at == DEAD:
                self.dead_visitors.add(entry.id)
                continue
            record = JobRecord(*entry[:5], 0, entry.run_at, None, entry.data or b"")
            job = self._make(record, self.function(entry.function))
            job.partial = job.tailed = True
            self._visitors.append(job)
        self._absent.update(id_ for id_ in asked if id_ not in self.jobs and id_ not in self.dead_visitors)

    def dismiss(self) -> None:
        """End the visit of jobs that nobody waits for."""
        for job in self._visitors:
            self.release(job)
        self._visitors.clear()
        self._absent.clear()
        self.dead_visitors.clear()

    def release(self, job: Job) -> None:
        """A job whose place is a bare id need not be in memory any more."""
        may_go = job.tailed and job.stored and self.readable and not job.clients and job.id not in self._returning
        if may_go and job.id in self.jobs and not self._is_awaited(job):
            self._unload((job,))

    def _is_awaited(self, job: Job) -> bool:
        """Its id is perhaps on its way to the head of its queue, without its row, since it is here."""
        return not job.partial and (job.id in self._due or job.function.queues[job.priority].loading)

    def bury(self, id_: int) -> None:
        """A dead job's row is removed; one that a replay has not met yet was not counted."""
        if not (self.replay and self.replay.skip(id_)):
            self.dead_rows -= 1

    def looking_up(self, ids: Iterable[int], leaving: Iterable[int]) -> None:
        """Rows are about to be looked up; `leaving` are ids of jobs that are over, whose rows may still be there."""
        self._lookups += 1
        self._asked.update(ids)
        self._left.update(self._asked.intersection(leaving))

    def looked_up(self) -> None:
        """The rows were looked up, and have visited."""
        self._lookups -= 1
        if not self._lookups:
            self._asked.clear()
            self._left.clear()
