"""The bounded index: which jobs there are, which of them are in memory, and what is to be read from the table.

A job's place is at the head of its queue, in memory, to be handed out; or it is a bare id: in the tail of its queue, or
among those whose time is to come. What has such a place need not be in memory (`jobs`): its row lies in the table. So
above `limit` bytes, and behind ids that are bare already, a committed job leaves memory. Foreground jobs, and jobs with
clients, stay, but their place is a bare id all the same: order is that of the ids.

What is to be read is told by `next_fetch` and taken in by `arrived`: pages for queues whose heads run low, payloads of
jobs that came back, jobs that are due.

A packet that needs a row which is not here raises NotResident. Whoever drives the broker reads what it names, calls
`visit`, gives the packet to its handler again, and calls `dismiss`: so the same handlers work on all jobs.

One class in four layers, each of which knows those below it only: what is in memory (residents.py), where jobs wait
(places.py), what is read and comes in (fetching.py), and here the end of jobs and the packets that need rows. How the
rows that the table held before the start get in is replay.py's.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import inf
from typing import Protocol

from gearmand_py.server.fetching import Fetching
from gearmand_py.server.jobs import Function, Job
from gearmand_py.server.places import Sizes
from gearmand_py.server.residents import JOB_COST
from gearmand_py.server.uniques import Key, Owner, Sees, name_of
from gearmand_py.storage.base import DEAD, Entry, JobRecord


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


class Index(Fetching):
    """Which jobs there are. `limit`: bytes for those that wait.

    Not `readable`: there is no table, and all stay in memory.
    """

    def __init__(self, limit: float = inf, *, readable: bool = True, sizes: Sizes | None = None) -> None:
        super().__init__(limit, readable=readable, sizes=sizes)
        self.dead_rows = 0  # that are in the table only
        # packets that wait for rows
        self._lookups = 0
        self._asked: set[int] = set()  # ids whose rows are being looked up
        self._left: set[int] = set()  # those of them whose jobs are over, whatever the rows say
        self._absent: set[int] = set()
        self._visitors: list[Job] = []
        self.dead_visitors: set[int] = set()

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

    def bury(self, id_: int) -> None:
        """A dead job's row is removed; one that a replay has not met yet was not counted."""
        if not (self.replay and self.replay.skip(id_)):
            self.dead_rows -= 1

    def bare_ids(self) -> Iterator[int]:
        """Of jobs that are not in memory, but for those that are being read just now; it may change meanwhile."""
        queues = (queue for function in list(self.functions.values()) for queue in function.queues)
        tails = (tail.ids() for queue in queues for tail in (queue.tail, queue.after) if tail)
        for id_ in chain(chain.from_iterable(tails), self.later.ids(), list(self.to_release)):
            if id_ not in self.jobs and id_ not in self.skipped:
                yield id_

    # ---- packets that need rows

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

    def wait_for_head(self, functions: Abilities) -> None:
        """Raises HeadComing if jobs of one of these functions are about to be in memory, or may be."""
        if self.replay and self.replay.young:
            raise HeadComing
        if self._failing:  # it may be long, and there may be other work soon
            return
        for queue in self._filling:
            if queue.tailed and queue.function in functions:
                raise HeadComing

    # ---- the rows they need

    def looking_up(self, ids: Iterable[int], leaving: Iterable[int]) -> None:
        """Rows are about to be looked up; `leaving` are ids of jobs that are over, whose rows may still be there."""
        self._lookups += 1
        self._asked.update(ids)
        self._left.update(self._asked.intersection(leaving))

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

    def looked_up(self) -> None:
        """The rows were looked up, and have visited."""
        self._lookups -= 1
        if not self._lookups:
            self._asked.clear()
            self._left.clear()

    def release(self, job: Job) -> None:
        """A job whose place is a bare id need not be in memory any more."""
        may_go = job.tailed and job.stored and self.readable and not job.clients and job.id not in self._returning
        if may_go and job.id in self.jobs and not self._is_awaited(job):
            self._unload((job,))

    def _is_awaited(self, job: Job) -> bool:
        """Its id is perhaps on its way to the head of its queue, without its row, since it is here."""
        return not job.partial and (job.id in self._due or job.function.queues[job.priority].loading)
