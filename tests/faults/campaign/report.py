"""What all rounds came to, for people and, as JSON, for whoever adds them up."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.campaign.plan import Fault, Plan

KEPT: Final = Path("build/faults")
LAST_WORDS: Final = 8  # lines, for where the folder is not kept


@dataclass(slots=True)
class Report:
    """Of one kind of database."""

    database: str
    first: int  # seed
    rounds: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    jobs: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def write(self) -> None:
        """Into the folder for builds."""
        KEPT.mkdir(parents=True, exist_ok=True)
        values = {name: getattr(self, name) for name in self.__slots__}
        (KEPT / f"{self.database}.json").write_text(json.dumps(values, indent=1))

    def __str__(self) -> str:
        faults = sum(self.faults[fault] for fault in Fault)
        head = (
            f"{self.database}: {self.rounds} rounds from seed {self.first} in {self.seconds:.0f} s, {faults} faults, "
            f"{len(self.failed)} rounds failed"
        )
        lines = [
            head,
            *(f"  {count:8,} {what}" for what, count in self.jobs.items()),
            *(f"  {count:8,} x {what}" for what, count in sorted(self.faults.items())),
        ]
        return "\n".join(lines)


def keep(database: str, plan: Plan, anomalies: list[str], events: list[str], log: str) -> str:
    """Keep what tells of a round that failed; returns what to say of it."""
    folder = KEPT / f"{database}-{plan.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.log").write_text(log)
    parts = (repr(plan), *("", "jobs acknowledged, and what happened:"), *events, "", *anomalies)
    (folder / "events.txt").write_text("\n".join(parts))
    shown = "\n".join((*anomalies[:10], "the server's last words:", *log.splitlines()[-LAST_WORDS:]))
    return (
        f"round {plan.seed} on {database}:\n{shown}\nagain with: make test-faults SEED={plan.seed} ROUNDS=1 "
        f"DATABASES={database}\nthe server's log and the events are in {folder}"
    )
