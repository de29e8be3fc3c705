"""The databases that the exercise runs on. A further one is a function here and its entry in DATABASES."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from gearmand_py.migrations import upgrade
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.urls import storage_for

StorageFactory = Callable[[], SqlStorage]  # each call gives another storage on the same queue, not opened


@contextmanager
def sqlite(folder: Path) -> Iterator[StorageFactory]:
    """A file of its own."""
    yield lambda: storage_for(f"sqlite:///{folder / 'queue.db'}")


# Each makes a database that is empty, in or beside the given directory, and takes it away again.
DATABASES: Final[dict[str, Callable[[Path], AbstractContextManager[StorageFactory]]]] = {"sqlite": sqlite}


async def migrate(make_storage: StorageFactory) -> None:
    """Bring an empty database to the newest schema."""
    async with make_storage() as storage:
        await upgrade(storage.engine)
