"""A plan is the same for the same seed, anywhere and at any time; plans have all there is in them."""

import subprocess
import sys
from typing import Final

import pytest

from tests.faults.campaign.plan import BLOCK, CLIENTS, DEADLY, DISK, NETWORK, SERVER, Fault, Way, plan_of

SEEDS: Final = range(1000)
SHOW: Final = "from tests.faults.campaign.plan import plan_of; print(plan_of(123, 'sqlite'))"


def test_a_plan_follows_from_its_seed() -> None:
    """In another process too: no hash of a string is in it."""
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str(plan_of(123, "sqlite"))


def test_plans_differ() -> None:
    assert len({str(plan_of(seed, "sqlite")) for seed in SEEDS}) == len(SEEDS)
    assert plan_of(1, "sqlite") != plan_of(1, "mysql")


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mysql", "mariadb"])
def test_all_that_can_go_wrong_does(database: str) -> None:
    found = {fault for seed in SEEDS for step in plan_of(seed, database).steps for fault in step.faults}
    own = DISK if database == "sqlite" else (*NETWORK, Fault.DATABASE_KILLED)
    assert found == {*SERVER, *CLIENTS, *own}
    assert {way for seed in SEEDS for worker in plan_of(seed, database).workers for way in worker.ways} == set(Way)


def test_rounds_of_a_block_have_the_same_server() -> None:
    for first in range(0, 200, BLOCK):
        assert len({plan_of(seed, "sqlite").options for seed in range(first, first + BLOCK)}) == 1


def test_every_other_server_runs_on() -> None:
    for seed in SEEDS:
        if seed // BLOCK % 2:
            assert not {fault for step in plan_of(seed, "sqlite").steps for fault in step.faults} & DEADLY
