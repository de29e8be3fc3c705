"""What every database behind a network owes: one server a queue, through all that may happen to its session."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text

from gearmand_py.storage import networked
from gearmand_py.storage.base import Changes, StorageInUse, StorageUnavailable
from gearmand_py.storage.networked import NetworkedStorage
from gearmand_py.storage.postgresql import PostgresStorage
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.urls import storage_for
from tests.databases.ports import HOST, free_port
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.storage.databases import DATABASES, StorageFactory, migrate, text_of
from tests.storage.records import everything, ids, insert, job

BACKEND: Final = "SELECT pg_backend_pid()"
# Within this time a storage works again after what happened to its session, also on a loaded machine.
SOON: Final = 30.0


@pytest.fixture(params=[name for name in DATABASES if name != "sqlite"])
async def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has its tables and no jobs."""
    with DATABASES[request.param](tmp_path) as make:
        await migrate(make)
        yield make


@pytest.fixture
async def storage(make_storage: StorageFactory) -> AsyncIterator[NetworkedStorage]:
    """An open storage without jobs."""
    async with networked_by(make_storage) as storage:
        yield storage


@contextmanager
def no_patience() -> Iterator[None]:
    """A queue that is taken is told at once."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(networked, "LOCK_SECONDS", 0.0)
        yield


def networked_by(make_storage: StorageFactory, **settings: Any) -> NetworkedStorage:
    storage = make_storage(**settings)
    assert isinstance(storage, NetworkedStorage)
    return storage


def server_of(storage: NetworkedStorage) -> DatabaseServer:
    """The server that the storage is in, for its administrator."""
    if storage.url.get_backend_name() == "postgresql":
        return shared_server("postgresql")
    return shared_server("mariadb" if "MariaDB" in storage.system else "mysql")


async def session_of(storage: NetworkedStorage) -> int:
    """The session that holds the queue."""
    if not isinstance(storage, PostgresStorage):
        return await number(storage, "SELECT connection_id()")
    if storage._guard:
        return int(await storage._guard.scalar(text(BACKEND)))
    return await number(storage, BACKEND)


async def number(storage: NetworkedStorage, query: str) -> int:
    """What one query of the storage's own connection gives."""
    connection = await storage.connection()
    found = int(await connection.scalar(text(query)))
    await connection.rollback()
    return found


def sessions(server: DatabaseServer) -> set[int]:
    """All that the server has."""
    listed = "pg_stat_activity" if server.kind == "postgresql" else "information_schema.processlist"
    column = "pid" if server.kind == "postgresql" else "id"
    return {number for (number,) in server.execute(f"SELECT {column} FROM {listed}")}


def end(server: DatabaseServer, session: int) -> None:
    """What an administrator does; returns when the session has let go of its locks."""
    statement = f"SELECT pg_terminate_backend({session})" if server.kind == "postgresql" else f"KILL {session}"
    server.execute(statement)
    until = time.monotonic() + SOON
    while session in sessions(server):
        assert time.monotonic() < until, "the session does not end"


def lose(storage: NetworkedStorage) -> list[Any]:
    """Have the storage forget its connections, while all stays as it is in the database: a ghost. It is held here."""
    held = [storage._connection, storage._driver]
    storage._connection = storage._driver = None
    if isinstance(storage, PostgresStorage):
        held.append(storage._guard)
        storage._guard = None
    return held


async def restored(storage: NetworkedStorage, changes: Changes) -> None:
    """Commit as the journal does: again after a failure that may pass."""
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await storage.commit(changes)
            except StorageUnavailable:
                await asyncio.sleep(0.01)


# ---- one server a queue


async def test_a_second_server_is_refused_and_told_who_has_the_queue(
    make_storage: StorageFactory, storage: NetworkedStorage
) -> None:
    session = await session_of(storage)
    other = make_storage()
    with no_patience(), pytest.raises(StorageInUse) as refused:
        await other.open()
    assert f"another server has the queue of node 0: session {session}" in str(refused.value)
    assert "stop it, or give this one another --node or --table-prefix" in str(refused.value)
    assert str(storage.url.password) not in str(refused.value)
    with no_patience(), pytest.raises(StorageInUse):
        await other.commit(insert(job(1)))
    await other.close()
    await storage.commit(insert(job(2)))  # the first one is none the worse
    assert await ids(storage) == [2]
    assert await session_of(storage) == session


async def test_another_node_or_prefix_is_another_queue(make_storage: StorageFactory, storage: NetworkedStorage) -> None:
    tables = Tables("other_")
    await migrate_as(make_storage, tables)
    async with make_storage(node=1) as neighbour, make_storage(tables=tables) as other:
        await storage.commit(insert(job(1)))
        await neighbour.commit(insert(job(2, node=1)))
        await other.commit(insert(job(3)))
        assert [await ids(one) for one in (storage, neighbour, other)] == [[1], [2], [3]]


async def migrate_as(make_storage: StorageFactory, tables: Tables) -> None:
    """Bring a queue of other names to the newest schema."""

    def make(**settings: Any) -> Any:
        return make_storage(tables=tables, **settings)

    await migrate(make)


async def test_the_same_names_in_another_database_are_another_queue(storage: NetworkedStorage) -> None:
    server = server_of(storage)
    url = server.create_database()
    try:
        async with storage_for(text_of(url)):
            await storage.commit(insert(job(1)))
    finally:
        server.drop_database(url)


async def test_a_second_server_waits_a_moment_for_the_first_to_end(make_storage: StorageFactory) -> None:
    first, second = make_storage(), make_storage()
    await first.open()
    opening = asyncio.create_task(second.open())
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(opening), 0.3)
        await first.commit(insert(job(1)))
        await first.close()
        await asyncio.wait_for(opening, SOON)
        assert await ids(second) == [1]
    finally:
        await first.close()
        await second.close()


async def test_looking_takes_nothing(make_storage: StorageFactory, storage: NetworkedStorage) -> None:
    other = make_storage()
    await other.look()
    await storage.commit(insert(job(1)))
    assert await ids(other) == [1]
    await other.close()


# ---- a session that ends


async def test_after_its_session_was_ended_a_storage_takes_the_queue_again(
    make_storage: StorageFactory, storage: NetworkedStorage
) -> None:
    await storage.commit(insert(job(1)))
    end(server_of(storage), await session_of(storage))
    await restored(storage, insert(job(2)))
    assert await ids(storage) == [1, 2]
    other = make_storage()
    with no_patience(), pytest.raises(StorageInUse):
        await other.open()
    await other.close()


async def test_a_storage_whose_queue_was_taken_meanwhile_commits_nothing(
    make_storage: StorageFactory, storage: NetworkedStorage
) -> None:
    await storage.commit(insert(job(1)))
    end(server_of(storage), await session_of(storage))
    async with make_storage() as other:
        await other.commit(insert(job(2)))
        with no_patience():
            for _ in range(3):
                with pytest.raises((StorageUnavailable, StorageInUse)):
                    await storage.commit(insert(job(3)))
            with pytest.raises(StorageInUse):
                await storage.commit(insert(job(3)))
        assert await ids(other) == [1, 2]
    await storage.commit(insert(job(4)))
    assert await ids(storage) == [1, 2, 4]


async def test_a_ghost_of_the_same_process_is_ended(storage: NetworkedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was cut on our side only: the database still has the session, its locks and its transaction."""
    await storage.commit(insert(job(1)))
    ghost = await session_of(storage)
    held = lose(storage)
    monkeypatch.setattr(networked, "LOCK_SECONDS", 2 * SOON)  # to tell waiting for it from a slow machine
    started = time.monotonic()
    await storage.commit(insert(job(2)))
    assert time.monotonic() - started < SOON
    assert await session_of(storage) != ghost
    assert ghost not in sessions(server_of(storage))
    assert await ids(storage) == [1, 2]
    await let_go(held)


async def test_what_a_ghost_had_not_committed_is_gone(storage: NetworkedStorage) -> None:
    await storage.commit(insert(job(1)))
    connection = await storage.connection()
    await connection.execute(storage.tables.job.insert().values(job(2)))
    held = lose(storage)
    await storage.commit(insert(job(3)))
    assert await ids(storage) == [1, 3]
    await let_go(held)
    assert await ids(storage) == [1, 3]


async def let_go(held: list[Any]) -> None:
    """Throw a ghost's connections away."""
    for connection in (held[0], *held[2:]):
        if connection is not None:
            await connection.invalidate()
            await connection.close()


# ---- what fails before anything was sent


async def refusal(storage: NetworkedStorage) -> StorageUnavailable:
    """Why a commit of a storage that has no connection yet is refused, and will not be found done."""
    with pytest.raises(StorageUnavailable) as failure:
        await storage.commit(insert(job(1)))
    await storage.close()
    assert not failure.value.unknown_outcome
    return failure.value


async def test_nothing_was_done_when_there_is_no_connection(make_storage: StorageFactory) -> None:
    url = make_storage().url
    for changed, reason in [
        (url.set(host=HOST, port=free_port()), "connection refused"),
        (url.set(database="nosuch"), "database"),
        (url.set(host="no-such-host.invalid"), "check the host's name"),
    ]:
        storage = storage_for(text_of(changed))
        assert isinstance(storage, NetworkedStorage)
        assert reason in str(await refusal(storage))


async def test_nothing_was_done_when_nobody_answers(
    make_storage: StorageFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networked, "CONNECT_SECONDS", 0.3)
    url = make_storage().url
    with socket.create_server((HOST, 0)) as silent:
        for patience in (30.0, 0.1):
            storage = storage_for(text_of(url.set(host=HOST, port=silent.getsockname()[1])), patience=patience)
            assert isinstance(storage, NetworkedStorage)
            assert "no answer" in str(await refusal(storage))


async def test_the_password_is_asked_for_at_each_connection(make_storage: StorageFactory) -> None:
    right = str(make_storage().url.password)
    passwords = [right, "changed in the database first", right]
    storage = networked_by(make_storage, password=lambda: passwords[0])
    await storage.open()
    end(server_of(storage), await session_of(storage))
    passwords.pop(0)
    with suppress(StorageUnavailable):  # it may have to be told by its first failure that the session is gone
        await storage.commit(insert(job(1)))
    assert "check" in (said := str(await refusal(storage)))
    assert "password" in said
    passwords.pop(0)
    await storage.commit(insert(job(1)))
    assert await everything(storage) == [job(1)]
    await storage.close()
