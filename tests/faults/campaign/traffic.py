"""The thread that runs a round's clients and workers, over all losses of their connections."""

import random
import socket
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Condition, Thread
from time import monotonic
from traceback import format_exception
from typing import Final

from tests.faults.campaign.actors import Actor, Client, Looker, Worker, break_off
from tests.faults.campaign.ledger import Ledger
from tests.faults.campaign.plan import FUNCTIONS, Clients, Lookers, Plan, Way, Workers

HOST: Final = "127.0.0.1"
COME_BACK: Final = 0.03  # seconds until a connection that was lost is made again
END_SECONDS: Final = 90.0
CONNECT_SECONDS: Final = 5.0

Maker = Callable[[], Actor]


class Traffic:
    """`port` leads to the server, `proxied` to it by the proxy. `first` is the first number of a submission."""

    def __init__(self, plan: Plan, ledger: Ledger, port: int, proxied: int, first: int) -> None:
        self.ledger = ledger
        self._plan = plan
        self._ports = {False: port, True: proxied}
        self._numbers = iter(range(first, first + plan.jobs))
        self._spent = False  # no jobs are left to be submitted
        self._submitting = True
        self._working = True
        self._ending = False
        self._chance = random.Random(plan.seed)
        self._selector = DefaultSelector()
        self._makers: dict[Actor, Maker] = {}
        self._to_make: list[tuple[float, int, Maker]] = []  # a heap: when, a tie-breaker
        self._ties = count()
        self._orders: deque[Callable[[], None]] = deque()  # for the thread
        self._changed = Condition()
        for clients in plan.clients:
            self._plan_connection(self._client_maker(clients), 0.0)
        for workers in plan.workers:
            self._plan_connection(self._worker_maker(workers), 0.0)
        for looker in plan.lookers:
            self._plan_connection(self._looker_maker(looker), 0.0)
        self._thread = Thread(target=self._run, name="traffic")
        self._thread.start()

    # ---- for the thread of the test

    @property
    def acknowledged(self) -> int:
        """Jobs, so far."""
        return self.ledger.counts["acknowledged"]

    def wait_for(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until this holds; whether it did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: holds() or not self._thread.is_alive(), seconds) and holds()

    def wait_for_jobs(self, acknowledged: int, seconds: float) -> None:
        """Until there are so many, or no more are to come, or the time is up."""
        self.wait_for(lambda: self.acknowledged >= acknowledged or self._spent, seconds)

    def tell(self, order: Callable[[], None]) -> None:
        """Have the thread do this between two events, and wait until it is done: the ledger is the thread's."""
        done: list[bool] = []

        def do() -> None:
            order()
            done.append(True)

        self._orders.append(do)
        assert self.wait_for(lambda: bool(done), END_SECONDS), "the traffic stands still"

    def kill_workers(self) -> None:
        """They are gone, with the jobs that they have."""
        self.tell(lambda: self._drop_all(Worker, reset=True))

    def lose_server(self) -> None:
        """It was killed: what it still said is read, then nothing of that time comes any more."""
        self.tell(self._read_out)

    def stop_submitting(self) -> None:
        """What is under way goes on."""
        self._submitting = False

    @property
    def quiet(self) -> bool:
        """No client is owed anything."""
        return all(actor.idle for actor in list(self._makers))

    def drain(self, drainers: int) -> None:
        """From now on there are only workers who do all they get."""
        self._working = False
        self.tell(lambda: self._drop_all(Worker, reset=False))
        for number in range(drainers):
            plan = Workers(number, FUNCTIONS, False, number % 3, 0, {Way.COMPLETE: 1})
            self.tell(lambda plan=plan: self._plan_connection(self._worker_maker(plan), 0.0))  # type: ignore[misc]

    def end(self) -> None:
        """Close all connections."""
        self._ending = True
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive()

    # ---- the thread

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - else the round would go on for long before it fails
            self.ledger.anomalies.append(f"the traffic broke down:\n{''.join(format_exception(error))}")
        finally:
            self._ending = True
            self._drop_all(Actor, reset=False)
            self._selector.close()
            with self._changed:
                self._changed.notify_all()

    def _serve(self) -> None:
        while not self._ending:
            while self._orders:
                self._orders.popleft()()
            while self._to_make and self._to_make[0][0] <= monotonic():
                self._make(heappop(self._to_make)[2])
            for key, events in self._selector.select(0.02):
                if key.data in self._makers:
                    self._attend(key.data, events)
            with self._changed:
                self._changed.notify_all()

    def _attend(self, actor: Actor, events: int) -> None:
        if (
            (events & EVENT_READ and not actor.read()) or actor.leaving or (actor.out and not actor.write())
        ):  # what a worker that leaves had to say is not said
            self._drop(actor, reset=actor.leaving and self._chance.random() < 0.5)
            return
        self._selector.modify(actor.socket, EVENT_READ | (EVENT_WRITE if actor.out else 0), actor)

    def _drop(self, actor: Actor, *, reset: bool) -> None:
        maker = self._makers.pop(actor)
        self._selector.unregister(actor.socket)
        if reset:
            break_off(actor)
        actor.socket.close()
        actor.gone()
        self._plan_connection(maker, COME_BACK)

    def _drop_all(self, kind: type[Actor], *, reset: bool) -> None:
        for actor in [actor for actor in self._makers if isinstance(actor, kind)]:
            self._drop(actor, reset=reset)

    def _read_out(self) -> None:
        for actor in list(self._makers):
            while actor.read_some():
                pass
        self._drop_all(Actor, reset=False)
        self.ledger.killed()

    def _plan_connection(self, maker: Maker, seconds: float) -> None:
        if not self._ending:
            heappush(self._to_make, (monotonic() + seconds, next(self._ties), maker))

    def _make(self, maker: Maker) -> None:
        try:
            actor = maker()
        except Retired:
            return
        except OSError:
            self._plan_connection(maker, COME_BACK)
            return
        self._makers[actor] = maker
        self._selector.register(actor.socket, EVENT_READ, actor)
        actor.start()
        self._attend(actor, 0)

    def _client_maker(self, plan: Clients) -> Maker:
        chance = random.Random(plan.seed)  # a connection that is made again goes on with it

        def make() -> Actor:
            if not self._submitting:
                raise Retired
            return Client(self._connect(plan.proxied), self.ledger, chance, plan, self._next_number)

        return make

    def _worker_maker(self, plan: Workers) -> Maker:
        chance = random.Random(plan.seed)
        is_drainer = not self._working

        def make() -> Actor:
            if not (self._working or is_drainer):
                raise Retired
            return Worker(self._connect(plan.proxied), self.ledger, chance, plan)

        return make

    def _looker_maker(self, plan: Lookers) -> Maker:
        chance = random.Random(plan.seed)

        def make() -> Actor:
            if not self._submitting:
                raise Retired
            return Looker(self._connect(plan.proxied), self.ledger, chance)

        return make

    def _connect(self, proxied: bool) -> socket.socket:
        return socket.create_connection((HOST, self._ports[proxied]), CONNECT_SECONDS)

    def _next_number(self) -> int | None:
        number = next(self._numbers, None) if self._submitting else None
        self._spent = number is None
        return number


class Retired(Exception):
    """There is no place for such a connection any more."""
