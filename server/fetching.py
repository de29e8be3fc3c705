"""What is to be read from the table ahead of need, and how it comes in: the next ids of queues whose heads run low,
payloads of jobs that came back, jobs that are due. `next_fetch` tells it, `arrived` takes it in.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from gearmand_py.server.jobs import Job, JobQueue
from gearmand_py.server.places import Places, Sizes
from gearmand_py.server.residents import BARE_COST
from gearmand_py.storage.base import JobRecord


@dataclass(slots=True)
class Fetch:
    """Rows to be read, and for what: the next ids of queues, jobs that came back, jobs that are due."""

    ids: list[int] = field(default_factory=list)
    pages: list[tuple[JobQueue, list[tuple[int, int]]]] = field(default_factory=list)
    returning: list[Job] = field(default_factory=list)
    due: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Arrival:
    """Rows that were read, and what came of it: how many jobs of which queues can be handed out, jobs without a row."""

    rows: Mapping[int, JobRecord]
    ready: dict[JobQueue, int] = field(default_factory=dict)
    lost: list[Job] = field(default_factory=list)
    gone: int = 0  # rows that were not there

    def add(self, queue: JobQueue, count: int = 1) -> None:
        """So many more can be handed out."""
        self.ready[queue] = self.ready.get(queue, 0) + count


class Fetching(Places):
    """Places of jobs, filled from the table."""

    def __init__(self, limit: float = inf, *, readable: bool = True, sizes: Sizes | None = None) -> None:
        super().__init__(limit, readable=readable, sizes=sizes)
        # jobs to be read, and their ids until they have arrived
        self._to_return: deque[Job] = deque()
        self._returning: set[int] = set()
        self.to_release: deque[int] = deque()
        self._due: set[int] = set()
        self._releasing = False  # jobs that are due are being read: those after them wait
        self._careful = self.sizes.page  # ids of a fetch: fewer after one that failed
        self._failing = False  # the last fetch could not be read

    # ---- what to read

    @property
    def wanting(self) -> bool:
        """There is something to read."""
        return bool(self.hungry or self._to_return or (self.to_release and not self._releasing))

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

    # ---- jobs that are due, or came back

    def release_due(self) -> dict[JobQueue, int]:
        """Queue jobs whose time has come, or have them read first; how many of which queues can be handed out now?"""
        if self.later.next() <= self.wall:
            due = self.later.take_due(self.wall, self.sizes.page)
            self._due.update(due)
            self.to_release.extend(due)
        arrival = Arrival({})
        for _ in range(self.sizes.page):  # of a million that are due at midnight
            if not self.releasable:
                break
            self._arrive_due(self.to_release.popleft(), arrival)
        return arrival.ready

    @property
    def releasable(self) -> bool:
        """The next job that is due is in memory, and those before it are in their queues."""
        return bool(self.to_release) and not (self._releasing or self._is_to_be_read(self.to_release[0]))

    @property
    def unsettled(self) -> bool:
        """There are jobs on their way to their queues."""
        return bool(self.replay or self._due)

    def returns(self, job: Job) -> None:
        """A job came back without its payload."""
        self._to_return.append(job)
        self._returning.add(job.id)
        job.tailed = True
        job.function.queues[job.priority].tailed += 1
        self.bare += 1
        self.used += BARE_COST

    # ---- what was read

    def arrived(self, fetch: Fetch, records: Iterable[JobRecord]) -> Arrival:
        """Take in what was read. Jobs without a row are removed from the index, but for telling their clients."""
        self._failing = False
        self._careful = min(2 * self._careful, self.sizes.page)
        arrival = Arrival({record[0]: record for record in records})
        for queue, entries in fetch.pages:
            self._arrive_in(queue, [id_ for id_, _ in entries], arrival)
        for job in fetch.returning:
            self._arrive_again(job, arrival)
        for id_ in fetch.due:
            self._arrive_due(id_, arrival)
        if fetch.due:
            self._releasing = False
        return arrival

    def _arrive_in(self, queue: JobQueue, ids: list[int], arrival: Arrival) -> None:
        rows, arrived, made = arrival.rows, [], 0
        for id_ in ids:
            row = rows.get(id_)
            if row is not None and id_ not in self.jobs and id_ not in self.skipped:  # as nearly all are
                arrived.append(self._make(row, queue.function))
                made += 1
            elif id_ in self.skipped:
                self.skipped.discard(id_)
            else:
                queue.tailed -= 1
                job = self._whole(id_, arrival, queue)
                if job is not None:
                    self._now_elsewhere(job)
                    arrived.append(job)
        queue.tailed -= made
        self.bare -= made
        self.used -= BARE_COST * made
        queue.push_all(arrived)
        if arrived:
            arrival.add(queue, len(arrived))
        self._filled(queue)

    def _filled(self, queue: JobQueue) -> None:
        queue.loading = False
        del self._filling[queue]
        if not queue.tail:
            queue.tail = None
        self.grown(queue)
        self.want(queue)

    def _arrive_again(self, job: Job, arrival: Arrival) -> None:
        self._returning.discard(job.id)
        if job.id in self.skipped:
            self.skipped.discard(job.id)
            return
        queue = job.function.queues[job.priority]
        queue.tailed -= 1
        if self._whole(job.id, arrival, queue) is not None:
            self._now_elsewhere(job)
            queue.give_back(job)
            arrival.add(queue)

    def _arrive_due(self, id_: int, arrival: Arrival) -> None:
        self._due.discard(id_)
        if id_ in self.skipped:
            self.skipped.discard(id_)
            return
        job = self._whole(id_, arrival)
        if job is None:
            return
        self._now_elsewhere(job)
        queue = job.function.queues[job.priority]
        if self.place(queue, job):
            arrival.add(queue)

    def _whole(self, id_: int, arrival: Arrival, queue: JobQueue | None = None) -> Job | None:
        """The job of a bare id, in memory with all that belongs to it; None when its row is gone."""
        job = self.jobs.get(id_)
        if job is not None and not job.partial:
            return job
        row = arrival.rows.get(id_)
        if row is None:
            self._row_is_gone(job, arrival, queue)
            return None
        if job is None:
            return self._make(row, self.function(row.function))
        self.used += len(row.data) - len(job.data)
        job.data, job.reducer, job.partial = row.data, row.reducer, False
        return job

    def _row_is_gone(self, job: Job | None, arrival: Arrival, queue: JobQueue | None) -> None:
        """Somebody has deleted it from the table."""
        arrival.gone += 1
        self.bare -= 1
        self.used -= BARE_COST
        if job is not None:
            job.tailed = False
            arrival.lost.append(job)
        elif queue is not None:
            queue.function.total -= 1
