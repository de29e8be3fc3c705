"""What a process asked of the system, and in which order, read from a trace by strace.

The order can be relied on where it matters: strace lets a thread go on from the end of a call only after it has
written the line for it, so what that thread then causes in another one comes on a later line.
"""

import re
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.harness.process import Process
from tests.harness.tools import need

WRITES: Final = frozenset({"pwrite64", "write", "writev", "sendto", "sendmsg"})
READS: Final = frozenset({"read", "readv", "recvfrom", "recvmsg"})
SYNCS: Final = frozenset({"fsync", "fdatasync"})
# What else changes files: their names and lengths. Of `openat` those calls are kept that may make a file.
CHANGES: Final = frozenset({"openat", "ftruncate", "unlink"})

# "1234 write(5<name>, ... <unfinished ...>" and "1234 <... write resumed>) = 7" are the two halves of one call.
UNFINISHED: Final = " <unfinished ...>"
BEGUN: Final = re.compile(r"(\d+) +(\w+)\((.*)")
RESUMED: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
RESULT: Final = re.compile(r"\) += (-?\d+)(?:<((?:\\x[0-9a-f]{2})+)>)?")
# The name of a file is hexadecimal; that of a connection is not, and has an arrow in it.
DESCRIPTOR: Final = re.compile(r"\d+<(?:((?:\\x[0-9a-f]{2})+)|(.*?))>(?=[,)])")
BYTES: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
NUMBER: Final = re.compile(r", (\d+)(?=[,)])")


class Call(NamedTuple):
    """A system call on a file or a connection: the bytes it carried, and the lines of the trace where it began and
    ended. `numbers` are its last arguments: of pwrite64 how many bytes and where, of ftruncate the length.
    """

    name: str
    file: str
    data: bytes
    began: int
    ended: int
    numbers: tuple[int, ...] = ()


def prefix(trace: Path, calls: Collection[str] = WRITES | SYNCS) -> list[str]:
    """The command that runs another one and writes its trace."""
    # All threads; names of descriptors; strings whole, in hexadecimal.
    options = ["-f", "--seccomp-bpf", "-yy", "-xx", "-s", "1000000", "-e", "signal=none"]
    return [need("strace"), *options, "-e", f"trace={','.join(sorted(calls))}", "-o", str(trace)]


@contextmanager
def attached(pid: int, trace: Path, calls: Collection[str]) -> Iterator[None]:
    """A trace of a process that runs, for a while."""
    command = [option for option in prefix(trace, calls) if option != "--seccomp-bpf"]
    with Process([*command, "-p", str(pid)]) as strace:
        strace.expect_error(rb"attached")
        yield
        strace.send_signal(signal.SIGINT)
        strace.wait()


def read_trace(trace: Path) -> list[Call]:
    """The calls that succeeded, in the order in which they began."""
    begun: dict[str, tuple[int, str, str]] = {}  # by thread: line, name, arguments
    calls: list[Call] = []
    with trace.open() as lines:
        for number, line in enumerate(lines, 1):
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
    result = RESULT.search(arguments_and_result)
    if not result or (returned := int(result[1])) < 0:
        return None
    if name == "openat":
        made = "O_CREAT" in arguments_and_result and result[2]
        return Call(name, _text(result[2]), b"", began, ended) if made else None
    if name == "unlink":
        path = BYTES.search(arguments_and_result)
        return Call(name, _text(path[1]), b"", began, ended) if path else None
    descriptor = DESCRIPTOR.match(arguments_and_result)
    if not descriptor:
        return None
    file = _text(descriptor[1]) if descriptor[1] else descriptor[2]
    strings = list(BYTES.finditer(arguments_and_result, descriptor.end()))
    rest = arguments_and_result[strings[-1].end() if strings else descriptor.end() : result.end()]
    data = b"".join(_bytes(found[1]) for found in strings)[:returned]
    return Call(name, file, data, began, ended, tuple(map(int, NUMBER.findall(rest))))


def _text(hexadecimal: str) -> str:
    return _bytes(hexadecimal).decode()


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))
