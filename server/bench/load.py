"""What is asked of a benchmark: how many jobs, of what kind, from how many clients to how many workers."""

from dataclasses import dataclass
from typing import Final

from gearmand_py.server.client import Address

MODES: Final = ("submit", "work", "both", "foreground")


@dataclass(frozen=True, slots=True)
class Load:
    """The load of each mode. It ends after so many `jobs`, or when jobs were submitted for so many `seconds`."""

    jobs: int | None
    seconds: float | None
    clients: int
    workers: int
    in_flight: int  # of each client
    payload: tuple[int, int]  # bytes: the least and the most
    priorities: tuple[int, int, int]  # shares of high, normal, low
    unique: bool
    functions: int
    functions_per_worker: int
    rate: float | None  # jobs a second, whether or not earlier ones are answered; None: the next when one is answered


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that all processes do together on one server.

    Jobs are numbered from `first` on and carry `run`, which tells them from those of others.
    """

    server: Address
    load: Load
    run: bytes
    first: int
    submits: bool
    works: bool
    foreground: bool = False

    def function(self, number: int) -> bytes:
        """The name of a function."""
        return function_prefix(self.run) + b"%d" % number

    def abilities(self, worker: int) -> list[bytes]:
        """The functions of a worker: as many as asked for, the next worker goes on from there."""
        count = self.load.functions_per_worker
        return [self.function((worker * count + number) % self.load.functions) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the load's clients, workers and jobs are those of process `index` of `count`."""

    index: int
    count: int

    def clients(self, load: Load) -> range:
        """The first client is in the first process."""
        return range(self.index, load.clients, self.count)

    def workers(self, load: Load) -> range:
        """The first worker is in the last process, so that a lone client and its worker are in two."""
        return range(self.count - 1 - self.index, load.workers, self.count)

    def submitting(self, load: Load) -> int:
        """How many processes have clients."""
        return min(self.count, load.clients)


def function_prefix(run: bytes) -> bytes:
    """What the names of a run's functions begin with."""
    return b"bench-%s-" % run.hex().encode()
