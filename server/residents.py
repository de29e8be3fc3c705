"""Jobs in memory: by their ids and unique keys, what they take, and the functions there are."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from gearmand_py.server.jobs import PRIORITIES, Function, Job, coalesce_key
from gearmand_py.server.uniques import Key, Uniques
from gearmand_py.storage.base import BY_PAYLOAD, JobRecord

# Resident bytes of a job without its payload (docs/benchmarks.md), and of a bare id with its key.
JOB_COST: Final = 460
BARE_COST: Final = 32
# A payload from this size on leaves memory while its job runs; it is read again if the job comes back.
UNLOADED: Final = 64 * 1024


class Residents:
    """Jobs that are in memory. `limit` and `readable`: see `Index`."""

    def __init__(self, limit: float = inf, *, readable: bool = True) -> None:
        self.limit = limit if readable else inf
        self.readable = readable
        self.used = 0  # bytes, of jobs in memory and bare ids, about; rows of batches are bounded by the journal
        self.foreground = 0  # those of jobs that are in no table
        self.max_queue = 0  # what functions begin with: jobs of each, 0 without limit
        self.jobs: dict[int, Job] = {}
        self.functions: dict[bytes, Function] = {}
        self.uniques = Uniques(self.limit / BARE_COST)

    # ---- functions

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

    # ---- jobs

    def add(self, job: Job, key: Key | None) -> None:
        """A new foreground job, and its unique key."""
        self.jobs[job.id] = job
        size = JOB_COST + len(job.data)
        self.used += size
        self.foreground += size
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

    def _to_jobs(self, function: Function, rows: Sequence[JobRecord], joined: Mapping[int, Job]) -> list[Job]:
        """Rows that are committed become jobs in memory."""
        jobs = [joined.get(row.id) or self._make(row, function, noted=False) for row in rows]
        self.uniques.pass_on(rows, jobs)
        return jobs

    def _make(self, row: JobRecord, function: Function, *, noted: bool = True) -> Job:
        """A job of a row. `noted`: its unique key is among those of bare ids."""
        id_, _, unique, priority, attempts, _, run_at, reducer, data = row
        job = self.jobs[id_] = Job(id_, function, unique or b"", priority, True, data, run_at, reducer, attempts)
        job.noted = noted
        self.used += JOB_COST + len(data)
        return job

    def _unload(self, jobs: Sequence[Job]) -> None:
        """Let jobs of one function out of memory."""
        own = self.jobs
        for job in jobs:
            del own[job.id]
        self.used -= JOB_COST * len(jobs) + sum([len(job.data) for job in jobs])
        if jobs:
            self.uniques.spill(jobs[0].function, [job for job in jobs if not job.noted])

    def handed_out(self, job: Job) -> None:
        """A large payload that is on its way to a worker is not kept."""
        if self.readable and job.stored and job.unique != BY_PAYLOAD:
            self.used -= len(job.data)
            job.data = b""
            job.partial = True
