"""What is told in the end: the medians of the rounds, and the ratio of two servers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from gearmand_py.server.bench.histogram import Histogram
from gearmand_py.server.bench.session import Measured, Session, merged

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
MILLISECOND: Final = 1_000_000
# What each latency is called, from when the job was due.
NAMES: Final = {"ack": "submit to ack", "start": "submit to start", "round_trip": "round trip"}


@dataclass(slots=True)
class Counts:
    """Jobs over all rounds, those that were not measured too."""

    submitted: int = 0
    acknowledged: int = 0
    run: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    failed: int = 0
    unanswered: int = 0
    left: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    unexpected: dict[str, int] = field(default_factory=dict)

    def add(self, session: Session) -> None:
        """Those of a round."""
        ledger = session.ledger
        self.submitted += ledger.submitted
        self.acknowledged += ledger.acknowledged
        self.run += ledger.ran
        self.lost += session.lost
        self.doubled += ledger.doubled
        self.foreign += ledger.foreign
        self.failed += ledger.failed
        self.unanswered += ledger.unanswered
        self.left += session.left
        self.refused |= {word: self.refused.get(word, 0) + count for word, count in ledger.refused.items()}
        self.unexpected |= {word: self.unexpected.get(word, 0) + count for word, count in ledger.unexpected.items()}

    @property
    def all_well(self) -> bool:
        """Whether each job was taken, and ran once."""
        wrong = self.lost, self.doubled, self.foreign, self.failed, self.unanswered, self.left, self.refused
        return not any(wrong)


@dataclass(slots=True)
class Result:
    """A server's."""

    server: str
    version: str
    counts: Counts = field(default_factory=Counts)
    rounds: dict[str, list[Measured]] = field(default_factory=dict)  # by mode

    def add(self, measured: Measured) -> None:
        """One mode of one round."""
        self.rounds.setdefault(measured.mode, []).append(measured)

    def rate(self, mode: str) -> float:
        """Jobs a second, the median of the rounds."""
        return median(measured.rate for measured in self.rounds[mode])

    def latency(self, mode: str, name: str) -> dict[str, float | None]:
        """Milliseconds by percentile, each the median of the rounds; None where nothing was measured."""
        histograms = [measured.latencies[name] for measured in self.rounds[mode]]
        return {word: median_of(histograms, percent) for word, percent in PERCENTILES.items()}

    def figures(self) -> Iterator[tuple[str, str]]:
        """Which latencies there are: modes, and names of their latencies."""
        for mode, rounds in self.rounds.items():
            for name in rounds[0].latencies:
                yield mode, name

    def histogram(self, mode: str, name: str) -> Histogram:
        """All rounds in one."""
        return merged([measured.latencies[name] for measured in self.rounds[mode]])

    def busiest(self) -> float:
        """The largest part of a mode that a process of the benchmark was not waiting for the server."""
        return max((max(each.busy) for rounds in self.rounds.values() for each in rounds), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "server": self.server,
            "version": self.version,
            "modes": {mode: self._mode(mode) for mode in self.rounds},
            "jobs": {name: getattr(self.counts, name) for name in Counts.__dataclass_fields__},
        }

    def _mode(self, mode: str) -> dict[str, Any]:
        rounds = self.rounds[mode]
        return {
            "jobs": sum(measured.jobs for measured in rounds),
            "jobs_per_second": self.rate(mode),
            "jobs_per_second_of_rounds": [measured.rate for measured in rounds],
            "latency_ms": {name: self.latency(mode, name) for name in rounds[0].latencies},
            "generator_busy": max(max(measured.busy) for measured in rounds),
        }


def median_of(histograms: list[Histogram], percent: float) -> float | None:
    """Of a percentile, in milliseconds."""
    found = [value for histogram in histograms if (value := histogram.percentile(percent)) is not None]
    return median(found) / MILLISECOND if found else None


def ratio(one: float | None, other: float | None) -> float | None:
    """None where there is none."""
    return one / other if one and other else None


def ratios(one: Result, other: Result) -> dict[str, Any]:
    """For JSON: the first server's figures by the other's, of the modes that both have."""
    return {mode: _ratios(one, other, mode) for mode in one.rounds if mode in other.rounds}


def _ratios(one: Result, other: Result, mode: str) -> dict[str, Any]:
    return {
        "jobs_per_second": ratio(one.rate(mode), other.rate(mode)),
        "latency": {name: latency_ratios(one, other, mode, name) for name in one.rounds[mode][0].latencies},
    }


def latency_ratios(one: Result, other: Result, mode: str, name: str) -> dict[str, float | None]:
    """By percentile."""
    mine, its = one.latency(mode, name), other.latency(mode, name)
    return {word: ratio(mine[word], its[word]) for word in PERCENTILES}
