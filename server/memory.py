"""How much memory there is: the machine's, or what its control group allows."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# What a container or a systemd unit may have: of version 2, and of version 1.
CONTROL_GROUPS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
SHARE: Final = 4
MOST: Final = 1 << 30


def memory() -> int:
    """Bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = [machine]
    for path in CONTROL_GROUPS:
        with suppress(OSError, ValueError):  # "max" is none
            allowed.append(int(Path(path).read_text()))
    return min(allowed)


def usual_memory_limit() -> int:
    """Bytes that waiting jobs may take when nobody has said."""
    return min(memory() // SHARE, MOST)
