"""A server without sockets, on a storage that fails as it is told and a clock that is made up.

The broker and the connections are the server's own, on transports that lead nowhere. Each transport checks the promise
as it is kept: when a JOB_CREATED for a background job is written, its row is in the storage.
"""

import asyncio
import functools
import inspect
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Concatenate, Final, ParamSpec

from gearmand_py.server import packets
from gearmand_py.server.admin import Admin
from gearmand_py.server.broker import Broker
from gearmand_py.server.codec import Connection
from gearmand_py.server.connection import Client
from gearmand_py.server.dispatch import Dispatch
from gearmand_py.server.front import Front
from gearmand_py.server.ids import Ids
from gearmand_py.server.journal import HIGH_BYTES
from gearmand_py.storage.base import Changes, JobRecord, StorageRefused, StorageUnavailable

TIMEOUT: Final = 30.0
MOMENT: Final = 0.5  # longer than a linger or a backoff that begins, shorter than any timeout
FULL: Final = "the disk is full: make room"
AWAY: Final = "the database is restarting"
PREFIX: Final = b"H:test:"

Arguments = ParamSpec("Arguments")
Verdict = Callable[[Changes], Exception | None]


# ---- time that is made up


class JumpingSelector(selectors.DefaultSelector):
    """Does not wait: when nothing is ready, the clock jumps to where the wait would have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "all tasks wait for each other: nothing will ever happen"
            self.now += max(timeout, 0)
        return ready


class MadeUpTime(asyncio.SelectorEventLoop):
    """An event loop on which an outage of a minute takes no time, and always the same course."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


# ---- a storage that does as it is told


class MemoryStorage:
    """Rows in a dict.

    `before` says how a commit fails with nothing done, `after` how it fails when all is done (the answer got lost).
    While `gate` is closed commits wait.
    """

    description = "memory"

    def __init__(self) -> None:
        self.rows: dict[int, JobRecord] = {}
        self.ids_below = 0
        self.attempts: list[Changes] = []
        self.times: list[float] = []
        self.looks = 0  # commits of nothing
        self.done: set[bytes] = set()  # handles of jobs that a worker has ended
        self.gate = asyncio.Event()
        self.gate.set()
        self.before: Verdict = well
        self.after: Verdict = well
        self._busy = False

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def load(self, after: int, limit: int) -> Sequence[JobRecord]:
        return sorted(row for row in self.rows.values() if row.id > after)[:limit]

    def reader(self) -> None:
        """Nobody asks for one."""

    async def commit(self, changes: Changes) -> None:
        assert not self._busy, "two batches at a time"
        self._busy = True
        if any(changes):
            self.attempts.append(changes)
            self.times.append(asyncio.get_running_loop().time())
        else:
            self.looks += 1
        try:
            await self.gate.wait()
            if error := self.before(changes):
                raise error
            self._apply(changes)
            if error := self.after(changes):
                raise error
        finally:
            self._busy = False

    def _apply(self, changes: Changes) -> None:
        for id_ in changes.deletes:
            self.rows.pop(id_, None)
        for id_, attempts, run_at in changes.updates:
            if id_ in self.rows:
                self.rows[id_] = self.rows[id_]._replace(attempts=attempts, run_at=run_at)
        for record in changes.inserts:
            self.rows.setdefault(record.id, record)
        self.ids_below = changes.ids_below or self.ids_below

    @property
    def stored(self) -> list[bytes]:
        """The data of all rows, by id."""
        return [bytes(self.rows[id_].data) for id_ in sorted(self.rows)]


def well(_changes: Changes) -> None:
    """The storage does what it is asked."""


def refuse(_changes: Changes) -> StorageRefused:
    """The storage refuses everything."""
    return StorageRefused(FULL)


def refuse_inserts(changes: Changes) -> StorageRefused | None:
    """There is room for nothing new."""
    return StorageRefused(FULL) if changes.inserts else None


def refuse_uncertainly(_changes: Changes) -> StorageRefused:
    """The storage fails to sync what may be there all the same."""
    error = StorageRefused(FULL)
    error.unknown_outcome = True
    return error


def be_away(_changes: Changes) -> StorageUnavailable:
    """The storage cannot be reached."""
    return StorageUnavailable(AWAY)


def times(count: int, verdict: Verdict) -> Verdict:
    """`verdict` for that many commits; then all is well."""
    left = count

    def limited(changes: Changes) -> Exception | None:
        nonlocal left
        left -= 1
        return verdict(changes) if left >= 0 else None

    return limited


def from_the_second_on(verdict: Verdict) -> Verdict:
    """The first commit goes well."""
    first = times(1, lambda changes: StorageUnavailable(AWAY))
    return lambda changes: None if first(changes) else verdict(changes)


# ---- a server without sockets


class Link(asyncio.Transport):
    """The far end of a connection: sends requests, keeps what is answered."""

    def __init__(self, storage: MemoryStorage, client: Client) -> None:
        super().__init__()
        self.client = client
        self.reading = True
        self.answers: list[tuple[str, bytes]] = []
        self.writes = 0
        self.unread = 0  # bytes
        self._storage = storage
        self._codec = Connection(packets.RESPONSE)
        self._closing = False
        client.connection_made(self)

    # what the server's side calls

    def write(self, data: Any) -> None:
        self.writes += 1
        for kind, body in self._codec.feed(bytes(data)):
            if kind == packets.JOB_CREATED:
                job = self.client.front.broker.find(body)
                assert job or body in self._storage.done, "acknowledged and not there"
                if job and job.background:
                    assert job.id in self._storage.rows, "acknowledged before its commit"
                    assert job.id < self._storage.ids_below, "another start may give this id again"
            self.answers.append((packets.name(kind), body))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        assert self.reading, "paused twice: an event loop would raise"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice: an event loop would raise"
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True
        asyncio.get_running_loop().call_soon(self.client.connection_lost, None)

    # what a test calls

    def send(self, *requests: bytes) -> None:
        """Everything arrives in one read."""
        assert self.reading, "the server does not read this connection now"
        self.client.data_received(b"".join(requests))

    def submit(self, *data: bytes, function: bytes = b"f", unique: bytes = b"") -> None:
        """Background jobs, in one read."""
        self.send(*[packets.request(packets.SUBMIT_JOB_BG, function, unique, each) for each in data])

    async def submit_many(self, *data: bytes) -> None:
        """The same, until all are handled, some each turn of the loop, or the batch is full."""
        self.submit(*data)
        while self.client.front.turns.busy and not self.client.front.journal.full:
            await asyncio.sleep(0)

    def take(self, function: bytes = b"f") -> bytes:
        """Grab a job, as a worker; returns its handle."""
        self.send(packets.request(packets.CAN_DO, function), packets.request(packets.GRAB_JOB))
        kind, body = self.answers.pop()
        assert kind == "JOB_ASSIGN"
        return body.split(b"\0", 1)[0]

    def complete(self, handle: bytes, result: bytes = b"") -> None:
        self._storage.done.add(handle)
        self.send(packets.request(packets.WORK_COMPLETE, handle, result))

    def work_off(self, count: int) -> None:
        """Grab and complete this many jobs."""
        for _ in range(count):
            self.complete(self.take())

    def leave(self) -> None:
        """Close the connection."""
        self._closing = True
        self.client.connection_lost(None)

    @property
    def kinds(self) -> list[str]:
        """What was answered, without the arguments."""
        return [kind for kind, _ in self.answers]


class Bench:
    """A running journal with a real broker, and connections to it."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.broker = Broker(Ids(0), PREFIX)
        dispatch = Dispatch(self.broker, Admin(self.broker, version="0", pid=1, verbose="INFO"))
        self.front = Front(dispatch, self.storage, max_packet=2 * HIGH_BYTES, storage_timeout=TIMEOUT)
        self.running = asyncio.create_task(self.front.journal.run())

    def connect(self) -> Link:
        return Link(self.storage, Client(self.front))

    async def store(self, *data: bytes) -> None:
        """Have jobs in the table."""
        submitter = self.connect()
        submitter.submit(*data)
        await moment()
        assert submitter.kinds == ["JOB_CREATED"] * len(data)
        submitter.leave()

    async def stop(self) -> None:
        """Stop the journal; fails when it does not come to an end."""
        self.front.journal.stop()
        async with asyncio.timeout(TIMEOUT):
            await self.running


@asynccontextmanager
async def running_bench() -> AsyncIterator[Bench]:
    bench = Bench()
    try:
        yield bench
        if bench.running.done():
            bench.running.result()
    finally:
        bench.running.cancel()
        await asyncio.wait([bench.running])


def on_a_bench(
    test: Callable[Concatenate[Bench, Arguments], Coroutine[Any, Any, None]],
) -> Callable[Arguments, None]:
    """Run a test on made-up time; its first argument is the bench, the others are fixtures."""

    async def main(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        async with running_bench() as bench:
            await test(bench, *args, **kwargs)

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with asyncio.Runner(loop_factory=MadeUpTime) as runner:
            runner.run(main(*args, **kwargs))

    fixtures = list(inspect.signature(test).parameters.values())[1:]
    run.__signature__ = inspect.Signature(fixtures)  # type: ignore[attr-defined]
    return run


async def moment() -> None:
    """Let happen what happens at once."""
    await asyncio.sleep(MOMENT)


def refused(reason: str) -> tuple[str, bytes]:
    """The answer to a background submission that could not be stored."""
    return "ERROR", b"QUEUE_ERROR\0" + reason.encode()
