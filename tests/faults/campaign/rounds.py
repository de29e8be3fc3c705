"""One round, from its plan to its verdict."""

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Final

from tests.faults.campaign.faults import Injector
from tests.faults.campaign.ground import Census, Ground
from tests.faults.campaign.ledger import Ledger
from tests.faults.campaign.plan import Plan
from tests.faults.campaign.traffic import Traffic

STEP_SECONDS: Final = 1.0  # as long a step waits for its jobs: they may not come while the storage is away
LAST_SECONDS: Final = 0.5  # after the last fault, for jobs that are not submitted yet
DRAIN_SECONDS: Final = 40.0
DEATH_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.02
LONGEST_LOOK: Final = 1.0

# A server that has run some rounds may hold a little more than a fresh one: readers connect when they are needed first,
# pools of threads grow to their size.
WARM: Final = 3  # rounds
MORE_DESCRIPTORS: Final = 6
MORE_THREADS: Final = 6
MORE_MEMORY: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Block:
    """What the rounds on one server have in common."""

    ground: Ground
    ledger: Ledger
    submitted: int = 0
    warm: list[Census] = field(default_factory=list)  # of the first rounds of the process


def run(block: Block, plan: Plan, counts: Counter[str], events: list[str]) -> list[str]:
    """One round; returns what was wrong."""
    ground, ledger = block.ground, block.ledger
    ledger.anomalies.clear()
    traffic = Traffic(plan, ledger, ground.server.port, ground.proxy.port, block.submitted)
    block.submitted += plan.jobs
    injector = Injector(ground, traffic, counts, events)
    try:
        load(traffic, plan, injector)
        drain(ground, traffic, plan, injector)
    finally:
        traffic.end()
        ground.proxy.cut()  # a link that was made while the network swallowed all would stay half open for good
    if ledger.anomalies or not ground.server.is_running:
        return ledger.anomalies or ["the server ended by itself"]
    ledger.settle(dead_of(ground, ledger))
    ground.empty_table()
    ledger.close_round()
    if injector.killed:
        block.warm.clear()
    return ledger.anomalies + leaks(block, ground.census())


def dead_of(ground: Ground, ledger: Ledger) -> set[int]:
    """Of jobs that were not done; that they died is written a moment later."""
    promised = {job.id for job in ledger.open_promises}
    until = monotonic() + DEATH_SECONDS
    while not promised <= (dead := ground.dead()) and monotonic() < until:
        sleep(LOOK_SECONDS)
    return dead


def load(traffic: Traffic, plan: Plan, injector: Injector) -> None:
    """All jobs and all faults."""
    for step in plan.steps:
        wanted = traffic.acknowledged + step.after
        traffic.wait_for_jobs(wanted, STEP_SECONDS)
        injector.run(step)
    wanted = traffic.acknowledged + plan.jobs // 10
    traffic.wait_for_jobs(wanted, LAST_SECONDS)


def drain(ground: Ground, traffic: Traffic, plan: Plan, injector: Injector) -> None:
    """All is healed: whoever waits is answered, and every job runs."""
    injector.note("drains")
    traffic.stop_submitting()
    traffic.drain(plan.drainers)
    waited, looked = 0.0, monotonic()
    while left := not traffic.quiet or ground.unfinished():
        # On a machine that stood still in between, so did the server: that counts little.
        waited, looked = waited + min(monotonic() - looked, LONGEST_LOOK), monotonic()
        if not ground.server.is_running or waited > DRAIN_SECONDS:
            what = ground.describe() if ground.server.is_running else "the server ended by itself"
            traffic.ledger.anomalies.append(f"not drained after {DRAIN_SECONDS} s: {left}, {what}")
            return
        sleep(LOOK_SECONDS)
    injector.note("is drained")


def leaks(block: Block, census: Census) -> list[str]:
    """What the server holds on to that it did not hold in its first rounds."""
    if len(block.warm) < WARM:
        block.warm.append(census)
    usual = block.warm
    limits = (
        ("descriptors", census.descriptors, max(one.descriptors for one in usual) + MORE_DESCRIPTORS),
        ("threads", census.threads, max(one.threads for one in usual) + MORE_THREADS),
        ("tasks", len(census.tasks), max(len(one.tasks) for one in usual)),
        ("bytes of memory", census.memory, max(one.memory for one in usual) + MORE_MEMORY),
    )
    return [f"{found} {what}, not {most} as before: {census}" for what, found, most in limits if found > most]
