"""What a disk holds after a power cut, from the trace of a process that wrote to it.

What was synced is there. Of what was written since, each sector on its own may be there or not, or hold junk where it
was being written; a file may have its old length or its new one; a new name may be missing and a removed one be back
until the directory was synced. This is what SQLite asks of a disk (https://www.sqlite.org/psow.html), and less
than any file system gives.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.harness.strace import SYNCS, Call

SECTORS: Final = (512, 4096)
NEVER: Final = 1 << 62
# The memory that processes share is written without calls, and after a power cut it may hold anything.
SHARED: Final = "-shm"
SHARED_SIZE: Final = 32 * 1024
IGNORED: Final = (SHARED, ".reserve")


class Write(NamedTuple):
    """Bytes put at a place, or, without bytes, a new length. From the line `safe` on it is synced."""

    began: int
    safe: int
    at: int
    data: bytes | None


class File:
    """One file, whatever its name."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.writes: list[Write] = []

    def after_cut(self, line: int, luck: "Luck") -> bytes:
        """What is read from it after a cut at this line."""
        found = bytearray(self.content)
        for write in self.writes:
            if write.began >= line:
                break
            if write.data is None:
                if write.safe <= line or luck.keeps():
                    found[write.at :] = bytes(max(0, write.at - len(found)))
            elif write.safe <= line:
                put(found, write.at, write.data)
            else:
                for at, data in luck.pieces(write.at, write.data):
                    put(found, at, data)
        return bytes(found)


def put(content: bytearray, at: int, data: bytes) -> None:
    """What was never written in between is zero."""
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


class Luck:
    """What becomes of what was not synced. Some cuts lose all of it, some nothing, some have junk."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._kept = chance.choice((0.0, 1.0, chance.random(), 0.95))
        self._junk = chance.choice((0.0, 0.0, 0.05))
        self._sector = chance.choice(SECTORS)

    def keeps(self) -> bool:
        """Whether one change is on the disk."""
        return self._chance.random() < self._kept

    def pieces(self, at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is on the disk of a write, by its sectors."""
        start = at
        while start < at + len(data):
            end = min((start // self._sector + 1) * self._sector, at + len(data))
            if self._chance.random() < self._junk:
                yield start, self._chance.randbytes(end - start)
            elif self.keeps():
                yield start, data[start - at : end - at]
            start = end

    def shared(self) -> bytes:
        """What a file that was never synced holds."""
        return self._chance.choice((b"", self._chance.randbytes(SHARED_SIZE)))


class Named(NamedTuple):
    """From this line on a name leads to a file, or to none."""

    began: int
    safe: int
    name: str
    file: File | None


class Disk:
    """The files of one directory, from what they were before the trace, all synced, and the trace."""

    def __init__(self, folder: Path, before: Mapping[str, bytes], calls: Sequence[Call]) -> None:
        self._syncs: defaultdict[str, list[Call]] = defaultdict(list)
        self._folder = str(folder)
        self._names: list[Named] = [Named(0, 0, name, File(content)) for name, content in before.items()]
        self._now = {named.name: named.file for named in self._names}
        for call in calls:
            if call.name in SYNCS:
                self._syncs[call.file].append(call)
        for call in calls:
            path = Path(call.file)
            if str(path.parent) == self._folder and not path.name.endswith(IGNORED):
                self._take(call, path.name)

    def _take(self, call: Call, name: str) -> None:
        file = self._now.get(name)
        if call.name == "openat" and file is None:
            self._name(call, name, File())
        elif call.name == "unlink":
            self._name(call, name, None)
        elif file is not None and call.name in ("pwrite64", "ftruncate"):
            data = call.data if call.name == "pwrite64" else None
            file.writes.append(Write(call.began, self._safe(call, call.file), call.numbers[-1], data))
        else:
            assert call.name in ("openat", *SYNCS), call

    def _name(self, call: Call, name: str, file: File | None) -> None:
        self._now[name] = file
        self._names.append(Named(call.began, self._safe(call, self._folder), name, file))

    def _safe(self, call: Call, synced: str) -> int:
        """The line on which the first sync ended that began after this call."""
        return next((sync.ended for sync in self._syncs[synced] if sync.began > call.ended), NEVER)

    def after_cut(self, line: int, chance: random.Random) -> dict[str, bytes]:
        """The files and their contents after a cut at this line."""
        luck = Luck(chance)
        found: dict[str, File | None] = {}
        for named in self._names:
            if named.began < line and (named.safe <= line or luck.keeps()):
                found[named.name] = named.file
        contents = {name: file.after_cut(line, luck) for name, file in found.items() if file is not None}
        return contents | {name + SHARED: luck.shared() for name in contents if name.endswith(".db")}
