"""No database: gearmand's `builtin` queue, for those who want its speed and can lose its jobs."""

from collections.abc import Sequence
from typing import Final

from gearmand_py.storage.base import Changes, JobRecord

BUILTIN: Final = "builtin"  # its name, in the place of a database's URL
WARNING: Final = (
    "NOTHING IS STORED: background jobs are acknowledged and then lost when this server stops or crashes; "
    "leave out --queue-type builtin to keep them in a SQLite file, or give --database"
)


class NoStorage:
    """A `Storage` that keeps nothing."""

    description = "nothing but memory"

    async def open(self) -> None:
        """There is nothing to open."""

    async def advice(self) -> Sequence[str]:
        """What it costs."""
        return (WARNING,)

    async def load(self, after: int, limit: int) -> Sequence[JobRecord]:
        """No rows."""
        return ()

    def reader(self) -> None:
        """There is nothing to read."""

    async def commit(self, changes: Changes) -> None:
        """Forget them."""

    async def close(self) -> None:
        """There is nothing to close."""
