"""The unmodified clients of other projects, started against one server."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from tests.acceptance.libraries import LIBRARIES, PHP_SETTINGS, PROGRAMS
from tests.harness.process import DEADLINE, Process
from tests.harness.server import HOST, Server
from tests.harness.tools import need

Event = dict[str, Any]
# Some libraries copy a large payload again and again: seconds of a processor, and of a busy one many.
PATIENCE: Final = 4 * DEADLINE
# The events after which nothing more comes for a job.
ENDS: Final = frozenset({"complete", "fail", "exception", "timeout", "disconnected"})


class Clients:
    """Starts clients and workers against a server; all end with `close`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._processes: list[Process] = []

    def _start(self, *command: str, stdin: bytes | None = b"", environment: Mapping[str, str] | None = None) -> Process:
        process = Process(command, stdin=stdin, environment=environment)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.close()

    def client(self, library: str) -> "Client":
        """The client program of a library."""
        found = LIBRARIES[library]
        command = (*found.client(), str(self.server.port))
        return Client(self._start(*command, stdin=None, environment=found.environment()))

    def worker(self, library: str, *functions: str) -> Process:
        """The worker program of a library, for some of the functions that `libraries` describes."""
        found = LIBRARIES[library]
        command = (*found.worker(), str(self.server.port), *functions)
        return self._start(*command, stdin=None, environment=found.environment())

    def gearman(self, *arguments: str, stdin: bytes = b"") -> Process:
        """libgearman's command line, a client, or with `-w` a worker."""
        return self._start(need("gearman"), "-h", HOST, "-p", str(self.server.port), *arguments, stdin=stdin)

    def gearadmin(self, *arguments: str) -> str:
        """What libgearman's administration tool prints."""
        return self.start_gearadmin(*arguments).result().decode()

    def start_gearadmin(self, *arguments: str) -> Process:
        """libgearman's administration tool."""
        return self._start(need("gearadmin"), "-h", HOST, "-p", str(self.server.port), *arguments)

    def php(self, name: str, *arguments: str) -> Process:
        """A program in PHP."""
        return self._start(need("php"), *PHP_SETTINGS, str(PROGRAMS / name), str(self.server.port), *arguments)


class Client:
    """The test's end of a client program."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def request(self, name: str, **details: object) -> None:
        """Ask the program to do something; what comes of it is told as events."""
        self._process.say(json.dumps({"request": name, **details}))

    def next_event(self) -> Event:
        event: Event = json.loads(self._process.expect(rb"([^\n]*)\n", PATIENCE)[1])
        return event

    def event(self, expected: str) -> Event:
        """The next event, which must be the expected one."""
        event = self.next_event()
        if event["event"] != expected:
            self._process.fail(f"told {event} where {expected} was expected")
        return event

    def submit(self, function: str, data: str = "x", **details: object) -> str:
        """Submit a job; returns its handle."""
        self.request("submit", function=function, data=data, **details)
        handle: str = self.event("created")["handle"]
        return handle

    def until_end(self) -> list[Event]:
        """All events of a job, up to its end."""
        events = [self.next_event()]
        while events[-1]["event"] not in ENDS:
            events.append(self.next_event())
        return events

    def run(self, function: str, data: str = "x", **details: object) -> Event:
        """Submit a job in the foreground; returns the event that ends it."""
        self.request("submit", function=function, data=data, **details)
        return self.until_end()[-1]

    def result(self, function: str, data: str = "x", **details: object) -> str:
        """Submit a job in the foreground, which must succeed; returns its result."""
        end = self.run(function, data, **details)
        if end["event"] != "complete":
            self._process.fail(f"told {end} where a result was expected")
        result: str = end["data"]
        return result

    def status(self, handle: str) -> tuple[bool, bool, float]:
        """What the server says of a job: known, running, which part of it is done."""
        self.request("status", handle=handle)
        event = self.event("known")
        done, whole = event["progress"]
        return event["known"], event["running"], done / (whole or 1)

    def listing(self, what: str) -> list[str]:
        """The lines of an administrative listing; `what` is one of gear's AdminRequest classes."""
        self.request("listing", what=what)
        lines: list[str] = self.event("listing")["text"].splitlines()
        return lines


def sha256(text: str, size: int) -> str:
    """The hash of so many bytes, of a text over and over."""
    return hashlib.sha256(text.encode("latin-1") * (size // len(text))).hexdigest()


def until(ask: Callable[[], object], wanted: object) -> None:
    """Ask until the answer is the wanted one."""
    deadline = time.monotonic() + DEADLINE
    while (answer := ask()) != wanted:
        if time.monotonic() > deadline:
            pytest.fail(f"{answer!r} did not become {wanted!r}")
