"""The rows that the table held before the start, while they become known.

They are streamed in the order of their ids, `streamed` page by page, while the server serves. Until `finish`:

- a new job stands behind the rows of its queue that are not known yet: it waits in `queue.after`. Which functions have
  such rows is known soon (`backlog_is`), and then the others wait no more. Before that, a foreground job is not kept
  waiting by rows that may not be: it goes at once if no row of its queue has been met;
- a submission with a unique key asks the table whether one of these rows has it (NotResident with a key, `learned`).
"""

from collections.abc import Collection, Sequence

from gearmand_py.server.index import Index, NotResident
from gearmand_py.server.jobs import Function, Job, JobQueue, coalesce_key
from gearmand_py.server.residents import BARE_COST
from gearmand_py.server.tails import Tail
from gearmand_py.server.uniques import Key
from gearmand_py.storage.base import DEAD, Entry

TableKey = tuple[bytes, bytes]  # function and unique key as the table has them


class Replay:
    """`upto`: the highest id there was at the start. The index knows of it until `finish`."""

    def __init__(self, index: Index, upto: int) -> None:
        self.upto = upto
        self.position = 0  # all rows up to this id are known
        self.rows = 0  # read
        self.young = True  # it may be over in a moment: a worker without a job waits that long
        self.total = 0  # there were, when that is known
        self._index = index
        self._backlog: Collection[tuple[bytes, int]] | None = None
        self._behind: dict[JobQueue, None] = {}  # queues with jobs in `after`
        self._searched: set[TableKey] = set()
        self._ahead: set[int] = set()  # rows whose unique keys are known before their turn
        self._skipped: set[int] = set()  # rows that were cancelled before their turn
        index.replay = self

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        return f"{self.rows} of {self.total}" if self.total else f"{self.rows} so far"

    # ---- new jobs

    def comes_before(self, queue: JobQueue, job: Job) -> bool:
        """There may be rows that go before a new job of this queue."""
        if self._backlog is not None:
            return (queue.function.name, queue.priority) in self._backlog
        return job.background or queue.tail is not None or queue.after is not None

    def after(self, queue: JobQueue) -> Tail:
        """Where new jobs of a queue wait."""
        if queue.after is None:
            queue.after = Tail()
            self._behind[queue] = None
        return queue.after

    def check(self, function: Function, key: Key) -> None:
        """Raises NotResident if a row that is not known yet may have the key."""
        if not isinstance(key, bytes):
            raise NotResident
        if (function.name, key) not in self._searched:
            raise NotResident(key=(function.name, key))

    def skip(self, id_: int) -> bool:
        """A job was cancelled: if its row is not known yet it is left out when its turn comes."""
        ahead = self.position < id_ <= self.upto
        if ahead:
            self._skipped.add(id_)
        return ahead

    # ---- what is read

    def streamed(self, entries: Sequence[Entry]) -> None:
        """The next rows."""
        index = self._index
        touched: dict[JobQueue, None] = {}
        for id_, name, unique, priority, _, run_at, size, data in entries:
            if id_ in self._skipped:
                self._skipped.discard(id_)
                continue
            if run_at == DEAD:
                index.dead_rows += 1
                continue
            function = index.functions.get(name) or index.function(name)
            function.total += 1
            index.bare += 1
            index.used += BARE_COST
            if run_at and index.is_to_come(run_at):
                index.later.add(id_, run_at, index.wall)
            else:
                queue = function.queues[priority]
                if queue.tail is None:
                    queue.tail = Tail()
                queue.tail.append((id_,), (size,))
                queue.tailed += 1
                touched[queue] = None
            if unique:
                self._note(function, coalesce_key(unique, data or b""), id_)
        self.rows += len(entries)
        self.position = entries[-1].id
        for queue in touched:
            index.want(queue)

    def _note(self, function: Function, key: Key | None, id_: int) -> None:
        if id_ in self._ahead:
            self._ahead.discard(id_)
        elif key is not None:
            self._index.uniques.note(function, key, id_)

    def backlog_is(self, backlog: Collection[tuple[bytes, int]]) -> None:
        """These functions and priorities have rows. The jobs of others need not wait."""
        self._backlog = backlog
        for queue in list(self._behind):
            if (queue.function.name, queue.priority) not in backlog:
                self._let_go(queue)

    def learned(self, keys: Collection[TableKey], entries: Sequence[Entry]) -> None:
        """Which rows have these unique keys, now that the table was asked."""
        self._searched.update(keys)
        for entry in entries:
            known = entry.id <= self.position or entry.id in self._ahead or entry.id in self._skipped
            if not known and entry.unique:
                self._index.uniques.note(self._index.function(entry.function), entry.unique, entry.id)
                self._ahead.add(entry.id)

    def finish(self) -> None:
        """All is known."""
        self._index.replay = None
        for queue in list(self._behind):
            self._let_go(queue)

    def _let_go(self, queue: JobQueue) -> None:
        del self._behind[queue]
        waiting, queue.after = queue.after, None
        if waiting:
            queue.tail = queue.tail or Tail()
            queue.tail.extend(waiting)
            self._index.want(queue)
