"""Workers with many functions, and crews of those that can do the same.

The functions that such workers can do are numbered, and what a worker can do is a set of numbers: some bits a CAN_DO,
and one step. When it asks for a job or goes to sleep, it joins the crew of all that can do exactly the same. What
there is to do is a set of numbers too, one for each priority, so that a grab looks at what the two have in common.

A worker with few functions has a dict instead, and is in no crew; see workforce.py.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from gearmand_py.server.jobs import PRIORITIES, Function, Job
from gearmand_py.server.numbers import Numbers
from gearmand_py.server.peers import Peer

# The order of CAN_DOs is written anew when so many more entries than functions are in it: each time is paid for by
# the CANT_DOs before it.
STALE_SLACK: Final = 64


class Crew:
    """The workers that can do exactly these functions."""

    __slots__ = ("listed", "looks", "members", "numbers", "size", "sleepers", "turns")

    def __init__(self, key: tuple[int, ...], size: int) -> None:
        self.numbers = Numbers(key)
        self.size = size  # how many functions
        self.members = 0
        self.listed = False  # its functions know of it
        self.looks = 0  # how often it was looked at because they did not
        self.sleepers: OrderedDict[Peer, None] = OrderedDict()  # in the order they fell asleep
        self.turns = [0 for _ in PRIORITIES]  # by priority: the number that the next search begins with


class Skills:
    """What one worker can do, to be read as a dict of time limits in CAN_DO order."""

    __slots__ = ("_crews", "_exceptions", "_order", "_seconds", "count", "crew", "numbers")

    def __init__(self, crews: "Crews", seconds: float) -> None:
        self._crews = crews
        self.count = 0
        self._seconds = seconds  # the limit of most functions
        self._exceptions: dict[int, float] = {}  # by number: the others
        self._order = array("I")  # numbers in CAN_DO order, the last time counts; also of functions given up since
        self.numbers = Numbers()
        self.crew: Crew | None = None  # None: not joined since the last change

    def __contains__(self, function: Function) -> bool:
        return function.number >= 0 and function.number in self.numbers

    def __getitem__(self, function: Function) -> float:
        """Only for a function that is in here."""
        return self._exceptions.get(function.number, self._seconds)

    def __iter__(self) -> Iterator[Function]:
        """In any order."""
        known = self._order if len(self._order) == self.count else self.numbers
        return (self._crews.functions[number] for number in known)

    def __reversed__(self) -> Iterator[Function]:
        """The latest CAN_DO first."""
        return (self._crews.functions[number] for number in self._latest_first())

    def _latest_first(self) -> Iterator[int]:
        left = Numbers(self.numbers.key)
        for number in reversed(self._order):
            if number in left:
                left.discard(number)
                yield number

    def add(self, number: int, seconds: float) -> None:
        """CAN_DO of a function that is not in here."""
        self.numbers.add(number)
        self._order.append(number)
        self.count += 1
        self.limit(number, seconds)

    def limit(self, number: int, seconds: float) -> None:
        """The time limit of a function."""
        if seconds == self._seconds:
            self._exceptions.pop(number, None)
        else:
            self._exceptions[number] = seconds

    def remove(self, number: int) -> None:
        """CANT_DO of a function that is in here."""
        self.numbers.discard(number)
        self._exceptions.pop(number, None)
        self.count -= 1
        if len(self._order) > 2 * self.count + STALE_SLACK:
            self._order = array("I", self._latest_first())
            self._order.reverse()


class Crews:
    """The functions that workers with many of them can do, by number; what there is to do; and the crews."""

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self._free: list[int] = []  # numbers that no function has any more
        # By priority, the numbers of functions with jobs to hand out; also of some that have none any more.
        self._agendas = tuple(Numbers() for _ in PRIORITIES)
        self._crews: dict[tuple[int, ...], Crew] = {}
        self._unlisted: dict[Crew, None] = {}  # those of which somebody sleeps, and their functions do not know them

    # ---- what workers can do

    def skills(self, abilities: dict[Function, float]) -> Skills:
        """What a worker can do that has too much for a dict."""
        skills = Skills(self, next(iter(abilities.values()), 0))
        for function, seconds in abilities.items():
            self.learn(skills, function, seconds)
        return skills

    def learn(self, skills: Skills, function: Function, seconds: float) -> None:
        """One function more."""
        self.quit(skills)
        if not function.crewed:
            self._enrol(function)
        function.crewed += 1
        skills.add(function.number, seconds)

    def unlearn(self, skills: Skills, function: Function) -> None:
        """One function less."""
        self.quit(skills)
        skills.remove(function.number)
        self._give_up(function)

    def forget(self, skills: Skills) -> None:
        """The worker can do nothing any more."""
        self.quit(skills)
        for function in skills:
            self._give_up(function)

    def _enrol(self, function: Function) -> None:
        """The first worker with many functions that can do this one."""
        if self._free:
            function.number = self._free.pop()
            self.functions[function.number] = function
        else:
            function.number = len(self.functions)
            self.functions.append(function)
        for priority, queue in enumerate(function.queues):
            if queue.size:
                self.note(function, priority)

    def _give_up(self, function: Function) -> None:
        function.crewed -= 1
        if not function.crewed:
            self._free.append(function.number)
            function.number = -1

    # ---- crews

    def join(self, skills: Skills) -> Crew:
        """The crew of those that can do the same; the worker stays in it until it changes what it can do."""
        if skills.crew is None:
            key = skills.numbers.key
            crew = skills.crew = self._crews.get(key) or self._crews.setdefault(key, Crew(key, skills.count))
            crew.members += 1
        return skills.crew

    def quit(self, skills: Skills) -> None:
        """Before the worker changes what it can do."""
        crew, skills.crew = skills.crew, None
        if crew is not None:
            crew.members -= 1
            if not crew.members:
                del self._crews[crew.numbers.key]
                if crew.listed:
                    for number in crew.numbers:
                        del self.functions[number].crews[crew]

    def lie_down(self, peer: Peer, skills: Skills) -> None:
        """A worker sleeps from now on."""
        crew = self.join(skills)
        crew.sleepers[peer] = None
        if not crew.listed:
            self._unlisted[crew] = None

    def get_up(self, peer: Peer, skills: Skills) -> None:
        """It does not any more."""
        crew = self.join(skills)
        del crew.sleepers[peer]
        if not crew.sleepers and not crew.listed:
            del self._unlisted[crew]

    def first_sleeper(self, function: Function) -> Peer | None:
        """Who has slept longest of those that can run the function. Only for a function of somebody in here."""
        able = [crew for crew in function.crews if crew.sleepers]
        if self._unlisted:
            able += self._look_through(function.number)
        return min((next(iter(crew.sleepers)) for crew in able), key=lambda peer: peer.asleep, default=None)

    def _look_through(self, number: int) -> list[Crew]:
        """The unlisted crews that can do it; one is listed once it was looked at as often as that takes steps.

        So one that changes with each CAN_DO of a sleeping worker costs little, and one that stays stands in no way.
        """
        able = [crew for crew in self._unlisted if number in crew.numbers]
        for crew in self._unlisted:
            crew.looks += 1
        for crew in [crew for crew in self._unlisted if crew.looks > crew.size]:
            self._list(crew)
        return able

    def _list(self, crew: Crew) -> None:
        crew.listed = True
        del self._unlisted[crew]
        for number in crew.numbers:
            self.functions[number].crews[crew] = None

    # ---- jobs

    def note(self, function: Function, priority: int) -> None:
        """There are jobs of this function and priority to hand out. Only for a function of somebody in here."""
        self._agendas[priority].add(function.number)

    def waiting(self, skills: Skills) -> Iterator[Function]:
        """The functions with jobs that the worker could have; one may come for each priority."""
        for priority, agenda in enumerate(self._agendas):
            for number in agenda.in_common(skills.numbers):
                function = self.functions[number]
                if function.queues[priority].size:
                    yield function
                else:
                    agenda.discard(number)

    def next_job(self, skills: Skills) -> Job | None:
        """Take a job of the highest priority; the functions take turns among all of the crew."""
        crew = self.join(skills)
        found = self._next(crew)
        if found is None:
            return None
        function, priority = found
        crew.turns[priority] = function.number + 1
        return function.queues[priority].pop()

    def _next(self, crew: Crew) -> tuple[Function, int] | None:
        """The function whose turn it is, and the priority. What has become empty is struck off on the way."""
        for priority, agenda in enumerate(self._agendas):
            while (number := agenda.next_in_common(crew.numbers, crew.turns[priority])) is not None:
                function = self.functions[number]
                if function.queues[priority].size:
                    return function, priority
                agenda.discard(number)
        return None
