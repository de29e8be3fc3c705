"""A batch: what one transaction will hold, and who waits for it."""

from collections.abc import Callable

from gearmand_py.server.jobs import Job
from gearmand_py.server.peers import Held, Outgoing, Peer
from gearmand_py.storage.base import Changes, Payload, Update


class Batch:
    """The changes of one transaction while they gather, are committed, and are made known.

    `inserts` become runnable with the commit. `adopted` are rows too, of foreground jobs that a background submission
    joined: those are already runnable, or running.
    """

    __slots__ = ("adopted", "data_bytes", "deletes", "inserts", "number", "postponed", "updates", "waiters")

    def __init__(self, number: int) -> None:
        self.number = number
        self.inserts: list[Job] = []
        self.adopted: dict[Job, None] = {}
        self.deletes: list[int] = []
        self.updates: dict[int, Update] = {}
        self.waiters: list[Peer] = []  # each once
        self.data_bytes = 0
        self.postponed = False  # a later batch has taken over its deletes and updates

    @property
    def empty(self) -> bool:
        """Nothing to write and nobody waits."""
        return not (self.inserts or self.deletes or self.updates or self.adopted or self.waiters)

    def changes(self, node: int) -> Changes:
        """What the storage is asked to commit."""
        rows = [job.record(node) for job in self.inserts]
        rows += [job.record(node) for job in self.adopted]
        return Changes(self.deletes, list(self.updates.values()), rows)

    def hold(self, peer: Peer) -> list[Outgoing]:
        """Where to put what `peer` may only be told once this batch is committed."""
        if peer.fence is None or peer.fence.number < self.number:
            peer.fence = self
            peer.tail = Held()
            peer.held.append(peer.tail)
            self.waiters.append(peer)
        return peer.tail

    def deny(self, jobs: set[Job], answer: bytes) -> None:
        """Whoever waits for the row of one of `jobs` gets `answer` in its place."""
        for peer in self.waiters:
            for waiting in peer.held:
                waiting[:] = [answer if isinstance(out, Job) and out in jobs else out for out in waiting]

    def release(self, created: Callable[[Job], bytes]) -> None:
        """Let go what waited for this batch; `created` makes an acknowledgement of a job."""
        for peer in self.waiters:
            peer.outbox.extend(
                [created(out) if isinstance(out, Job) else self._final(out) for out in peer.held.popleft()]
            )
            if not peer.held:
                peer.fence = None
                peer.tail = peer.outbox

    def _final(self, out: Payload | tuple[bytes, bytes]) -> Payload:
        return out[self.postponed] if isinstance(out, tuple) else out

    def forget(self, job: Job) -> None:
        """Take a row out again before the batch is committed: its job is gone."""
        del self.adopted[job]  # only an adopted one can end before its row is there
        self.data_bytes -= len(job.data)
        job.batch = None

    def leave_out(self, job: Job) -> None:
        """A row that was refused is not tried again with the others: it might be stored then, its submitter told no."""
        self.inserts = [other for other in self.inserts if other is not job]
        self.adopted.pop(job, None)
        self.data_bytes -= len(job.data)

    def inherit(self, older: "Batch") -> None:
        """Take over the deletes and updates of a batch that could not be committed."""
        older.postponed = True
        self.deletes[:0] = older.deletes
        self.updates = {**older.updates, **self.updates}
