"""Servers that risk what they are given, and servers that stop answering: these cannot be shared with other tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from gearmand_py.storage import networked
from gearmand_py.storage.base import StorageUnavailable
from gearmand_py.storage.networked import NetworkedStorage
from gearmand_py.storage.urls import storage_for
from tests.databases.selection import SERVERS
from tests.databases.server import OwnedServer
from tests.databases.sources import own_server
from tests.storage.databases import migrate, text_of
from tests.storage.records import ids, insert, job

PATIENCE: Final = 0.5
SOON: Final = 30.0  # far above what it takes on a loaded machine; a frozen server would be waited for without end
RISKY: Final = {
    "postgresql": {"fsync": "off", "full_page_writes": "off"},
    "mysql": {"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0", "innodb_doublewrite": "OFF"},
    "mariadb": {
        "innodb_flush_log_at_trx_commit": "0",
        "sync_binlog": "0",
        "log_bin": "binlog",
        "innodb_doublewrite": "OFF",
    },
}
REMEDIES: Final = {
    "fsync": "fsync is off: a crash of the database's host may destroy the queue: turn it on",
    "full_page_writes": "full_page_writes is off: a crash of the database's host may destroy the queue: turn it on",
    "innodb_flush_log_at_trx_commit": ": the jobs acknowledged last may be lost in a crash: set it to 1",
    "sync_binlog": "sync_binlog is 0: the jobs acknowledged last may be lost in a power cut: set it to 1",
    "innodb_doublewrite": "innodb_doublewrite is off: a power cut may destroy the queue",
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[OwnedServer]:
    with own_server(request.param, RISKY[request.param]) as server:
        yield server


@pytest.fixture
async def storage(server: OwnedServer) -> AsyncIterator[NetworkedStorage]:
    """An open storage in a database of its own."""
    url = server.create_database()
    storage = storage_for(text_of(url))
    assert isinstance(storage, NetworkedStorage)
    await migrate(lambda **_: storage_for(text_of(url)))
    async with storage:
        yield storage
    server.drop_database(url)


async def test_each_setting_that_risks_jobs_is_told_with_its_remedy(
    server: OwnedServer, storage: NetworkedStorage
) -> None:
    lines = await storage.advice()
    settings = [name for name in RISKY[server.kind] if name != "log_bin"]
    assert len(lines) == len(settings)
    for setting in settings:
        (line,) = [line for line in lines if f" {setting} is " in line]
        assert line.startswith(f"{storage.where}: ")
        assert REMEDIES[setting] in line


async def test_a_commit_on_a_frozen_server_is_given_up_and_the_storage_recovers(
    server: OwnedServer, storage: NetworkedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.commit(insert(job(1)))
    server.freeze()
    impatient(storage, monkeypatch)
    try:
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match="no answer") as failure:
            await storage.commit(insert(job(2)))
        assert PATIENCE <= time.monotonic() - started < SOON
        assert failure.value.unknown_outcome
        with pytest.raises(StorageUnavailable, match="no answer") as failure:
            await storage.commit(insert(job(2)))
        assert not failure.value.unknown_outcome, "this one found no connection"
    finally:
        server.thaw()
    monkeypatch.undo()
    await recovered(storage)
    assert await ids(storage) == [1, 2]


def impatient(storage: NetworkedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on only: a server that is well may need longer than that on a loaded machine."""
    monkeypatch.setattr(networked, "CONNECT_SECONDS", PATIENCE)
    for name in ("_patience", "_first_try", "_allowed"):
        monkeypatch.setattr(storage, name, PATIENCE)


async def recovered(storage: NetworkedStorage) -> None:
    """Do the batch again, as the journal does."""
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await storage.commit(insert(job(2)))
            except StorageUnavailable:
                await asyncio.sleep(0.05)


async def test_closing_on_a_frozen_server_does_not_wait_for_it(server: OwnedServer, storage: NetworkedStorage) -> None:
    await storage.commit(insert(job(1)))
    server.freeze()
    try:
        started = time.monotonic()
        await storage.close()
        assert time.monotonic() - started < SOON
    finally:
        server.thaw()
