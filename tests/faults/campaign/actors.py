"""Clients and workers of all kinds, as plans describe them. All they see goes to the ledger."""

import random
import socket
import struct
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import count
from time import time
from typing import Final

from gearmand_py.server import packets
from gearmand_py.server.ids import id_of
from tests.faults.campaign.ledger import Kind, Ledger, Submission
from tests.faults.campaign.plan import FUNCTIONS, Clients, Way, Workers
from tests.load import Link

BACKGROUND: Final = (packets.SUBMIT_JOB_HIGH_BG, packets.SUBMIT_JOB_BG, packets.SUBMIT_JOB_LOW_BG)  # by priority
FOREGROUND: Final = (packets.SUBMIT_JOB_HIGH, packets.SUBMIT_JOB, packets.SUBMIT_JOB_LOW)
NORMAL: Final = 1
GRABS: Final = (packets.GRAB_JOB, packets.GRAB_JOB_UNIQ, packets.GRAB_JOB_ALL)
NUMBER_AT: Final = {packets.JOB_ASSIGN: 2, packets.JOB_ASSIGN_UNIQ: 3, packets.JOB_ASSIGN_ALL: 4}  # which argument
SHARED_KEYS: Final = 5
LATEST: Final = 2  # seconds
RESET: Final = struct.pack("ii", 1, 0)
FINAL: Final = frozenset({packets.WORK_COMPLETE, packets.WORK_FAIL, packets.WORK_EXCEPTION})
NEWS: Final = frozenset({packets.WORK_DATA, packets.WORK_STATUS, packets.WORK_WARNING})

# A connection of its own number: the ledger tells workers apart by it, also one that comes back.
connections: Final = count(1)


def payload(number: int, length: int) -> bytes:
    """It tells its submission, and whether it came whole."""
    return b"%d %d %b" % (number, length, bytes([number % 256]) * length)


def number_of(data: bytes) -> int | None:
    """The submission; None if it is not what was sent."""
    first, length, rest = data.split(b" ", 2)
    number = int(first)
    return number if rest == bytes([number % 256]) * int(length) else None


class Actor(Link):
    """One connection."""

    def __init__(self, connected: socket.socket, ledger: Ledger, chance: random.Random) -> None:
        super().__init__(connected, ledger)  # type: ignore[arg-type]  # of a record a link needs the anomalies
        self.ledger = ledger
        self.leaving = False  # it wants its connection to be closed
        self.chance = chance

    @property
    def idle(self) -> bool:
        """It waits for nothing that the server owes it."""
        return True

    def gone(self) -> None:
        """The connection is over."""

    def read_some(self) -> bool:
        """Handle what has come; False when nothing more has."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK)) and self.read()
        except OSError:  # it would block too
            return False

    def say(self, kind: int, *arguments: bytes) -> None:
        """Send a request with the next write."""
        self.out += packets.request(kind, *arguments)

    def surprise(self, kind: int, body: bytes) -> None:
        """What no server may send here."""
        self.ledger.anomalies.append(f"{self.__class__.__name__} was sent {packets.name(kind)} {body[:80]!r}")


class Client(Actor):
    """Submits while `next_number` has numbers, and waits for what it is owed."""

    def __init__(
        self,
        connected: socket.socket,
        ledger: Ledger,
        chance: random.Random,
        plan: Clients,
        next_number: Callable[[], int | None],
    ) -> None:
        super().__init__(connected, ledger, chance)
        self.plan = plan
        self._next_number = next_number
        self._asked: deque[int] = deque()  # not answered by JOB_CREATED or ERROR
        self._running: defaultdict[bytes, list[int]] = defaultdict(list)  # by handle
        self._options = 0  # answers that are due

    @property
    def idle(self) -> bool:
        return not self._asked and not self._running

    def start(self) -> None:
        if self.plan.exceptions:
            self._options = 1
            self.say(packets.OPTION_REQ, b"exceptions")
        self.submit()

    def submit(self) -> None:
        """Fill the window."""
        while len(self._asked) + sum(map(len, self._running.values())) < self.plan.window:
            number = self._next_number()
            if number is None:
                return
            self._submit(number)

    def _submit(self, number: int) -> None:
        chance, plan = self.chance, self.plan
        function, priority = chance.choice(FUNCTIONS), chance.randrange(3)
        unique = self._key(number)
        data = payload(number, chance.randint(0, plan.largest))
        kind = Kind.FOREGROUND if plan.foreground else Kind.BACKGROUND
        if chance.random() < plan.reduced:
            priority = NORMAL
            reduce = packets.SUBMIT_REDUCE_JOB if plan.foreground else packets.SUBMIT_REDUCE_JOB_BACKGROUND
            self.say(reduce, function, unique, b"reducer", b"", data)
        elif not plan.foreground and chance.random() < plan.later:
            priority, kind = NORMAL, Kind.LATER
            when = int(time()) + chance.randint(-1, LATEST)
            self.say(packets.SUBMIT_JOB_EPOCH, function, unique, b"%d" % when, data)
        else:
            self.say((FOREGROUND if plan.foreground else BACKGROUND)[priority], function, unique, data)
        self._asked.append(number)
        self.ledger.sent(Submission(number, kind, function, priority, unique))

    def _key(self, number: int) -> bytes:
        chosen = self.chance.random()
        if chosen < self.plan.uniques:
            return b"shared %d" % self.chance.randrange(SHARED_KEYS)
        return b"own %d" % number if chosen < self.plan.uniques + self.plan.own_keys else b""

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.OPTION_RES and self._options:
            self._options = 0
        elif kind == packets.JOB_CREATED and self._asked:
            number = self._asked.popleft()
            self.ledger.created(number, id_of(body) or 0)
            if self.plan.foreground:
                self._running[body].append(number)
        elif kind == packets.ERROR and self._asked:
            self.ledger.refused(self._asked.popleft(), body.decode(errors="replace"))
        elif kind in FINAL | NEWS and (handle := body.split(b"\0", 1)[0]) in self._running:
            if kind in FINAL:
                self._result(handle, kind, body)
        else:
            self.surprise(kind, body)
        self.submit()

    def _result(self, handle: bytes, kind: int, body: bytes) -> None:
        self.ledger.answered(self._running[handle].pop())
        if not self._running[handle]:
            del self._running[handle]
        if kind == packets.WORK_COMPLETE and body != handle + b"\0done " + handle:
            self.ledger.anomalies.append(f"the result of {handle!r} came as {body!r}")

    def gone(self) -> None:
        for number in (*self._asked, *(number for numbers in self._running.values() for number in numbers)):
            self.ledger.cut_off(number)


class Worker(Actor):
    """Works, and sleeps when there is nothing."""

    def __init__(self, connected: socket.socket, ledger: Ledger, chance: random.Random, plan: Workers) -> None:
        super().__init__(connected, ledger, chance)
        self.plan = plan
        self.number = next(connections)
        self._grabs = 0  # unanswered
        self._ended: deque[int] = deque()  # jobs whose end the server may not have read

    def start(self) -> None:
        self.say(packets.SET_CLIENT_ID, b"worker-%d" % self.number)
        for function in self.plan.functions:
            self._can_do(function)
        self._grab()

    def _can_do(self, function: bytes) -> None:
        if self.plan.limit:
            self.say(packets.CAN_DO_TIMEOUT, function, b"%d" % self.plan.limit)
        else:
            self.say(packets.CAN_DO, function)

    def _grab(self) -> None:
        self._grabs += 1
        self.say(GRABS[self.plan.grab])

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.NOOP:
            self._grab()
        elif kind == packets.ERROR and self._ended:
            self.ledger.not_taken(self.number, self._ended.popleft())
        elif kind == packets.NO_JOB and self._grabs:
            self._answered()
            if not self._grabs:
                self.say(packets.PRE_SLEEP)
        elif kind in NUMBER_AT and self._grabs:
            self._answered()
            self._work(body.split(b"\0", NUMBER_AT[kind]))
        else:
            self.surprise(kind, body)

    def _answered(self) -> None:
        self._grabs -= 1
        while self._ended:
            self.ledger.read(self.number, self._ended.popleft())

    def _work(self, arguments: list[bytes]) -> None:
        handle, function, data = arguments[0], arguments[1], arguments[-1]
        number, id_ = number_of(data), id_of(handle) or 0
        if number is None:
            self.ledger.anomalies.append(f"the payload of job {id_} is not what was sent: {data[:40]!r}")
            return
        self.ledger.handed_out(self.number, id_, number, function)
        if self.plan.limit or self.plan.proxied:  # the server may know before us that it is not ours any more
            self.ledger.may_lose(self.number)
        way = self.chance.choices(list(self.plan.ways), list(self.plan.ways.values()))[0]
        self._do(way, handle, function, id_)

    def _do(self, way: Way, handle: bytes, function: bytes, id_: int) -> None:
        match way:
            case Way.HANG:
                return
            case Way.DROP:
                self.leaving = True
                return
            case Way.CANT_DO:
                self.ledger.gave_up(self.number, id_)
                self.say(packets.CANT_DO, function)
                self._can_do(function)
            case Way.FAIL:
                self._end(id_, packets.WORK_FAIL, handle)
            case Way.EXCEPTION:
                self._end(id_, packets.WORK_EXCEPTION, handle, b"exception")
            case _:
                if way is Way.CHATTY:
                    self._chat(handle)
                self._end(id_, packets.WORK_COMPLETE, handle, b"done " + handle)
        self._grab()

    def _chat(self, handle: bytes) -> None:
        if self.plan.limit:
            return  # the server may answer that the job is not ours any more, which is told by the end alone
        self.say(packets.WORK_DATA, handle, b"data")
        self.say(packets.WORK_STATUS, handle, b"1", b"2")
        self.say(packets.WORK_WARNING, handle, b"warning")

    def _end(self, id_: int, kind: int, *arguments: bytes) -> None:
        self.ledger.ended(self.number, id_)
        self._ended.append(id_)
        self.say(kind, *arguments)

    def gone(self) -> None:
        self.ledger.worker_gone(self.number, self._grabs)


class Looker(Actor):
    """Asks for the status of one job after the other."""

    def __init__(self, connected: socket.socket, ledger: Ledger, chance: random.Random) -> None:
        super().__init__(connected, ledger, chance)
        self._asked = 0  # the job
        self._certain = False

    def start(self) -> None:
        known = self.ledger.recent
        self._asked = self.chance.choice(known) if known else 0
        self._certain = bool(known) and self.ledger.is_certain(self._asked)
        self.say(packets.GET_STATUS, b"H:campaign:%d" % self._asked)

    def handle(self, kind: int, body: bytes) -> None:
        if kind == packets.STATUS_RES:
            handle, known, *_ = body.split(b"\0")
            if id_of(handle) != self._asked:
                self.surprise(kind, body)
            elif known == b"0" and self._certain:
                self.ledger.unknown(self._asked)
            self.ledger.counts["looked up"] += 1
        elif kind != packets.ERROR:  # it may be on disk only, and the storage be away
            self.surprise(kind, body)
        self.start()


def break_off(actor: Actor) -> None:
    """As a killed process does whose peer sends on: a reset."""
    actor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
