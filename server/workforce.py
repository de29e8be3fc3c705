"""Who can do what, who sleeps, who is woken, and which job a worker gets next.

A worker that finds no job sends PRE_SLEEP and waits for a NOOP. It stands among the sleepers of every function it can
do until the first of them wakes it: one NOOP a sleep.
"""

from collections.abc import Callable

from gearmand_py.server.jobs import PRIORITIES, Function, Job
from gearmand_py.server.packets import NOOP_PACKET
from gearmand_py.server.peers import Peer


class Workforce:
    """`wakeup`: how many sleeping workers a new job wakes; 0 wakes all that can do it."""

    def __init__(self, send: Callable[[Peer, bytes], None], wakeup: int) -> None:
        self._send = send
        self._wakeup = wakeup

    def add(self, peer: Peer, function: Function, seconds: float) -> None:
        """CAN_DO; twice is once, with the later time limit."""
        if function not in peer.functions:
            peer.abilities.append(function)
            function.workers[peer] = None
        peer.functions[function] = seconds
        if peer.sleeping:
            function.sleepers[peer] = None
            if function.waiting:
                self.wake(function, 1)

    def remove(self, peer: Peer, function: Function) -> None:
        """CANT_DO."""
        del peer.functions[function]
        peer.abilities.remove(function)
        self._strike_off(peer, function)

    def _strike_off(self, peer: Peer, function: Function) -> None:
        """The worker may have been woken for a job that now needs another."""
        del function.workers[peer]
        function.sleepers.pop(peer, None)
        if function.sleepers and function.waiting:
            self.wake(function, 1)

    def remove_all(self, peer: Peer) -> None:
        """RESET_ABILITIES, or the worker is gone. One that slept still sleeps: it may be given functions anew."""
        given_up = list(peer.abilities)
        peer.functions.clear()
        peer.abilities.clear()
        for function in given_up:
            self._strike_off(peer, function)

    def sleep(self, peer: Peer) -> None:
        """PRE_SLEEP; a worker that has work is woken at once."""
        if any(function.waiting for function in peer.abilities):
            self._rouse(peer)
            self._send(peer, NOOP_PACKET)
            return
        peer.sleeping = True
        for function in peer.abilities:
            function.sleepers[peer] = None

    def wake(self, function: Function, jobs: int) -> None:
        """Wake sleepers for so many new jobs, those that fell asleep first."""
        sleepers = list(function.sleepers)
        if self._wakeup:
            sleepers = sleepers[: jobs * self._wakeup]
        for peer in sleepers:
            self._rouse(peer)
            self._send(peer, NOOP_PACKET)

    @staticmethod
    def _rouse(peer: Peer) -> None:
        peer.sleeping = False
        for function in peer.abilities:
            function.sleepers.pop(peer, None)

    def next_job(self, peer: Peer) -> Job | None:
        """Take the oldest job of the highest priority over the worker's functions, round robin within a priority."""
        if peer.sleeping:
            self._rouse(peer)
        abilities = peer.abilities
        count = len(abilities)
        for priority in PRIORITIES:
            for at in range(peer.turn, peer.turn + count):
                queue = abilities[at % count].queues[priority]
                if queue.size:
                    peer.turn = (at + 1) % count
                    return queue.pop()
        return None
