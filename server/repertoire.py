"""What many workers can do alike, kept once for all of them.

The workers of a fleet send the same CAN_DOs in the same order. So a repertoire is a list of functions that only grows,
and what one worker can do is the beginning of it, up to a length of its own: a CAN_DO of the function that comes next
costs a look and one step. Whoever goes another way leaves for a repertoire that begins the same and goes on so; it is
found again by where it branches off, so those who go the same way meet there. Who gives up a function, or changes a
time limit, takes a copy that nobody else joins, and changes that.

A worker with few functions has a dict of its own instead; see workforce.py.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from gearmand_py.server.agenda import Agenda
from gearmand_py.server.jobs import PRIORITIES, Function, Job
from gearmand_py.server.peers import Peer

# A list is closed up when it has this many more gaps than functions: each time is paid for by the CANT_DOs before it.
GAPS_SLACK: Final = 64

# How a repertoire is found: by the functions and time limits it begins with, or by the repertoire it branches off
# from, where, and with which function and limit.
Origin = tuple[tuple[Function, float], ...] | tuple["Repertoire", int, Function, float]


class Repertoire:
    """Functions in CAN_DO order with their time limits, where in them there are jobs, and who sleeps."""

    __slots__ = ("agendas", "functions", "gaps", "limits", "members", "origin", "sleepers", "turns")

    def __init__(self, origin: Origin | None, abilities: Iterable[tuple[Function, float]]) -> None:
        self.origin = origin  # None: it has one member, and nobody else joins
        self.members = 0
        self.functions: list[Function | None] = []  # None: given up
        self.limits: list[float] = []  # seconds to do a job in, 0 no limit
        self.gaps = 0
        # By priority, the places of functions with jobs to hand out; also of some that have none any more.
        self.agendas = tuple(Agenda() for _ in PRIORITIES)
        self.turns: dict[tuple[int, int], int] = {}  # by length and priority: where the next search begins
        self.sleepers: dict[int, OrderedDict[Peer, None]] = {}  # by length, in the order they fell asleep
        for function, seconds in abilities:
            self.append(function, seconds)

    def append(self, function: Function, seconds: float) -> None:
        """One more function at the end."""
        place = function.repertoires[self] = len(self.functions)
        self.functions.append(function)
        self.limits.append(seconds)
        for agenda, queue in zip(self.agendas, function.queues, strict=True):
            if queue.size:
                agenda.add(place)

    def remove(self, function: Function) -> None:
        """Give up a function. Only for its one member."""
        place = function.repertoires.pop(self)
        self.functions[place] = None
        for agenda in self.agendas:
            agenda.discard(place)
        self.gaps += 1
        if 2 * self.gaps > len(self.functions) + GAPS_SLACK:
            self._close_gaps()

    def _close_gaps(self) -> None:
        abilities = list(self.items(len(self.functions)))
        self.clear()
        for function, seconds in abilities:
            self.append(function, seconds)

    def clear(self) -> None:
        """Let go of all functions."""
        for function in self.functions:
            if function is not None:
                del function.repertoires[self]
        self.functions, self.limits, self.gaps = [], [], 0
        self.agendas = tuple(Agenda() for _ in PRIORITIES)
        self.turns.clear()

    def items(self, length: int) -> Iterator[tuple[Function, float]]:
        """The functions and time limits of a member."""
        for function, seconds in zip(islice(self.functions, length), self.limits, strict=False):
            if function is not None:
                yield function, seconds

    def waiting(self, length: int) -> Function | None:
        """A function of a member with jobs to hand out."""
        found = self._next(length)
        return found[0] if found else None

    def next_job(self, length: int) -> Job | None:
        """Take a job for a member: of the highest priority, the functions of each taking turns among all members."""
        found = self._next(length)
        if found is None:
            return None
        function, priority, place = found
        self.turns[length, priority] = place + 1
        return function.queues[priority].pop()

    def _next(self, length: int) -> tuple[Function, int, int] | None:
        """The function whose turn it is, the priority, its place. What has become empty is struck off on the way."""
        for priority, agenda in enumerate(self.agendas):
            turn = self.turns.get((length, priority), 0)
            while (place := agenda.next(turn, length)) is not None:
                function = self.functions[place]
                if function is not None and function.queues[priority].size:
                    return function, priority, place
                agenda.discard(place)
        return None


class Share:
    """The beginning of a repertoire, up to `length`: what one worker can do, read like a dict of time limits."""

    __slots__ = ("length", "repertoire")

    def __init__(self, repertoire: Repertoire, length: int) -> None:
        self.repertoire = repertoire
        self.length = length

    def __contains__(self, function: Function) -> bool:
        place = function.repertoires.get(self.repertoire)
        return place is not None and place < self.length

    def __getitem__(self, function: Function) -> float:
        """Only for a function that is in here."""
        return self.repertoire.limits[function.repertoires[self.repertoire]]

    def __iter__(self) -> Iterator[Function]:
        return (function for function, _ in self.repertoire.items(self.length))

    def __reversed__(self) -> Iterator[Function]:
        return reversed(list(self))


class Repertoires:
    """The repertoires there are. One that nobody uses is let go."""

    def __init__(self) -> None:
        self._known: dict[Origin, Repertoire] = {}

    def share(self, abilities: dict[Function, float]) -> Share:
        """What a worker can do, kept with those who began the same."""
        found = self._join(tuple(abilities.items()), abilities.items())
        return Share(found, len(abilities))

    def learn(self, share: Share, function: Function, seconds: float) -> None:
        """One function more; who goes another way than the repertoire leaves it."""
        repertoire, length = share.repertoire, share.length
        if length == len(repertoire.functions):
            repertoire.append(function, seconds)
        elif repertoire.functions[length] is not function or repertoire.limits[length] != seconds:
            branch = chain(repertoire.items(length), [(function, seconds)])  # read only if nobody has gone this way
            share.repertoire = self._join((repertoire, length, function, seconds), branch)
            self._leave(repertoire)
        share.length += 1

    def limit(self, share: Share, function: Function, seconds: float) -> None:
        """Another time limit."""
        self._own(share)
        share.repertoire.limits[function.repertoires[share.repertoire]] = seconds

    def unlearn(self, share: Share, function: Function) -> None:
        """One function less."""
        self._own(share)
        share.repertoire.remove(function)
        share.length = len(share.repertoire.functions)

    def leave(self, share: Share) -> None:
        """The worker can do nothing any more."""
        self._leave(share.repertoire)

    def _join(self, origin: Origin | None, abilities: Iterable[tuple[Function, float]]) -> Repertoire:
        repertoire = self._known.get(origin) if origin is not None else None
        if repertoire is None:
            repertoire = Repertoire(origin, abilities)
            if origin is not None:
                self._known[origin] = repertoire
        repertoire.members += 1
        return repertoire

    def _leave(self, repertoire: Repertoire) -> None:
        repertoire.members -= 1
        if not repertoire.members:
            repertoire.clear()
            if repertoire.origin is not None:
                del self._known[repertoire.origin]
                repertoire.origin = None

    def _own(self, share: Share) -> None:
        """A copy that is the worker's alone."""
        shared = share.repertoire
        if shared.origin is not None:
            share.repertoire = self._join(None, shared.items(share.length))
            self._leave(shared)
