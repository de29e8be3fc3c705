"""What a round does: a pure function of its seed and of the kind of database."""

import random
from enum import StrEnum
from typing import Final, NamedTuple

# Rounds that follow each other share a server process and its queue, so that what leaks adds up.
BLOCK: Final = 20
FUNCTIONS: Final = (b"alpha", b"beta", b"gamma")


class Fault(StrEnum):
    """What can be done to a server; the values are for people."""

    # the server
    SERVER_KILLED = "server killed (SIGKILL)"
    SERVER_RESTARTED = "server restarted in order (SIGTERM)"
    SERVER_STOPPED = "server stopped and continued (SIGSTOP, SIGCONT)"
    DESCRIPTORS = "no file descriptor left"
    CLOCK_FORWARD = "clock set forward"
    CLOCK_BACK = "clock set back"
    # the network of clients and workers
    RESET = "client connections reset"
    CLOSED = "client connections closed"
    HALF_OPEN = "client connections half open"
    MUTE = "answers to clients lost"
    DELAYED = "client packets delayed"
    WORKERS_KILLED = "workers killed with their jobs"
    # the disk, under SQLite
    DISK_FULL = "ENOSPC at a write"
    WRITE_ERROR = "EIO at a write"
    READ_ONLY = "EROFS at a write"
    SHORT_WRITE = "half a write, then ENOSPC"
    SYNC_ERROR = "EIO at a sync"
    SYNCED_AND_ERROR = "EIO after a sync"
    SLOW_SYNC = "a sync that hangs"
    KILLED_AT_WRITE = "server killed at a write"
    KILLED_AT_SYNC = "server killed at a sync"
    # a database behind a network
    DATABASE_KILLED = "database killed"
    DATABASE_FROZEN = "database frozen"
    DATABASE_RESET = "database connections reset"
    DATABASE_UNREACHABLE = "database unreachable"
    DATABASE_SILENT = "database connections half open"
    DATABASE_MUTE = "database's answers lost"
    DATABASE_DELAYED = "database's packets delayed"
    COMMIT_LOST = "connection cut in place of COMMIT"
    COMMIT_UNKNOWN = "connection cut after COMMIT"
    COMMIT_SILENT = "answer to COMMIT lost"


SERVER: Final = (
    Fault.SERVER_KILLED,
    Fault.SERVER_RESTARTED,
    Fault.SERVER_STOPPED,
    Fault.DESCRIPTORS,
    Fault.CLOCK_FORWARD,
    Fault.CLOCK_BACK,
)
CLIENTS: Final = (
    Fault.RESET,
    Fault.CLOSED,
    Fault.HALF_OPEN,
    Fault.MUTE,
    Fault.DELAYED,
    Fault.WORKERS_KILLED,
)
DISK: Final = (
    Fault.DISK_FULL,
    Fault.WRITE_ERROR,
    Fault.READ_ONLY,
    Fault.SHORT_WRITE,
    Fault.SYNC_ERROR,
    Fault.SYNCED_AND_ERROR,
    Fault.SLOW_SYNC,
    Fault.KILLED_AT_WRITE,
    Fault.KILLED_AT_SYNC,
)
NETWORK: Final = (
    Fault.DATABASE_FROZEN,
    Fault.DATABASE_RESET,
    Fault.DATABASE_UNREACHABLE,
    Fault.DATABASE_SILENT,
    Fault.DATABASE_MUTE,
    Fault.DATABASE_DELAYED,
    Fault.COMMIT_LOST,
    Fault.COMMIT_UNKNOWN,
    Fault.COMMIT_SILENT,
)
DEADLY: Final = frozenset({Fault.SERVER_KILLED, Fault.SERVER_RESTARTED, Fault.KILLED_AT_WRITE, Fault.KILLED_AT_SYNC})
DATABASE_KILLS: Final = 0.06  # of the rounds: its start takes seconds


class Way(StrEnum):
    """What a worker does with a job."""

    COMPLETE = "complete"
    CHATTY = "data, status, warning, complete"
    FAIL = "fail"
    EXCEPTION = "exception"
    DROP = "leave"
    CANT_DO = "cannot do"
    HANG = "hang"


WAYS: Final = {
    Way.COMPLETE: 80,
    Way.CHATTY: 10,
    Way.FAIL: 3,
    Way.EXCEPTION: 2,
    Way.DROP: 2,
    Way.CANT_DO: 2,
    Way.HANG: 1,
}


class Options(NamedTuple):
    """What the server of a block is started with."""

    storage_timeout: int  # seconds
    job_retries: int
    worker_wakeup: int
    memory_limit: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """On the command line."""
        return (
            *("--job-handle-prefix", "H:campaign"),
            *("--storage-timeout", str(self.storage_timeout)),
            *("--job-retries", str(self.job_retries)),
            *("--worker-wakeup", str(self.worker_wakeup)),
            *("--memory-limit", self.memory_limit),
        )


class Clients(NamedTuple):
    """A connection that submits, and keeps `window` jobs in flight."""

    seed: int
    foreground: bool
    window: int
    proxied: bool
    uniques: float  # share of jobs with a key out of few
    own_keys: float  # share of jobs with a key of their own
    later: float  # share of the background jobs that are for later
    reduced: float
    largest: int  # bytes of payload
    exceptions: bool  # the option is set


class Workers(NamedTuple):
    """A connection that works."""

    seed: int
    functions: tuple[bytes, ...]
    proxied: bool
    grab: int  # 0 GRAB_JOB, 1 GRAB_JOB_UNIQ, 2 GRAB_JOB_ALL
    limit: int  # milliseconds of CAN_DO_TIMEOUT, 0 for CAN_DO
    ways: dict[Way, int]  # weights


class Lookers(NamedTuple):
    """A connection that asks for the status of jobs."""

    seed: int
    proxied: bool


class Step(NamedTuple):
    """Faults that come together, once `after` more jobs are acknowledged, and last for `hold` seconds."""

    after: int
    faults: tuple[Fault, ...]
    hold: float
    number: int  # at which of the calls, or by how much


class Plan(NamedTuple):
    """A round."""

    seed: int
    options: Options
    clients: tuple[Clients, ...]
    workers: tuple[Workers, ...]
    lookers: tuple[Lookers, ...]
    steps: tuple[Step, ...]
    jobs: int  # submitted at most
    drainers: int


def block_of(seed: int) -> int:
    """Rounds of the same block share a server."""
    return seed // BLOCK


def options_of(block: int) -> Options:
    """The server of a block."""
    chance = random.Random(f"block {block}")
    return Options(
        storage_timeout=chance.choice((1, 2, 5)),
        job_retries=chance.choice((-1, -1, 1, 3)),
        worker_wakeup=chance.choice((0, 1, 1, 3)),
        memory_limit=chance.choice(("64K", "256K", "2M", "0")),
    )


def plan_of(seed: int, database: str) -> Plan:
    """The round of this seed on this kind of database."""
    chance = random.Random(f"{database} {seed}")
    block = block_of(seed)
    jobs = chance.choice((300, 600, 1200))
    return Plan(
        seed,
        options_of(block),
        tuple(clients(chance) for _ in range(chance.randint(3, 8))),
        tuple(workers(chance) for _ in range(chance.randint(2, 6))),
        tuple(Lookers(chance.getrandbits(32), chance.random() < 0.5) for _ in range(chance.randint(0, 2))),
        tuple(step(chance, faults_for(database, block), jobs) for _ in range(chance.randint(1, 3)))
        + last_step(chance, database),
        jobs,
        chance.randint(1, 3),
    )


def faults_for(database: str, block: int) -> tuple[Fault, ...]:
    """Those that there are; every other block's server runs on, so that what it leaks adds up."""
    faults = SERVER + CLIENTS + (DISK * 2 if database == "sqlite" else NETWORK * 2)
    return tuple(fault for fault in faults if block % 2 == 0 or fault not in DEADLY)


def step(chance: random.Random, faults: tuple[Fault, ...], jobs: int) -> Step:
    """One fault, or two at once, of which one may be of the disk or the database."""
    chosen = dict.fromkeys(chance.choices(faults, k=chance.choice((1, 1, 2))))
    if len(chosen) > 1 and not set(chosen) & set(SERVER + CLIENTS):
        chosen.popitem()
    after = chance.randint(0, jobs // 4)
    return Step(after, tuple(chosen), chance.choice((0.02, 0.05, 0.2)), chance.choice((1, 1, 2, 4, 8)))


def last_step(chance: random.Random, database: str) -> tuple[Step, ...]:
    """Seldom the database itself."""
    if database == "sqlite" or chance.random() >= DATABASE_KILLS:
        return ()
    return (Step(chance.randint(0, 50), (Fault.DATABASE_KILLED,), 0.1, 1),)


def clients(chance: random.Random) -> Clients:
    """A client."""
    foreground = chance.random() < 0.35
    return Clients(
        seed=chance.getrandbits(32),
        foreground=foreground,
        window=chance.choice((1, 2, 4)) if foreground else chance.choice((1, 8, 40)),
        proxied=chance.random() < 0.6,
        uniques=chance.choice((0.0, 0.1, 0.5)),
        own_keys=chance.choice((0.0, 0.5)),
        later=chance.choice((0.0, 0.0, 0.1)),
        reduced=chance.choice((0.0, 0.05)),
        largest=chance.choice((100, 100, 3000, 40_000)),
        exceptions=chance.random() < 0.5,
    )


def workers(chance: random.Random) -> Workers:
    """A worker; every other one does what it gets, the rest all that workers do."""
    some = chance.sample(FUNCTIONS, chance.randint(1, len(FUNCTIONS)))
    return Workers(
        seed=chance.getrandbits(32),
        functions=tuple(some),
        proxied=chance.random() < 0.6,
        grab=chance.randint(0, 2),
        limit=chance.choice((0, 0, 1000)),
        ways=chance.choice(({Way.COMPLETE: 1}, WAYS)),
    )
