"""A batch: what one transaction will hold, and who waits for it."""

from gearmand_py.server.jobs import Job
from gearmand_py.server.peers import Outgoing, Peer
from gearmand_py.storage.base import Changes, Update


class Batch:
    """The changes of one transaction while they gather, are committed, and are made known.

    `inserts` become runnable with the commit. `adopted` are rows too, of foreground jobs that a background submission
    joined: those are already runnable, or running.
    """

    __slots__ = ("adopted", "data_bytes", "deletes", "inserts", "number", "updates", "waiters")

    def __init__(self, number: int) -> None:
        self.number = number
        self.inserts: list[Job] = []
        self.adopted: list[Job] = []
        self.deletes: list[int] = []
        self.updates: dict[int, Update] = {}
        self.waiters: list[Peer] = []  # each once
        self.data_bytes = 0

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
            peer.tail = []
            peer.held.append(peer.tail)
            self.waiters.append(peer)
        return peer.tail

    def forget(self, job: Job) -> None:
        """Take a row out again before the batch is committed: its job is gone."""
        rows = self.adopted if job in self.adopted else self.inserts
        rows.remove(job)
        job.batch = None

    def inherit(self, older: "Batch") -> None:
        """Take over the deletes and updates of a batch that could not be committed."""
        self.deletes[:0] = older.deletes
        self.updates = {**older.updates, **self.updates}
