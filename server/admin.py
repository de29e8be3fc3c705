"""The text protocol: one line in, a listing or one line out. Monitoring tools parse these: the columns are a contract.

Listings are tab-separated, their lines end with LF and the last one is a dot. OK and ERR lines end with CR LF, but for
`version`, `getpid` and `verbose`, which end with LF.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Final
from urllib.parse import quote_plus

from gearmand_py.server.broker import Broker, Cancelled
from gearmand_py.server.copies import Copies, Taken
from gearmand_py.server.errors import RequestError
from gearmand_py.server.jobs import PRIORITIES, Function, Job
from gearmand_py.server.peers import Outgoing, Peer

OK: Final = b"OK\r\n"
NOT_REMOVED: Final = "Job is cancelled, but its row cannot be removed yet"
# Commands that change nothing; all others take the right to manage (access.py).
READING: Final = frozenset(
    {"status", "prioritystatus", "priority-status", "workers", "show", "version", "getpid", "verbose", "ready"}
)
# A listing is made in slices of so many cells, in a millisecond at most: there may be millions. The first slice, which
# is made at once whoever else waits, is a short one, and the second, which tells whether there are more, a single cell.
SLICE: Final = 400
FIRST: Final = 32
# What would break a listing's lines and columns is shown escaped, and so is what moves a terminal's cursor; `workers`
# has spaces between its columns.
VISIBLE: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029)
}
DOT: Final = "."  # a line of it alone ends a listing
DOT_IN_A_ROW: Final = "\\x2e"
VISIBLE_WORD: Final = {**VISIBLE, 0x20: "\\x20"}


class Admin:
    """Answers text commands. `version`, `pid` and `verbose` are what the commands of that name tell.

    `shut_down(graceful)` is called by `shutdown`, which is refused without it.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        version: str,
        pid: int,
        verbose: str,
        shut_down: Callable[[bool], None] | None = None,
    ) -> None:
        self.broker = broker
        self.shut_down = shut_down
        self.copies = Copies()  # of what listings go through
        told = {"version": version, "getpid": str(pid), "verbose": verbose}
        self.commands: dict[str, Callable[[Peer, list[bytes]], Outgoing | Iterator[str]]] = {
            "status": self.status,
            "prioritystatus": self.priority_status,
            "priority-status": self.priority_status,
            "workers": self.workers,
            "show": self.show,
            "cancel": self.cancel,
            "create": self.create,
            "drop": self.drop,
            "maxqueue": self.max_queue,
            "shutdown": self.shutdown,
            "ready": self.ready,
            **{word: telling(answer) for word, answer in told.items()},
        }

    def answer(self, peer: Peer, line: bytes) -> Outgoing | Iterator[bytes]:
        """The answer to a line; a listing comes in slices, and is of what there is when the slice is made."""
        words = line.split()
        command = self.commands.get(words[0].decode("latin-1").lower()) if words else None
        if command is None:
            return err("UNKNOWN_COMMAND", "Unknown server command")
        answer = command(peer, words[1:])
        return sliced(answer) if isinstance(answer, Iterator) else answer

    # ---- listings

    def status(self, _peer: Peer, _words: list[bytes]) -> Iterator[str]:
        """function, total, running, workers"""
        return listing((f.name, f.total, f.running, f.workers) for f in self._functions())

    def priority_status(self, _peer: Peer, _words: list[bytes]) -> Iterator[str]:
        """function, high, normal, low, workers: queued only"""
        return listing((f.name, *(q.size + q.tailed for q in f.queues), f.workers) for f in self._functions())

    def _functions(self) -> Iterator[Function]:
        return self.copies.walk(self.broker.functions.values())

    def workers(self, _peer: Peer, _words: list[bytes]) -> Iterator[str]:
        """FD IP ID : functions; every connection, latest CAN_DO first"""
        for peer in self.copies.walk(self.broker.peers):
            if not peer.closed:
                yield f"{peer.fd} {peer.address} {shown(peer.client_id, VISIBLE_WORD) or '-'} :"
                functions = self.copies.walk(reversed(peer.functions))
                yield from (f" {shown(function.name, VISIBLE_WORD)}" for function in functions)
                yield "\n"
        yield ".\n"

    def show(self, _peer: Peer, words: list[bytes]) -> bytes | Iterator[str]:
        """`show jobs`: handle, retries, ignored, persisted; `show unique jobs`: unique keys

        Both of jobs in memory; `show jobs` has the others too, without their retries.
        """
        match [word.lower() for word in words]:
            case [b"jobs"]:
                known = ((self.broker.handle(job), job.attempts, 0, int(job.stored)) for job in self._jobs())
                others = ((b"%b%d" % (self.broker.prefix, id_), 0, 0, 1) for id_ in self.broker.index.bare_ids())
                return listing(chain(known, others))
            case [b"unique", b"jobs"]:
                return listing((job.unique,) if job.unique else () for job in self._jobs())
        return err("UNKNOWN_SHOW_ARGUMENTS")

    def _jobs(self) -> Iterator[Job]:
        """Those in memory, of which some may go while they are listed."""
        for id_ in self.copies.walk(self.broker.jobs):
            job = self.broker.jobs.get(id_)
            if job is not None and not job.held:
                yield job

    def ready(self, _peer: Peer, _words: list[bytes]) -> bytes:
        """`ready`: whether all the jobs that were stored before the start are known; for health checks. Ours alone."""
        replay = self.broker.index.replay
        return err("NOT_READY", f"{replay.progress} stored jobs are taken up") if replay else OK

    # ---- changes

    def cancel(self, peer: Peer, words: list[bytes]) -> Outgoing:
        """`cancel job HANDLE`; OK is said once the row is gone from the table."""
        if len(words) != 2 or words[0].lower() != b"job":
            return incomplete("cancel")
        match self.broker.cancel(words[1]):
            case Cancelled.UNKNOWN:
                return err("UNKNOWN_JOB")
            case Cancelled.GONE:
                return OK
        self.broker.batch.hold(peer)
        return OK, err("QUEUE_ERROR", NOT_REMOVED)

    def create(self, _peer: Peer, words: list[bytes]) -> bytes:
        """`create function F`"""
        if len(words) != 2 or words[0].lower() != b"function":
            return incomplete("create")
        return self._on_function(words[1], lambda _function: None)

    def _on_function(self, name: bytes, change: Callable[[Function], None]) -> bytes:
        try:
            change(self.broker.function(name))
        except RequestError as error:
            return err(error.code, error.text)
        return OK

    def drop(self, _peer: Peer, words: list[bytes]) -> bytes:
        """`drop function F`, when nothing hangs on it"""
        if len(words) != 2 or words[0].lower() != b"function":
            return incomplete("drop")
        function = self.broker.functions.get(words[1])
        if function is None:
            return b"ERR function not found\r\n"
        if self.broker.index.replay:
            return err("NOT_READY", "Stored jobs are still taken up, and some may be of this function")
        if function.total or function.workers:
            return b"ERR there are still connected workers or executing clients\r\n"
        del self.broker.functions[function.name]
        return OK

    def max_queue(self, _peer: Peer, words: list[bytes]) -> bytes:
        """`maxqueue F`, `maxqueue F n`, `maxqueue F high normal low`; none or 0 is no limit"""
        try:
            name, *numbers = words
            limits = [int(number) for number in numbers]
        except ValueError:
            return incomplete("maxqueue")
        if len(limits) not in (0, 1, len(PRIORITIES)):
            return incomplete("maxqueue")
        return self._on_function(name, lambda function: set_limits(function, limits))

    def shutdown(self, _peer: Peer, words: list[bytes]) -> bytes:
        """`shutdown`, `shutdown graceful`: gone from the C server; a port without a lock is no place for it."""
        if self.shut_down is None:
            return err("UNKNOWN_COMMAND", "shutdown is disabled, start with --allow-shutdown or send SIGTERM")
        match [word.lower() for word in words]:
            case []:
                self.shut_down(False)
            case [b"graceful"]:
                self.shut_down(True)
            case _:
                return err("INVALID_ARGUMENTS", "shutdown takes nothing or graceful")
        return OK


def set_limits(function: Function, limits: list[int]) -> None:
    """maxqueue: one limit for all priorities, or one each, or none."""
    if len(limits) == len(PRIORITIES):
        function.limits = limits[0], limits[1], limits[2]
    else:
        one = limits[0] if limits else 0
        function.limits = one, one, one


def telling(answer: str) -> Callable[[Peer, list[bytes]], bytes]:
    """A command that always says the same."""
    line = f"OK {answer}\n".encode()
    return lambda _peer, _words: line


def listing(rows: Iterable[tuple[bytes | int, ...]]) -> Iterator[str]:
    """Tab-separated lines and the dot. An empty row is no line, but it has to be gone through, and counts."""
    for row in rows:
        line = "\t".join(shown(cell) if isinstance(cell, bytes) else str(cell) for cell in row)
        yield (line if line != DOT else DOT_IN_A_ROW) + "\n" if row else ""
    yield f"{DOT}\n"


def sliced(cells: Iterator[str]) -> Iterator[bytes]:
    """A listing, some of it at a time."""
    for size in chain((FIRST, 1), repeat(SLICE)):
        try:
            some = list(islice(cells, size))
        except Taken:
            yield b"\n" + err("SLOW_READER", "This listing was left unread while others were asked for")  # in any line
            return
        if not some:
            return
        yield "".join(some).encode("utf-8", "surrogateescape")


def shown(name: bytes, visible: dict[int, str] = VISIBLE) -> str:
    """A name in a listing, byte for byte but for what would break the listing."""
    return name.decode("utf-8", "surrogateescape").translate(visible)


def err(code: str, text: str = "") -> bytes:
    """An ERR line; its text is URL-encoded, as the C server's."""
    return f"ERR {code} {quote_plus(text)}".rstrip().encode() + b"\r\n"


def incomplete(command: str) -> bytes:
    """A command with too few or too many words."""
    return err("INVALID_ARGUMENTS", f"An incomplete set of arguments was sent to this command {command}")
