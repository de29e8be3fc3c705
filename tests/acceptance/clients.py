"""The unmodified clients of other projects, started against one server."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.harness.process import Process
from tests.harness.server import HOST, Server
from tests.harness.tools import need

PROGRAMS: Final = Path(__file__).with_name("programs")
PHP_SETTINGS: Final = ("-d", "display_errors=stderr", "-d", "error_reporting=-1", "-d", "memory_limit=512M")


class Clients:
    """Starts clients and workers against a server; all end with `close`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._processes: list[Process] = []

    def _start(self, *command: str, stdin: bytes | None = b"") -> Process:
        process = Process(command, stdin=stdin)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.close()

    def gearman(self, *arguments: str, stdin: bytes = b"") -> Process:
        """libgearman's command line, a client, or with `-w` a worker."""
        return self._start(need("gearman"), "-h", HOST, "-p", str(self.server.port), *arguments, stdin=stdin)

    def gearadmin(self, *arguments: str) -> str:
        """What libgearman's administration tool prints."""
        return self.start_gearadmin(*arguments).result().decode()

    def start_gearadmin(self, *arguments: str) -> Process:
        """libgearman's administration tool."""
        return self._start(need("gearadmin"), "-h", HOST, "-p", str(self.server.port), *arguments)

    def php(self, program: str, *arguments: str, stdin: bytes | None = b"") -> Process:
        """A program in PHP."""
        command = (need("php"), *PHP_SETTINGS, str(PROGRAMS / program), str(self.server.port), *arguments)
        return self._start(*command, stdin=stdin)

    def php_worker(self, *functions: str) -> Process:
        """A worker in PHP for some of the functions in worker.php."""
        return self.php("worker.php", *functions, stdin=None)

    def gear_worker(self, *functions: str) -> Process:
        """A worker made with gear for some of the functions in gear_worker.py."""
        return self._start(*self._gear("gear_worker.py"), *functions, stdin=None)

    def gear_client(self) -> "GearClient":
        """A client made with gear."""
        return GearClient(self._start(*self._gear("gear_client.py"), stdin=None))

    def _gear(self, program: str) -> tuple[str, ...]:
        return sys.executable, str(PROGRAMS / program), str(self.server.port)


class GearClient:
    """The test's end of gear_client.py."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def request(self, name: str, **details: object) -> None:
        """Ask the program to do something; what comes of it is an event."""
        self._process.say(json.dumps({"request": name, **details}))

    def event(self, expected: str) -> dict[str, Any]:
        """The next event, which must be the expected one."""
        event: dict[str, Any] = json.loads(self._process.expect(rb"([^\n]*)\n")[1])
        if event["event"] != expected:
            self._process.fail(f"told {event} where {expected} was expected")
        return event

    def submit(self, function: str, data: str = "", **details: object) -> str:
        """Submit a job; returns its handle."""
        self.request("submit", function=function, data=data, **details)
        handle: str = self.event("created")["handle"]
        return handle

    def status(self, handle: str) -> tuple[bool, bool, list[int]]:
        """What the server says of a job: known, running, numerator and denominator."""
        self.request("status", handle=handle)
        event = self.event("known")
        return event["known"], event["running"], event["progress"]

    def listing(self, what: str) -> list[str]:
        """The lines of an administrative listing; `what` is one of gear's AdminRequest classes."""
        self.request("listing", what=what)
        lines: list[str] = self.event("listing")["text"].splitlines()
        return lines
