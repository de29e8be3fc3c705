"""A batch: what one transaction will hold, and who waits for it."""

from collections.abc import Callable

from gearmand_py.server.jobs import Job
from gearmand_py.server.peers import Held, Outgoing, Peer
from gearmand_py.storage.base import Changes, JobRecord, Payload, Update


class Batch:
    """The changes of one transaction while they gather, are committed, and are made known.

    `inserts`, by rising ids, become jobs or bare ids with the commit; those of them that a foreground submission has
    `joined` are jobs already. `adopted` are rows too, of foreground jobs that a background submission joined: those are
    already runnable, or running.
    """

    __slots__ = ("adopted", "data_bytes", "deletes", "inserts", "joined", "number", "postponed", "updates", "waiters")

    def __init__(self, number: int) -> None:
        self.number = number
        self.inserts: list[JobRecord] = []
        self.joined: dict[int, Job] = {}  # by id
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
        rows = [*self.inserts, *(job.record(node) for job in self.adopted)] if self.adopted else self.inserts
        return Changes(self.deletes, list(self.updates.values()), rows)

    def may_hold(self, id_: int) -> bool:
        """Whether the id can be that of one of its new rows, or of a later batch's: ids only rise."""
        return bool(self.inserts) and self.inserts[0].id <= id_

    def hold(self, peer: Peer) -> list[Outgoing]:
        """Where to put what `peer` may only be told once this batch is committed."""
        if peer.fence is None or peer.fence.number < self.number:
            peer.fence = self
            peer.tail = Held()
            peer.held.append(peer.tail)
            self.waiters.append(peer)
        return peer.tail

    def deny(self, ids: set[int], answer: bytes) -> None:
        """Whoever waits for one of these rows gets `answer` in its place."""
        for peer in self.waiters:
            for waiting in peer.held:
                waiting[:] = [answer if isinstance(out, int) and out in ids else out for out in waiting]

    def release(self, created: Callable[[int], bytes]) -> None:
        """Let go what waited for this batch; `created` makes the acknowledgement of an id."""
        for peer in self.waiters:
            peer.outbox.extend(
                [created(out) if isinstance(out, int) else self._final(out) for out in peer.held.popleft()]
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

    def leave_out(self, id_: int) -> None:
        """A row that was refused is not tried again with the others: it might be stored then, its submitter told no."""
        left_out = [row for row in self.inserts if row.id == id_]
        self.inserts = [row for row in self.inserts if row.id != id_]
        self.joined.pop(id_, None)
        for job in [job for job in self.adopted if job.id == id_]:
            del self.adopted[job]
            self.data_bytes -= len(job.data)
        self.data_bytes -= sum(len(row.data) for row in left_out)

    def ids(self) -> list[int]:
        """Of its rows."""
        return [row.id for row in self.inserts] + [job.id for job in self.adopted]

    def inherit(self, older: "Batch") -> None:
        """Take over the deletes and updates of a batch that could not be committed."""
        older.postponed = True
        self.deletes[:0] = older.deletes
        self.updates = {**older.updates, **self.updates}
