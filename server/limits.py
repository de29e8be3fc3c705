"""How much of anything there may be. Each is an option; 0 is without limit."""

from dataclasses import dataclass
from typing import Final

# What the columns of the table hold.
LONGEST_FUNCTION: Final = 512
LONGEST_UNIQUE: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, and lengths and sizes in bytes, times in seconds. Each field has the option's name, without its `max`."""

    connections: int = 0
    connections_per_address: int = 0
    first_packet_timeout: float = 0.0
    # A function costs 3.4 kB, so these are 340 MB.
    functions: int = 100_000
    functions_per_worker: int = 50_000
    function_length: int = LONGEST_FUNCTION
    unique_length: int = LONGEST_UNIQUE
    queue: int = 0  # jobs of a function, before `maxqueue` says otherwise
    foreground: int = 0  # bytes of foreground jobs
    output: int = 64 * 1024 * 1024  # unread, of one connection, beyond its largest packet
    buffers: int = 1024 * 1024 * 1024  # of all connections: of large packets on their way in, and of unread answers
