"""The disk after a power cut is as unkind as it says, and no more."""

import random
from pathlib import Path
from typing import Final

from tests.durability.disk import Disk
from tests.harness.strace import Call

FOLDER: Final = Path("/queue")
SEEDS: Final = 200
OLD: Final = b"o" * 1024
NEW: Final = b"n" * 1024


def call(name: str, line: int, *numbers: int, file: str = "/queue/f", data: bytes = b"") -> Call:
    """A call that took no time."""
    return Call(name, file, data, line, line, numbers)


def write(line: int, at: int = 0, data: bytes = NEW) -> Call:
    return call("pwrite64", line, len(data), at, data=data)


def after(line: int, *calls: Call, **before: bytes) -> set[bytes | None]:
    """What the file may hold after a cut at this line; None: there is none."""
    disk = Disk(FOLDER, before, calls)
    return {disk.after_cut(line, random.Random(seed)).get("f") for seed in range(SEEDS)}


def test_what_was_synced_is_there() -> None:
    assert after(4, write(2), call("fdatasync", 3), f=OLD) == {NEW}


def test_before_the_write_there_is_nothing_of_it() -> None:
    assert after(2, write(2), call("fdatasync", 3), f=OLD) == {OLD}


def test_what_was_not_synced_is_there_by_sectors_or_is_not() -> None:
    found = after(3, write(2), call("fdatasync", 4), f=OLD)
    assert {OLD, NEW, OLD[:512] + NEW[512:], NEW[:512] + OLD[512:]} < found
    assert any(content and set(content) - {*OLD, *NEW} for content in found), "no junk"


def test_a_sync_that_began_before_the_write_ended_says_nothing_of_it() -> None:
    slow = Call("pwrite64", "/queue/f", NEW, 2, 4, (len(NEW), 0))
    assert OLD in after(6, slow, call("fdatasync", 3), f=OLD)


def test_a_later_write_may_come_before_an_earlier_one() -> None:
    found = after(4, write(2, 0, b"1" * 512), write(3, 512, b"2" * 512), f=OLD)
    assert b"o" * 512 + b"2" * 512 in found
    assert b"1" * 512 + b"o" * 512 in found


def test_what_is_behind_the_end_is_zero() -> None:
    assert b"\0" * 512 + b"n" * 512 in after(3, write(2, 512, b"n" * 512), f=b"")


def test_a_length_counts_when_it_is_synced() -> None:
    cut = call("ftruncate", 2, 10)
    assert after(3, cut, f=OLD) == {OLD, OLD[:10]}
    assert after(4, cut, call("fsync", 3), f=OLD) == {OLD[:10]}


def test_a_new_file_has_a_name_when_its_directory_is_synced() -> None:
    made = (call("openat", 2), write(3), call("fdatasync", 4))
    assert after(5, *made) == {None, NEW}
    assert after(6, *made, call("fsync", 5, file="/queue")) == {NEW}


def test_a_removed_file_is_gone_when_its_directory_is_synced() -> None:
    assert after(3, call("unlink", 2), f=OLD) == {None, OLD}
    assert after(4, call("unlink", 2), call("fdatasync", 3, file="/queue"), f=OLD) == {None}


def test_a_file_made_anew_is_another_one() -> None:
    calls = (call("unlink", 2), call("openat", 3), write(4, 0, NEW), call("fdatasync", 5))
    assert after(6, *calls, f=OLD) == {None, OLD, NEW}
