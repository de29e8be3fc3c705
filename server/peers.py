"""A peer: one connection as the broker sees it, be it client, worker or both."""

from collections import deque
from typing import TYPE_CHECKING, Any

from gearmand_py.server.access import UNLIMITED, Rights
from gearmand_py.server.jobs import Function, Job
from gearmand_py.storage.base import Payload

if TYPE_CHECKING:
    from gearmand_py.server.batch import Batch
    from gearmand_py.server.crews import Skills

# What waits to be sent: bytes; or a job's id, an acknowledgement that becomes bytes when its batch commits; or what to
# say if the deletes of its batch are done, and what if they have to wait.
Outgoing = Payload | int | tuple[bytes, bytes]


class Held(list[Outgoing]):
    """What waits for one batch, and how much of it are results: these come whether the peer is read or not."""

    # Of the class until there is one, so that a list is made at no cost.
    results = 0  # bytes
    largest = 0  # of one

    def put(self, result: Payload) -> None:
        """A result is to wait here too."""
        self.append(result)
        size = len(result)
        self.results += size
        self.largest = max(self.largest, size)


class Peer:
    """What one connection can do, runs, waits for, and is to be sent.

    The fence: JOB_CREATED carries no correlation id, so replies keep request order. While the peer waits for batches,
    `held` has one list for each of them, and `tail`, where everything sent to the peer goes, is the last of these.
    Otherwise `tail` is the outbox itself.
    """

    __slots__ = (
        "abilities",
        "address",
        "asleep",
        "awaited",
        "certificate",
        "client_id",
        "closed",
        "dirty",
        "discarded",
        "exceptions",
        "fd",
        "fence",
        "functions",
        "held",
        "link",
        "outbox",
        "rights",
        "running",
        "secrets",
        "tail",
        "woken",
        "wrong_secrets",
    )

    def __init__(self, address: str = "", fd: int = -1, link: Any = None) -> None:
        self.address = address
        self.fd = fd
        self.link = link  # the shell's side of the connection; the broker never looks at it
        self.certificate: str | None = None  # whose certificate it has shown: its common name
        self.closed = False
        # what it may do
        self.secrets: frozenset[bytes] = frozenset()  # digests of those it has shown
        self.wrong_secrets = 0  # how many
        self.rights: Rights = UNLIMITED
        # to be sent
        self.outbox: list[Payload] = []
        self.held: deque[Held] = deque()
        self.fence: Batch | None = None  # the last batch waited for
        self.tail: list[Any] = self.outbox
        self.dirty = False  # stands in the broker's list of peers to flush
        # as a client
        self.awaited: set[Job] = set()  # foreground jobs
        self.exceptions = False
        # as a worker
        self.client_id = b""
        # what it can do, in CAN_DO order: seconds to do it in, 0 no limit
        self.functions: dict[Function, float] | Skills = {}
        self.abilities: list[Function] = []  # the same if it is a dict, the one whose turn is next first
        self.running: dict[bytes, Job] = {}  # by handle: only who grabbed a job may report on it
        self.discarded: set[bytes] = set()  # handles of cancelled jobs whose late result is dropped silently
        self.asleep = 0  # since when, by the workforce's count of those who fell asleep; 0: awake
        self.woken: Function | None = None  # what it was woken for, until it comes for a job
