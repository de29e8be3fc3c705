"""From packets to the broker: one dict of handlers, which is also the readable index of the protocol.

A handler gets the peer and the body of a packet. It raises RequestError for what cannot be done; the shell tells the
peer, and nothing else changes. It raises NotResident before it has changed anything, and is called again (index.py).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

from gearmand_py.server import packets
from gearmand_py.server.admin import Admin, err
from gearmand_py.server.broker import Broker
from gearmand_py.server.codec import Packet
from gearmand_py.server.errors import RequestError
from gearmand_py.server.jobs import HIGH, LOW, NORMAL, Job
from gearmand_py.server.packets import LARGE, RESPONSE, around, ending_with, pack, response
from gearmand_py.server.peers import Outgoing, Peer
from gearmand_py.server.residents import UNLOADED
from gearmand_py.server.schedule import next_match
from gearmand_py.server.uniques import Owner
from gearmand_py.storage.base import RUN_AT_ONCE, JobRecord, Payload

Handler = Callable[[Peer, bytes], None]


class Unfinished(Exception):
    """More of an answer is to follow, a slice at a time, and whoever asked has had a turn: its next packets wait."""

    def __init__(self, slices: Iterator[Outgoing]) -> None:
        super().__init__()
        self.slices = slices


MAX_CLIENT_ID = 127  # as the C server cuts it
AUTH = b"auth:"  # what a secret follows (guard.py)
ZERO = b"0"
# An answer of a text command from this size on (bytes) is as much as a connection gets before others have their turn.
TURN = 4096
# What a worker says of a job goes to all who wait for it. Who has told more than a few waits for a turn, one for each
# so many: to tell these takes as long as a slice of a listing.
FEW_WAITING = 100
TOLD_IN_A_TURN = 2000
# What a worker says of its progress is kept for GET_STATUS; numbers are not longer than this.
MAX_PROGRESS = 64
# Larger numbers count as these: a time that floats still tell from its neighbours, and some thousand years.
MAX_RUN_AT = 1 << 53
MAX_TIMEOUT = 1 << 45

NO_JOB_FOR = {
    packets.WORK_DATA: "Job does not exist on server",
    packets.WORK_WARNING: "Job does not exist on server",
    packets.WORK_EXCEPTION: "An exception was received for a job that does not exist",
}
UNREADABLE = "The database cannot be read just now"
SUBMISSIONS = frozenset(
    {
        packets.SUBMIT_JOB,
        packets.SUBMIT_JOB_BG,
        packets.SUBMIT_JOB_HIGH,
        packets.SUBMIT_JOB_HIGH_BG,
        packets.SUBMIT_JOB_LOW,
        packets.SUBMIT_JOB_LOW_BG,
        packets.SUBMIT_JOB_SCHED,
        packets.SUBMIT_JOB_EPOCH,
        packets.SUBMIT_REDUCE_JOB,
        packets.SUBMIT_REDUCE_JOB_BACKGROUND,
    }
)
BACKGROUND = SUBMISSIONS - {
    packets.SUBMIT_JOB,
    packets.SUBMIT_JOB_HIGH,
    packets.SUBMIT_JOB_LOW,
    packets.SUBMIT_REDUCE_JOB,
}
NO_JOB_FOR_RESULT = "Job given in work result not found"


class Dispatch:
    """The protocol's packets, as calls to a broker."""

    def __init__(self, broker: Broker, admin: Admin) -> None:
        self.broker = broker
        self.admin = admin
        self.handlers: dict[int, Handler] = {
            # clients
            packets.SUBMIT_JOB: self._submit(NORMAL, False),
            packets.SUBMIT_JOB_BG: self._submit(NORMAL, True),
            packets.SUBMIT_JOB_HIGH: self._submit(HIGH, False),
            packets.SUBMIT_JOB_HIGH_BG: self._submit(HIGH, True),
            packets.SUBMIT_JOB_LOW: self._submit(LOW, False),
            packets.SUBMIT_JOB_LOW_BG: self._submit(LOW, True),
            packets.SUBMIT_JOB_SCHED: self.submit_sched,
            packets.SUBMIT_JOB_EPOCH: self.submit_epoch,
            packets.SUBMIT_REDUCE_JOB: self._submit_reduce(False),
            packets.SUBMIT_REDUCE_JOB_BACKGROUND: self._submit_reduce(True),
            packets.GET_STATUS: self.get_status,
            packets.GET_STATUS_UNIQUE: self.get_status_unique,
            packets.OPTION_REQ: self.option,
            # workers
            packets.CAN_DO: self.can_do,
            packets.CAN_DO_TIMEOUT: self.can_do_timeout,
            packets.CANT_DO: self.cannot_do,
            packets.RESET_ABILITIES: self.reset_abilities,
            packets.SET_CLIENT_ID: self.set_client_id,
            packets.PRE_SLEEP: self.pre_sleep,
            packets.ALL_YOURS: self.all_yours,
            packets.GRAB_JOB: self.grab,
            packets.GRAB_JOB_UNIQ: self.grab_uniq,
            packets.GRAB_JOB_ALL: self.grab_all,
            packets.WORK_STATUS: self.work_status,
            packets.WORK_DATA: self._work_news(packets.WORK_DATA),
            packets.WORK_WARNING: self._work_news(packets.WORK_WARNING),
            packets.WORK_COMPLETE: self.work_complete,
            packets.WORK_FAIL: self.work_fail,
            packets.WORK_EXCEPTION: self.work_exception,
            # both
            packets.ECHO_REQ: self.echo,
            packets.TEXT: self.text,
            packets.WRONG_MAGIC: self.wrong_magic,
        }

    @staticmethod
    def unexpected(_peer: Peer, _body: bytes) -> None:
        """A packet that only a server sends, or that nobody does."""
        raise RequestError("INVALID_COMMAND", "Command not expected")

    # ---- to the broker, which guard.py stands before

    @property
    def submit(self) -> Callable[..., None]:
        """What takes a submission."""
        return self.broker.submit

    def offer(self, peer: Peer, function: bytes, seconds: float) -> None:
        """A worker can run a function."""
        self.broker.can_do(peer, function, seconds)

    # ---- clients

    def _submit(self, priority: int, background: bool) -> Handler:
        submit = self.submit

        def handle(peer: Peer, body: bytes) -> None:
            try:
                function, unique, data = body.split(b"\0", 2) if len(body) < LARGE else with_payload(body, 3)
            except ValueError:
                raise missing_arguments(3) from None
            submit(peer, function, unique, data, priority, background)

        return handle

    def submit_epoch(self, peer: Peer, body: bytes) -> None:
        """A job for later. A time that is past or not a number means now."""
        function, unique, when, data = with_payload(body, 4)
        self._submit_later(peer, function, unique, data, number(when, MAX_RUN_AT) or RUN_AT_ONCE)

    def submit_sched(self, peer: Peer, body: bytes) -> None:
        """A job for the next time that matches; in no C server, so the decision is ours."""
        function, unique, minute, hour, day, month, weekday, data = with_payload(body, 8)
        try:
            run_at = next_match(minute, hour, day, month, weekday, self.broker.wall)
        except ValueError as error:
            raise RequestError("INVALID_PACKET", f"Schedule is not valid: {error}") from None
        self._submit_later(peer, function, unique, data, run_at)

    def _submit_later(self, peer: Peer, function: bytes, unique: bytes, data: Payload, run_at: int) -> None:
        if run_at <= self.broker.wall:
            run_at = RUN_AT_ONCE
        self.submit(peer, function, unique, data, NORMAL, True, run_at)

    def _submit_reduce(self, background: bool) -> Handler:
        def handle(peer: Peer, body: bytes) -> None:
            function, unique, reducer, _aggregator, data = with_payload(body, 5)
            self.submit(peer, function, unique, data, NORMAL, background, RUN_AT_ONCE, reducer or None)

        return handle

    def get_status(self, peer: Peer, body: bytes) -> None:
        """Is the job known, does it run, how far is it?"""
        handle = only_argument(body)
        peer.tail.append(response(packets.STATUS_RES, handle, *state_of(seen(peer, self.broker.find(handle)))))

    def get_status_unique(self, peer: Peer, body: bytes) -> None:
        """The same by unique key, for any function that the peer may see; the C server takes any, too."""
        unique = only_argument(body)
        job = self.broker.find_unique(unique, peer.rights.sees)
        waiting = b"%d" % len(job.clients or ()) if isinstance(job, Job) else ZERO
        peer.tail.append(response(packets.STATUS_RES_UNIQUE, unique, *state_of(job), waiting))

    def option(self, peer: Peer, body: bytes) -> None:
        """The one option there is."""
        if only_argument(body).lower() != b"exceptions":
            raise RequestError("UNKNOWN_OPTION", "Server does not recognize given option")
        peer.exceptions = True
        peer.tail.append(pack(RESPONSE, packets.OPTION_RES, body))

    # ---- workers

    def can_do(self, peer: Peer, body: bytes) -> None:
        """The worker can run a function."""
        self.offer(peer, only_argument(body), 0)

    def can_do_timeout(self, peer: Peer, body: bytes) -> None:
        """The same with a time limit: 1 to 999 milliseconds count as 1000, 0 is none."""
        function, milliseconds = arguments(body, 2)
        limit = number(milliseconds.rstrip(b"\0") or ZERO, MAX_TIMEOUT)
        if limit is None:
            raise RequestError("INVALID_PACKET", "Timeout is not a number")
        self.offer(peer, function, max(1000, limit) / 1000 if limit > 0 else 0)

    def cannot_do(self, peer: Peer, body: bytes) -> None:
        """The worker can no longer run a function."""
        self.broker.cannot_do(peer, only_argument(body))

    def reset_abilities(self, peer: Peer, _body: bytes) -> None:
        """The worker can do nothing any more."""
        self.broker.forget_abilities(peer)

    def set_client_id(self, peer: Peer, body: bytes) -> None:
        """What `workers` shows of the peer; never a secret that stands before it."""
        if body[: len(AUTH)].lower() == AUTH:
            body = body.partition(b" ")[2]
        peer.client_id = body[:MAX_CLIENT_ID].rstrip(b"\0")

    def pre_sleep(self, peer: Peer, _body: bytes) -> None:
        """The worker waits for a NOOP."""
        self.broker.pre_sleep(peer)

    def all_yours(self, peer: Peer, _body: bytes) -> None:
        """The worker will take jobs from this server only: nothing to do. (The C server refuses it.)"""

    def grab(self, peer: Peer, _body: bytes) -> None:
        """The worker wants a job."""
        if grabbed := self.broker.grab(peer):
            handle, job = grabbed
            peer.tail += ending_with(job.data, packets.JOB_ASSIGN, handle, job.function.name)
            if len(job.data) >= UNLOADED:
                self.broker.index.handed_out(job)

    def grab_uniq(self, peer: Peer, _body: bytes) -> None:
        """The worker wants a job, with its unique key."""
        if grabbed := self.broker.grab(peer):
            handle, job = grabbed
            peer.tail += ending_with(job.data, packets.JOB_ASSIGN_UNIQ, handle, job.function.name, job.unique)
            if len(job.data) >= UNLOADED:
                self.broker.index.handed_out(job)

    def grab_all(self, peer: Peer, _body: bytes) -> None:
        """The worker wants a job, with its unique key, and its reducer if it has one."""
        if grabbed := self.broker.grab(peer):
            handle, job = grabbed
            name, reducer = job.function.name, job.reducer
            if reducer:
                peer.tail += ending_with(job.data, packets.JOB_ASSIGN_ALL, handle, name, job.unique, reducer)
            else:
                peer.tail += ending_with(job.data, packets.JOB_ASSIGN_UNIQ, handle, name, job.unique)
            if len(job.data) >= UNLOADED:
                self.broker.index.handed_out(job)

    def work_status(self, peer: Peer, body: bytes) -> None:
        """How far the job is: forwarded as it came, and kept. Raises Unfinished."""
        handle, numerator, denominator = arguments(body, 3)
        job = self._running(packets.WORK_STATUS, peer, handle)
        if job:
            denominator = denominator.partition(b"\0")[0]
            if len(numerator) > MAX_PROGRESS or len(denominator) > MAX_PROGRESS:
                raise RequestError("ARGUMENT_TOO_LARGE", f"A number of WORK_STATUS is over {MAX_PROGRESS} bytes")
            job.status = numerator, denominator
            self.broker.forward(job, pack(RESPONSE, packets.WORK_STATUS, body))
            take_turns(job)

    def _work_news(self, kind: int) -> Handler:
        """WORK_DATA and WORK_WARNING. Their handler raises Unfinished."""

        def handle(peer: Peer, body: bytes) -> None:
            if job := self._running(kind, peer, handle_of(body)):
                self._report(job, kind, body)
                take_turns(job)

        return handle

    def work_complete(self, peer: Peer, body: bytes) -> None:
        """The job is done."""
        handle = handle_of(body)
        if job := self._running(packets.WORK_COMPLETE, peer, handle):
            if job.clients:
                self._report(job, packets.WORK_COMPLETE, body)
            self.broker.finish(peer, handle, job)

    def work_fail(self, peer: Peer, body: bytes) -> None:
        """The job failed, and that is its end."""
        handle = only_argument(body)
        if job := self._running(packets.WORK_FAIL, peer, handle):
            self.broker.forward(job, response(packets.WORK_FAIL, handle))
            self.broker.finish(peer, handle, job)

    def work_exception(self, peer: Peer, body: bytes) -> None:
        """The job failed with an exception, and that is its end too."""
        handle = handle_of(body)
        if job := self._running(packets.WORK_EXCEPTION, peer, handle):
            self.broker.raise_exception(job, handle, pack(RESPONSE, packets.WORK_EXCEPTION, whole(body)))
            self.broker.finish(peer, handle, job)

    def _report(self, job: Job, kind: int, body: bytes) -> None:
        for piece in around(kind, whole(body)):
            self.broker.forward(job, piece)

    def _running(self, kind: int, peer: Peer, handle: bytes) -> Job | None:
        """The job a worker reports on; None when it was cancelled meanwhile, and the report is to be dropped."""
        job = peer.running.get(handle)
        if job is None:
            if handle not in peer.discarded:
                raise RequestError("JOB_NOT_FOUND", NO_JOB_FOR.get(kind, NO_JOB_FOR_RESULT))
            if kind in (packets.WORK_COMPLETE, packets.WORK_FAIL, packets.WORK_EXCEPTION):
                peer.discarded.remove(handle)
        return job

    # ---- both

    def echo(self, peer: Peer, body: bytes) -> None:
        """The body comes back as it is."""
        peer.tail += around(packets.ECHO_RES, body)

    def text(self, peer: Peer, body: bytes) -> None:
        """A line of the text protocol. Raises Unfinished."""
        answer = self.admin.answer(peer, body)
        slices = answer if isinstance(answer, Iterator) else iter(())
        first = next(slices) if isinstance(answer, Iterator) else answer
        peer.tail.append(first)  # looked up now: the answer may have to wait behind a batch
        second = next(slices, None)
        if second is not None or (isinstance(first, bytes) and len(first) >= TURN):
            raise Unfinished(slices if second is None else chain((second,), slices))

    @staticmethod
    def wrong_magic(_peer: Peer, _body: bytes) -> None:
        """A packet that begins as a server's do; the connection stays usable."""
        raise RequestError("INVALID_MAGIC", "Request magic expected")


def keys_in(received: Sequence[Packet]) -> set[tuple[bytes, bytes]]:
    """Functions and unique keys of the submissions among these packets."""
    found = set()
    for kind, body in received:
        if kind in SUBMISSIONS and body.count(b"\0") >= 2:
            function, unique, _ = body.split(b"\0", 2)
            if unique not in (b"", b"-"):
                found.add((function, unique))
    return found


def take_turns(job: Job) -> None:
    """Something was said to all who wait for a job. Raises Unfinished when these are many."""
    told = len(job.clients or ())
    if told > FEW_WAITING:
        raise Unfinished(repeat(b"", -(-told // TOLD_IN_A_TURN)))


def unreadable(kind: int) -> bytes:
    """The answer to a packet when the row that it needs cannot be read."""
    if kind == packets.TEXT:
        return err("QUEUE_ERROR", UNREADABLE)
    if kind in (packets.GRAB_JOB, packets.GRAB_JOB_UNIQ, packets.GRAB_JOB_ALL):
        return packets.NO_JOB_PACKET
    return packets.error("QUEUE_ERROR", UNREADABLE)


def arguments(body: bytes, count: int) -> list[bytes]:
    """The arguments of a packet; the last one is the rest of the body."""
    found = body.split(b"\0", count - 1)
    if len(found) != count:
        raise missing_arguments(count)
    return found


def with_payload(body: bytes, count: int) -> list[Any]:
    """The same when the last one is a payload: of a large one the rest of the body is shown, not copied."""
    if len(body) < LARGE:
        return arguments(body, count)
    found: list[Any] = []
    at = 0
    for _ in range(count - 1):
        end = body.find(b"\0", at)
        if end < 0:
            raise missing_arguments(count)
        found.append(body[at:end])
        at = end + 1
    # The unique key `-` stands for the payload, and only bytes are compared fast.
    found.append(body[at:] if found[1] == b"-" else memoryview(body)[at:])
    return found


def missing_arguments(count: int) -> RequestError:
    """For a packet shorter than its type says."""
    return RequestError("INVALID_PACKET", f"Packet has fewer than its {count} arguments")


def only_argument(body: bytes) -> bytes:
    """The argument of a packet with one; some clients end it with a NUL."""
    return body.rstrip(b"\0")


def handle_of(body: bytes) -> bytes:
    """The first of a report's two arguments; the data behind it is not copied.

    Perl's Gearman::Worker leaves data that are empty or `0` out, with the NUL before them.
    """
    end = body.find(b"\0")
    return body if end < 0 else body[:end]


def whole(body: bytes) -> bytes:
    """A worker's report for the clients of its job, which get the NUL in any case."""
    return body if b"\0" in body else body + b"\0"


def number(text: bytes, highest: int) -> int | None:
    """A decimal number between 0 and `highest`, which what lies beyond counts as; None when it is none."""
    if not text.removeprefix(b"-").isdigit():
        return None
    digits = text.lstrip(b"0")
    if not digits or digits.startswith(b"-"):
        return 0
    return highest if len(digits) > len(str(highest)) else min(int(digits), highest)


def seen(peer: Peer, job: Job | None) -> Job | None:
    """The job, if the peer may be told of it: another is as good as unknown."""
    return job if job is None or peer.rights.sees(job.function.name) else None


def state_of(job: Owner | None) -> tuple[bytes, bytes, bytes, bytes]:
    """Known, running, numerator, denominator."""
    if job is None:
        return ZERO, ZERO, ZERO, ZERO
    if isinstance(job, JobRecord):
        return b"1", ZERO, ZERO, ZERO
    numerator, denominator = job.status or (ZERO, ZERO)
    return b"1", b"1" if job.worker else ZERO, numerator, denominator
