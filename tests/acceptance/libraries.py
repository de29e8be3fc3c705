"""The client libraries under test: how their programs are started, and what each library cannot do, and why.

To add a library: a client and a worker in `programs/` that behave as the others do, and an entry in LIBRARIES. Then
write the tables of docs/clients.md anew:

    python -m tests.acceptance.libraries

**A client's program** gets the server's port. It reads a JSON request a line from its standard input and writes JSON
events, one a line. A payload is text in which each character stands for a byte.

    submit function data [times] [unique] [priority] [background] [timeout]   created, then what the worker sends
    status handle                                                             known: known, running, progress
    exceptions                                                                option: taken
    reconnect                                                                 connected

`times` repeats the data, `timeout` is in seconds. What a worker sends is told as `status` with its progress, as `data`,
`warning`, and in the end `complete` with all data together, `fail` or `exception`; `timeout` when the client gave up,
`disconnected` when the server went. Long results are told by their size and hash.

**A worker's program** gets the server's port and functions, each as BEHAVIOUR[@ANYTHING][:MILLISECONDS], with a time
limit if the server is to set one:

    upper    gives the payload back in upper case
    same     gives the payload back
    show     prints the payload in hexadecimal; then "shown"
    report   sends progress 1/4, the data "a part", the warning "careful"; then "all of " and the payload
    refuse   fails
    blow     fails with the exception "it blew up"
    gate     sends progress 3/4, prints the handle, waits for a line to read; then "let through: " and the line
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.harness.npm import modules
from tests.harness.tools import need

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = Path(__file__).with_name("programs")
NODE: Final = PROGRAMS / "node"
PHP_SETTINGS: Final = ("-d", "display_errors=stderr", "-d", "error_reporting=-1", "-d", "memory_limit=512M")

CLIENTS_CAN: Final = (
    "foreground",
    "background",
    "handles in the foreground",
    "priorities",
    "unique keys",
    "status of a job",
    "progress",
    "data",
    "warnings",
    "failures",
    "exceptions",
    "any bytes",
    "empty payloads",
    "32 MiB",
    "timeout",
    "reconnecting",
    "delayed jobs",
)
WORKERS_CAN: Final = (
    "several functions",
    "progress",
    "data",
    "warnings",
    "failures",
    "exceptions",
    "any bytes",
    "empty results",
    "32 MiB",
    "time limits",
    "reconnecting",
)


@dataclass(frozen=True)
class Library:
    """A library, or a tool. `clients_lack` and `workers_lack` give the reason for each thing that it cannot do.

    The sizes are those that it is tested with.
    """

    name: str
    client: Callable[[], list[str]]
    worker: Callable[[], list[str]]
    clients_lack: Mapping[str, str] = field(default_factory=dict)
    workers_lack: Mapping[str, str] = field(default_factory=dict)
    client_mebibytes: int = 32
    worker_mebibytes: int = 32
    environment: Callable[[], Mapping[str, str]] = dict

    def __post_init__(self) -> None:
        assert self.clients_lack.keys() <= set(CLIENTS_CAN), self
        assert self.workers_lack.keys() <= set(WORKERS_CAN), self


def program(tool: str, name: str, *settings: str) -> Callable[[], list[str]]:
    """A program that a tool runs, which is installed when it is needed first."""
    return lambda: [need(tool), *settings, str(PROGRAMS / name)]


def module(name: str) -> Callable[[], list[str]]:
    """A program in Python."""
    return lambda: [sys.executable, "-m", f"tests.acceptance.programs.{name}"]


def with_gearman(command: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """A program that calls the tool itself."""
    return lambda: [need("gearman"), *command()][1:]


def python_path() -> Mapping[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def node_path() -> Mapping[str, str]:
    return {"NODE_PATH": str(modules(NODE)), "NODE_NO_WARNINGS": "1"}


SLOW: Final = "copies all it has for every 4 KiB it reads; tested with 4 MiB"
NO_DELAY: Final = {"delayed jobs": "has no call for it"}

_LIBRARIES: Final = (
    Library(
        "gearman",
        with_gearman(module("gearman_client")),
        with_gearman(program("sh", "gearman_worker.sh")),
        clients_lack={
            "handles in the foreground": "tells them only when the job has ended",
            "status of a job": "has no option for it",
            "data": "prints data and result as one",
            "exceptions": "does not ask for them: a failure",
            "reconnecting": "connects anew with each run",
            "32 MiB": "reads its input in small steps, copying it each time; tested with 1 MiB",
            **NO_DELAY,
        },
        workers_lack={
            "progress": "knows only the command's output and exit status",
            "data": "sends with `-n` all lines so far for each line, not the line",
            "warnings": "knows only the command's output and exit status",
            "exceptions": "knows only the command's output and exit status",
            "32 MiB": "reads the command's output in small steps, copying it each time; tested with 1 MiB",
            "time limits": "has no option for it",
        },
        client_mebibytes=1,
        worker_mebibytes=1,
        environment=python_path,
    ),
    Library(
        "php",
        program("php", "php_client.php", *PHP_SETTINGS),
        program("php", "php_worker.php", *PHP_SETTINGS),
        clients_lack={"empty payloads": "refuses to submit one", **NO_DELAY},
    ),
    Library(
        "perl",
        program("perl", "perl_client.pl"),
        program("perl", "perl_worker.pl"),
        clients_lack=NO_DELAY,
    ),
    Library(
        "gear",
        module("gear_client"),
        module("gear_worker"),
        clients_lack={"timeout": "waits with a limit only for the handle", "32 MiB": SLOW, **NO_DELAY},
        workers_lack={"32 MiB": SLOW},
        client_mebibytes=4,
        worker_mebibytes=4,
        environment=python_path,
    ),
    Library(
        "python3-gearman",
        module("python3_gearman_client"),
        module("python3_gearman_worker"),
        clients_lack={
            "exceptions": "has no call to ask for them: a failure",
            "any bytes": "takes text, and cuts what is not ASCII",
            "32 MiB": SLOW,
            **NO_DELAY,
        },
        workers_lack={
            "any bytes": "takes text, and cuts what is not ASCII",
            "32 MiB": SLOW,
            "time limits": "has no call for it",
        },
        client_mebibytes=4,
        worker_mebibytes=4,
        environment=python_path,
    ),
    Library(
        "gearmanode",
        program("node", "node/gearmanode_client.js"),
        program("node", "node/gearmanode_worker.js"),
        clients_lack={"timeout": "has no setting for it", **NO_DELAY},
        environment=node_path,
    ),
    Library(
        "abraxas",
        program("node", "node/abraxas_client.js"),
        program("node", "node/abraxas_worker.js"),
        clients_lack={"timeout": "waits with a limit only for the handle"},
        workers_lack={
            "data": "keeps data until the result, except with its own server",
            "failures": "has no call for one without an exception",
        },
        environment=node_path,
    ),
)
LIBRARIES: Final = {library.name: library for library in _LIBRARIES}


def tables() -> Iterator[str]:
    """What clients and workers can do, as the tables of docs/clients.md."""
    yield from table("client", CLIENTS_CAN, {name: library.clients_lack for name, library in LIBRARIES.items()})
    yield ""
    yield from table("worker", WORKERS_CAN, {name: library.workers_lack for name, library in LIBRARIES.items()})


def table(role: str, everything: tuple[str, ...], lack: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield f"| as a {role} | {' | '.join(lack)} |"
    yield "|---" * (len(lack) + 1) + "|"
    for capability in everything:
        yield f"| {capability} | {' | '.join('' if capability in lacking else 'yes' for lacking in lack.values())} |"
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, lacking in lack.items():
        for capability, reason in lacking.items():
            reasons.setdefault((name, reason), []).append(capability)
    yield ""
    for (name, reason), capabilities in reasons.items():
        yield f"- **{name}**, {', '.join(capabilities)}: {reason}."


if __name__ == "__main__":
    sys.stdout.write("\n".join(tables()) + "\n")
