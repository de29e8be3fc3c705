"""Work that waits for its turn: how much a turn takes, who is next, and how soon the database's thread is let in."""

import asyncio
import threading
import time
from collections.abc import Callable

from gearmand_py.server.turns import A_TURN, Turns


class Waiter:
    """Has so much to do, and does so much of it when it is its turn."""

    def __init__(self, turns: Turns, left: int, at_once: int, log: list[str], name: str) -> None:
        self._turns = turns
        self.left = left
        self._at_once = at_once
        self._log = log
        self._name = name
        self.can_go_on = True

    def go_on(self) -> bool:
        self.left -= self._turns.take(min(self._at_once, self.left))
        self._log.append(self._name)
        return self.left > 0


async def until(done: Callable[[], bool]) -> int:
    """Turns of the loop that it takes."""
    for turn in range(10_000):
        if done():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("it never comes to its end")


async def test_a_turn_takes_so_much_and_what_begins_within_it_is_done_whole() -> None:
    turns = Turns(asyncio.get_running_loop())
    assert turns.take(A_TURN - 1) == A_TURN - 1
    assert turns.take(100) == 100
    assert turns.over
    assert turns.take(1) == 0
    await asyncio.sleep(0)
    assert turns.take(10 * A_TURN) == A_TURN  # of very many a part


async def test_what_is_left_of_a_turn_is_not_renewed_before_it_is_used_up() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    turns.take(A_TURN - 1)
    await asyncio.sleep(0)
    assert turns.take(1) == 1
    assert turns.over


async def test_those_who_wait_take_turns() -> None:
    turns, log = Turns(asyncio.get_running_loop()), list[str]()
    waiters = [Waiter(turns, 2 * A_TURN, A_TURN, log, name) for name in "ab"]
    for waiter in waiters:
        turns.add(waiter)
    await until(lambda: not any(waiter.left for waiter in waiters))
    assert log == ["a", "b", "a", "b"]


async def test_who_cannot_go_on_keeps_nobody_else_from_it() -> None:
    turns, log = Turns(asyncio.get_running_loop()), list[str]()
    stuck, other = (Waiter(turns, A_TURN, A_TURN, log, name) for name in ("stuck", "other"))
    stuck.can_go_on = False
    turns.add(stuck)
    turns.add(other)
    await until(lambda: not other.left)
    assert log == ["other"]
    stuck.can_go_on = True
    turns.wake()
    await until(lambda: not stuck.left)


async def test_the_thread_of_the_database_is_let_in_between_turns() -> None:
    many, tries = 300, 5  # on a loaded machine the thread may not be run, though it is let in
    assert max([await steps_beside(many) for _ in range(tries)]) > many // 2


async def steps_beside(many: int) -> int:
    """What a thread does while the loop has so many turns of work."""
    turns, ended, steps = Turns(asyncio.get_running_loop()), threading.Event(), list[float]()

    def commit() -> None:
        while not ended.is_set():
            time.sleep(0)  # as a system call does, it lets go of the interpreter, and has to have it again
            steps.append(1)

    thread = threading.Thread(target=commit)
    thread.start()
    waiter = Waiter(turns, many, 1, [], "a")
    turns.add(waiter)
    await until(lambda: not waiter.left)
    ended.set()
    thread.join()
    return len(steps)
