"""Who can do what, who sleeps, who is woken, and which job a worker gets next.

A worker that finds no job sends PRE_SLEEP and waits for a NOOP. A new job wakes `wakeup` of those that can run it, who
has slept longest first. Few are woken, so none may be counted on in vain: a woken worker is on its way for a function
until it asks for a job. When it then takes another function's, or none, or goes, gives up the function, goes to sleep
again, or says nothing for WAKE_PATIENCE, somebody else is woken for what it leaves lying.

The rule: where a worker sleeps that could run a job, there are as many workers on their way for the job's function as
jobs of it to hand out, and each of these workers has a time by which it must have come.

A worker with few functions has a dict of them, and sleeps at each of them; one with more sleeps at its crew.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final

from gearmand_py.server.crews import Crews, Skills
from gearmand_py.server.jobs import HIGH, LOW, NORMAL, PRIORITIES, Function, Job
from gearmand_py.server.packets import NOOP_PACKET
from gearmand_py.server.peers import Peer

# Up to so many functions a search through them all costs less than what it would save.
FEW: Final = 16
# Seconds in which a woken worker has to ask for a job.
WAKE_PATIENCE: Final = 1.0
LEAST: Final = len(PRIORITIES)  # below all priorities


class Workforce:
    """`wakeup`: how many sleeping workers a new job wakes; 0 wakes all that can run it. `now` tells monotonic time."""

    def __init__(self, send: Callable[[Peer, bytes], None], wakeup: int, now: Callable[[], float]) -> None:
        self._send = send
        self._wakeup = wakeup
        self._now = now
        self.few = FEW
        self.woken: OrderedDict[Peer, float] = OrderedDict()  # who is on the way, and by when they must have come
        self._fallen_asleep = 0
        self.crews = Crews()

    # ---- what workers can do

    def add(self, peer: Peer, function: Function, seconds: float) -> None:
        """CAN_DO; twice is once, with the later time limit."""
        known = function in peer.functions
        if known and peer.functions[function] == seconds:
            return
        asleep = self._get_up(peer)
        if known:
            self._limit(peer, function, seconds)
        else:
            function.workers += 1
            self._learn(peer, function, seconds)
        if asleep:
            self._lie_down(peer)
            self._fill(function)

    @staticmethod
    def skills_of(peer: Peer) -> int:
        """How many functions a worker can do."""
        functions = peer.functions
        return functions.count if isinstance(functions, Skills) else len(functions)

    def _learn(self, peer: Peer, function: Function, seconds: float) -> None:
        functions = peer.functions
        if isinstance(functions, dict):
            if len(functions) < self.few:
                functions[function] = seconds
                peer.abilities.append(function)
                return
            functions = peer.functions = self.crews.skills(functions)
            peer.abilities = []
        self.crews.learn(functions, function, seconds)

    def _limit(self, peer: Peer, function: Function, seconds: float) -> None:
        functions = peer.functions
        if isinstance(functions, dict):
            functions[function] = seconds
        else:
            functions.limit(function.number, seconds)

    def remove(self, peer: Peer, function: Function) -> None:
        """CANT_DO."""
        asleep = self._get_up(peer)
        function.workers -= 1
        functions = peer.functions
        if isinstance(functions, dict):
            del functions[function]
            peer.abilities.remove(function)
        else:
            self.crews.unlearn(functions, function)
        if asleep:
            self._lie_down(peer)
        if peer.woken is function:
            self._has_come(peer)

    def remove_all(self, peer: Peer) -> None:
        """RESET_ABILITIES, or the worker is gone. One that slept still sleeps: it may be given functions anew."""
        asleep = self._get_up(peer)
        for function in peer.functions:
            function.workers -= 1
        if isinstance(peer.functions, Skills):
            self.crews.forget(peer.functions)
        peer.functions = {}
        peer.abilities = []
        if asleep:
            self._lie_down(peer)
        if peer.woken:
            self._has_come(peer)

    # ---- sleeping and waking

    def sleep(self, peer: Peer) -> None:
        """PRE_SLEEP; a worker is woken at once if there is a job for it that nobody is on the way for."""
        if peer.woken:
            self._has_come(peer)
        function = self._work_for(peer)
        if function is not None:
            self._rouse(peer, function)
        elif not peer.asleep:
            self._lie_down(peer)

    def _work_for(self, peer: Peer) -> Function | None:
        """A function of the worker that it could be woken for."""
        able = self.crews.waiting(peer.functions) if isinstance(peer.functions, Skills) else peer.abilities
        return next((f for f in able if f.total > f.running and self._unattended(f)), None)

    def _unattended(self, function: Function) -> float:
        """How many more workers than are on their way could have a job of the function."""
        if self._wakeup:
            return max(0, function.waiting - function.woken)
        return inf if function.waiting else 0

    def came(self, function: Function, priority: int, count: int) -> None:
        """So many jobs of this function and priority can be handed out from now on."""
        if function.crewed:
            self.crews.note(function, priority)
        self._wake(function, count * self._wakeup or inf)

    def _wake(self, function: Function, most: float) -> None:
        while most > 0 and (peer := self._first_sleeper(function)):
            self._rouse(peer, function)
            most -= 1

    def _first_sleeper(self, function: Function) -> Peer | None:
        """Who has slept longest of those that can run the function."""
        found = next(iter(function.sleepers), None)
        other = self.crews.first_sleeper(function) if function.crewed else None
        return other if found is None or (other and other.asleep < found.asleep) else found

    def _rouse(self, peer: Peer, function: Function) -> None:
        self._get_up(peer)
        peer.woken = function
        function.woken += 1
        self.woken[peer] = self._now() + WAKE_PATIENCE
        self._send(peer, NOOP_PACKET)

    def _has_come(self, peer: Peer) -> None:
        """The worker asks for a job, or will not; what it was woken for may need another."""
        function = peer.woken
        assert function is not None
        peer.woken = None
        function.woken -= 1
        del self.woken[peer]
        self._fill(function)

    def _fill(self, function: Function) -> None:
        """Have as many workers on their way for the function as it has jobs to hand out."""
        self._wake(function, self._unattended(function))

    def _lie_down(self, peer: Peer) -> None:
        self._fallen_asleep += 1
        peer.asleep = self._fallen_asleep
        if isinstance(peer.functions, Skills):
            self.crews.lie_down(peer, peer.functions)
        else:
            for function in peer.abilities:
                function.sleepers[peer] = None

    def _get_up(self, peer: Peer) -> bool:
        """Returns whether it slept."""
        if not peer.asleep:
            return False
        peer.asleep = 0
        if isinstance(peer.functions, Skills):
            self.crews.get_up(peer, peer.functions)
        else:
            for function in peer.abilities:
                del function.sleepers[peer]
        return True

    # ---- time

    def next_look(self) -> float:
        """When the next woken worker must have come; infinity when none is on the way."""
        return next(iter(self.woken.values()), inf)

    def lose_patience(self, now: float) -> None:
        """Count no more on woken workers that have not come in time."""
        while self.woken:
            peer = next(iter(self.woken))
            if self.woken[peer] > now:
                return
            self._has_come(peer)

    # ---- jobs

    def next_job(self, peer: Peer) -> Job | None:
        """Take the oldest job of the highest priority over the worker's functions, round robin within a priority."""
        if peer.asleep:
            self._get_up(peer)
        job = self.crews.next_job(peer.functions) if isinstance(peer.functions, Skills) else next_of(peer.abilities)
        if peer.woken:
            self._has_come(peer)
        return job


def next_of(abilities: list[Function]) -> Job | None:
    """Take a job of a few functions; the one it is of goes to the end of the line."""
    found, best = 0, LEAST
    for at, function in enumerate(abilities):
        if function.total > function.running:  # else none of its jobs waits
            queues = function.queues
            if queues[HIGH].size:
                found, best = at, HIGH
                break
            if best > NORMAL and queues[NORMAL].size:
                found, best = at, NORMAL
            elif best > LOW and queues[LOW].size:
                found, best = at, LOW
    if best == LEAST:
        return None
    if len(abilities) > 1:
        abilities.append(abilities.pop(found))
    return abilities[-1].queues[best].pop()
