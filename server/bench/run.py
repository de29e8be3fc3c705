"""A whole benchmark: rounds of modes, on one server or on two in turn."""

from dataclasses import dataclass

from gearmand_py.server.bench.crew import Crew
from gearmand_py.server.bench.load import Load
from gearmand_py.server.bench.results import Result
from gearmand_py.server.bench.session import Session
from gearmand_py.server.bench.watch import Interrupts
from gearmand_py.server.client import Address, Client, ClientError, readable


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, where."""

    servers: tuple[Address, ...]
    modes: tuple[str, ...]
    load: Load
    rounds: int
    warm_up: float  # seconds
    processes: int


class Benchmark:
    """`results` has what was measured; `failure` is what ended it early; `left` says what is still on a server.

    Raises ClientError if a server is not there to begin with.
    """

    def __init__(self, plan: Plan, interrupts: Interrupts) -> None:
        self.results = [Result(str(server), version_of(server)) for server in plan.servers]
        self.failure: Exception | None = None
        self.left: list[str] = []
        self._plan = plan
        self._interrupts = interrupts

    def run(self) -> None:
        """All of it, or until a signal to stop or a failure."""
        turns = list(zip(self._plan.servers, self.results, strict=True))
        with Crew(self._plan.processes) as crew:
            for number in range(self._plan.rounds):
                for server, result in turns:
                    if self._goes_on():
                        self._visit(crew, server, result, warm_up=0 if number else self._plan.warm_up)
                turns.reverse()  # a machine that becomes slower is then nobody's advantage

    def _goes_on(self) -> bool:
        return self._interrupts.count == 0 and self.failure is None

    def _visit(self, crew: Crew, server: Address, result: Result, *, warm_up: float) -> None:
        """A round on a server."""
        try:
            with Session(crew, server, self._plan.load, self._interrupts) as session:
                try:
                    self._measure(session, result, warm_up)
                    session.tidy_up()
                finally:
                    self._take_stock(session, result)
        except ClientError as error:
            self.failure = self.failure or error

    def _measure(self, session: Session, result: Result, warm_up: float) -> None:
        if warm_up:
            session.warm_up(warm_up)
        for mode in self._plan.modes:
            if self._goes_on() and session.failure is None:
                result.add(session.measure(mode))

    def _take_stock(self, session: Session, result: Result) -> None:
        self.failure = self.failure or session.failure
        result.counts.add(session)
        if session.left:
            name = f"{session.prefix.decode()}0"
            self.left.append(
                f"{session.left:,} jobs are left on {session.server}, in functions from {name} on; "
                f"gearmand-py work {name} -- true runs those of the first"
            )


def version_of(server: Address) -> str:
    """What a server calls its version. Raises ClientError."""
    with Client.connect(*server) as client:
        return readable(client.text("version")[0].partition(b" ")[2])
