"""What a process asked of the system, and in which order, read from a trace by strace.

The order can be relied on where it matters: strace lets a thread go on from the end of a call only after it has
written the line for it, so what that thread then causes in another one comes on a later line.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.harness.tools import need

WRITES: Final = frozenset({"pwrite64", "write", "writev", "sendto", "sendmsg"})
SYNCS: Final = frozenset({"fsync", "fdatasync"})

# "1234 write(5<name>, ... <unfinished ...>" and "1234 <... write resumed>) = 7" are the two halves of one call.
UNFINISHED: Final = " <unfinished ...>"
BEGUN: Final = re.compile(r"(\d+) +(\w+)\((.*)")
RESUMED: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
RESULT: Final = re.compile(r"\) += (-?\d+)")
# The name of a file is hexadecimal; that of a connection is not, and has an arrow in it.
DESCRIPTOR: Final = re.compile(r"\d+<(?:((?:\\x[0-9a-f]{2})+)|(.*?))>(?=[,)])")
BYTES: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Call(NamedTuple):
    """A system call on a file or a connection: what it wrote, and the lines of the trace where it began and ended."""

    name: str
    file: str
    data: bytes
    began: int
    ended: int


def prefix(trace: Path) -> list[str]:
    """The command that runs another one and writes its trace."""
    calls = ",".join(sorted(WRITES | SYNCS))
    # All threads; names of descriptors; strings whole, in hexadecimal.
    options = ["-f", "--seccomp-bpf", "-yy", "-xx", "-s", "1000000", "-e", "signal=none", "-e", f"trace={calls}"]
    return [need("strace"), *options, "-o", str(trace)]


def read_trace(trace: Path) -> list[Call]:
    """The calls that succeeded, in the order in which they began."""
    begun: dict[str, tuple[int, str, str]] = {}  # by thread: line, name, arguments
    calls: list[Call] = []
    for number, line in enumerate(trace.read_text().splitlines(), 1):
        if found := BEGUN.match(line):
            thread, name, rest = found.groups()
            began = number
        elif (found := RESUMED.match(line)) and found[1] in begun:
            thread, more = found.groups()
            began, name, rest = begun.pop(thread)
            rest += more
        else:
            continue
        if rest.endswith(UNFINISHED):
            begun[thread] = began, name, rest.removesuffix(UNFINISHED)
        elif call := _call(name, rest, began, number):
            calls.append(call)
    return sorted(calls, key=lambda call: call.began)


def _call(name: str, arguments_and_result: str, began: int, ended: int) -> Call | None:
    descriptor = DESCRIPTOR.match(arguments_and_result)
    result = RESULT.search(arguments_and_result)
    if not descriptor or not result or (written := int(result[1])) < 0:
        return None
    file = _bytes(descriptor[1]).decode() if descriptor[1] else descriptor[2]
    data = b"".join(_bytes(found) for found in BYTES.findall(arguments_and_result, descriptor.end()))
    return Call(name, file, data[:written], began, ended)


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))
