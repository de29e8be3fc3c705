"""What is PostgreSQL's own: COPY and what it refuses, schemas, encodings, settings of the user, and the guard."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import URL, text

from gearmand_py.storage import networked, postgresql
from gearmand_py.storage.base import Changes, JobRecord, RowRefused, StorageError, StorageUnavailable, Update
from gearmand_py.storage.postgresql import PostgresStorage
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.urls import storage_for
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.migrations.databases import postgresql_database
from tests.storage.databases import DATABASES, StorageFactory, database_in, migrate, text_of
from tests.storage.records import delete, everything, ids, insert, job, jobs, update

PROXY: Final = "postgresql+pgbouncer"
END_ALL: Final = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '{}'"
SLOW: Final = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
    CREATE TRIGGER slow BEFORE INSERT ON gearman_job EXECUTE FUNCTION slow()
"""


@pytest.fixture(params=[name for name in DATABASES if name.startswith("postgresql")])
async def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has its tables and no jobs; directly and through a proxy."""
    with DATABASES[request.param](tmp_path) as make:
        await migrate(make)
        yield make


@pytest.fixture
async def storage(make_storage: StorageFactory) -> AsyncIterator[PostgresStorage]:
    """An open storage without jobs."""
    async with opened(make_storage()) as storage:
        yield storage


@pytest.fixture
def database() -> Iterator[URL]:
    """An empty database."""
    with database_in("postgresql") as url:
        yield url


@pytest.fixture
def server() -> DatabaseServer:
    return shared_server("postgresql")


def opened(storage: Any) -> PostgresStorage:
    assert isinstance(storage, PostgresStorage)
    return storage


def administer(storage: PostgresStorage, *statements: str) -> None:
    """What an administrator does in the storage's database."""
    for statement in statements:
        shared_server("postgresql").execute(statement, storage.url.database)


def configure(make_storage: StorageFactory, **settings: str) -> None:
    """Settings that each session in the database begins with, as ALTER ROLE gives them to those of one user."""
    storage = opened(make_storage())
    for name, value in settings.items():
        administer(storage, f"ALTER DATABASE {storage.url.database} SET {name} = '{value}'")
    # A proxy would give us its older sessions.
    shared_server("postgresql").execute(END_ALL.format(storage.url.database))


# ---- writing


async def test_a_batch_with_rows_that_are_there_already_is_merged(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = []
    merge = storage._merge

    async def noted(driver: Any, rows: Sequence[JobRecord]) -> None:
        merged.append(len(rows))
        await merge(driver, rows)

    monkeypatch.setattr(storage, "_merge", noted)
    await storage.commit(insert(*jobs(1, 10)))
    await storage.commit(Changes([1], [Update(2, 1, 1)], jobs(11, 20)))
    assert merged == [], "COPY does for rows that are new"

    driver = storage._driver
    await storage.commit(Changes([3], [Update(4, 1, 1)], [job(20, data=b"again"), *jobs(21, 1020)]))
    assert merged == [1001]
    await storage.commit(insert(*jobs(1021, 1030)))
    assert merged == [1001]
    assert storage._driver is driver
    changed = [job(2, data=b"2", attempts=1, run_at=1), job(4, data=b"4", attempts=1, run_at=1)]
    assert await everything(storage) == [*changed, *jobs(5, 1030)]


@pytest.mark.parametrize(
    "changes",
    [
        insert(job(2), job(3, priority=2**15)),
        insert(job(2), job(3, attempts=-(2**15) - 1)),
        insert(job(2), job(3, node=2**15)),
        insert(job(2), job(3, run_at=2**63)),
        insert(job(2), job(-(2**63) - 1)),
        Changes([1], [Update(1, 2**15, 1)], [job(2)]),
        update(Update(1, 1, 2**63)),
        Changes([1], (), [job(2), job(2**63)]),
    ],
)
async def test_a_value_that_the_table_does_not_take_refuses_the_batch(
    storage: PostgresStorage, changes: Changes
) -> None:
    await storage.commit(insert(job(1)))
    with pytest.raises(RowRefused) as failure:
        await storage.commit(changes)
    assert not failure.value.unknown_outcome
    assert await ids(storage) == [1]
    await storage.commit(insert(job(4)))
    assert await ids(storage) == [1, 4]


async def test_a_locked_table_is_told_after_a_while(make_storage: StorageFactory) -> None:
    async with opened(make_storage(patience=2.0)) as storage, opened(make_storage(node=1)) as other:
        connection = await other.connection()
        await connection.execute(text("LOCK TABLE gearman_job"))
        with pytest.raises(StorageUnavailable, match="another session holds a lock on the table: see pg_locks") as said:
            await storage.commit(insert(job(1)))
        assert not said.value.unknown_outcome
        await connection.rollback()
        await storage.commit(insert(job(1)))
        assert await ids(storage) == [1]


async def test_a_dropped_table_is_told_with_the_remedy(storage: PostgresStorage) -> None:
    administer(storage, "DROP TABLE gearman_job CASCADE")
    for changes in (insert(job(1)), delete(1), Changes([1], (), [job(2)])):
        with pytest.raises(StorageError, match=r"was the table dropped\? restore it"):
            await storage.commit(changes)


# ---- schemas


async def test_tables_may_lie_in_a_schema(database: URL, server: DatabaseServer) -> None:
    server.execute("CREATE SCHEMA queue", database.database)
    tables = Tables("", "queue")
    await migrate(lambda **_: storage_for(text_of(database), tables))
    async with storage_for(text_of(database), tables) as storage:
        await storage.commit(Changes([9], [Update(9, 1, 1)], jobs(1, 3)))
        await storage.commit(insert(*jobs(3, 4)))
        assert await everything(storage) == jobs(1, 4)
    assert server.execute("SELECT count(*) FROM queue.gearman_job", database.database) == [(4,)]


async def test_the_search_path_of_the_user_names_the_schema(database: URL, server: DatabaseServer) -> None:
    server.execute("CREATE SCHEMA queue", database.database)
    server.execute(f"ALTER DATABASE {database.database} SET search_path = queue", database.database)
    await migrate(lambda **_: storage_for(text_of(database)))
    async with storage_for(text_of(database)) as storage:
        await storage.commit(insert(job(1)))
    assert server.execute("SELECT id FROM queue.gearman_job", database.database) == [(1,)]


async def test_a_schema_by_its_name_and_by_the_search_path_is_one_queue(
    database: URL, server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gearmand_py.storage.networked.LOCK_SECONDS", 0.0)
    server.execute("CREATE SCHEMA queue", database.database)
    async with storage_for(text_of(database)), storage_for(text_of(database), Tables("", "queue")):
        other = storage_for(text_of(database), Tables("", "public"))
        with pytest.raises(StorageError, match="another server has the queue of node 0"):
            await other.open()
        await other.close()


# ---- encodings


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_bytes_are_exact_in_databases_of_other_encodings(server: DatabaseServer, encoding: str) -> None:
    url = postgresql_database(server, encoding)
    try:
        await migrate(lambda **_: storage_for(text_of(url)))
        odd = bytes(range(1, 256))
        stored = [job(1, function=odd, unique=odd[-64:], reducer=odd, data=b"\0" + odd * 10), job(2, data="€".encode())]
        async with storage_for(text_of(url)) as storage:
            await storage.commit(insert(*stored))
            await storage.commit(insert(*stored))
            assert await everything(storage) == stored
    finally:
        server.drop_database(url)


# ---- settings of the user


async def test_a_timeout_of_the_user_does_not_end_a_batch(make_storage: StorageFactory) -> None:
    configure(make_storage, statement_timeout="1s", idle_in_transaction_session_timeout="1s")
    async with opened(make_storage()) as storage:
        administer(storage, *SLOW.split(";\n"))
        await storage.commit(Changes([5], (), [job(1)]))
        await storage.commit(insert(job(2)))
        assert await ids(storage) == [1, 2]


async def test_no_timeout_of_the_user_takes_the_queue_away(
    make_storage: StorageFactory, server: DatabaseServer
) -> None:
    timeouts = ("idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout")
    known = {name for (name,) in server.execute("SELECT name FROM pg_settings WHERE name LIKE '%_timeout'")}
    configure(make_storage, **{name: "1s" for name in timeouts if name in known})
    async with opened(make_storage()) as storage:
        await storage.commit(insert(job(1)))
        holder = held_by(storage)
        server.execute("SELECT pg_sleep(1.5)")
        assert held_by(storage) == holder
        await storage.commit(insert(job(2)))
        assert await ids(storage) == [1, 2]


def held_by(storage: PostgresStorage) -> list[tuple[Any, ...]]:
    """The sessions with the queue's lock."""
    low = storage._queue_key & 0xFFFFFFFF
    return shared_server("postgresql").execute(
        f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {low}"
    )


async def test_the_isolation_of_the_user_does_not_matter(make_storage: StorageFactory) -> None:
    configure(make_storage, default_transaction_isolation="serializable", default_transaction_deferrable="on")
    async with opened(make_storage()) as storage:
        await storage.commit(insert(*jobs(1, 3)))
        await storage.commit(Changes([1], [Update(2, 1, 1)], jobs(3, 4)))
        assert await ids(storage) == [2, 3, 4]
        assert held_back(storage) == []


async def test_the_guard_does_not_keep_the_database_from_clearing_up(make_storage: StorageFactory) -> None:
    async with opened(make_storage()) as storage:
        await storage.commit(insert(job(1)))
        assert await ids(storage) == [1]
        assert held_back(storage) == []


def held_back(storage: PostgresStorage) -> list[tuple[Any, ...]]:
    """Sessions that keep the database from clearing up what was deleted since they began."""
    return shared_server("postgresql").execute(
        "SELECT state, query FROM pg_stat_activity"
        f" WHERE datname = '{storage.url.database}' AND backend_xmin IS NOT NULL"
    )


async def test_a_database_that_is_read_only_is_told(make_storage: StorageFactory) -> None:
    configure(make_storage, default_transaction_read_only="on")
    async with opened(make_storage()) as storage:
        for changes in (insert(job(1)), delete(1)):
            with pytest.raises(
                StorageUnavailable, match="this is a standby, or the user has default_transaction_read_only"
            ) as failure:
                await storage.commit(changes)
            assert not failure.value.unknown_outcome


async def test_commits_that_do_not_wait_for_the_disk_are_advised_against(make_storage: StorageFactory) -> None:
    async with opened(make_storage()) as storage:
        assert await storage.advice() == []
    configure(make_storage, synchronous_commit="off")
    async with opened(make_storage()) as storage:
        (line,) = await storage.advice()
        assert line.startswith(f"{storage.where}: synchronous_commit is off: ")
        assert "ALTER ROLE ... SET synchronous_commit = on" in line


async def test_an_unlogged_table_is_advised_against(make_storage: StorageFactory) -> None:
    async with opened(make_storage()) as storage:
        administer(storage, "ALTER TABLE gearman_job SET UNLOGGED")
        (line,) = await storage.advice()
        assert "gearman_job is unlogged: a crash of the database empties it: ALTER TABLE ... SET LOGGED" in line


async def test_an_old_server_is_refused(make_storage: StorageFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "OLDEST", 99)
    storage = make_storage()
    with pytest.raises(StorageError, match=r"PostgreSQL [\d.]+ is too old: 99 or later is needed"):
        await storage.open()
    await storage.close()


# ---- behind a proxy


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[StorageFactory]:
    """A queue behind a proxy."""
    with DATABASES[PROXY](tmp_path) as make:
        await migrate(make)
        yield make


async def test_each_transaction_has_another_session_behind_the_proxy(proxied: StorageFactory) -> None:
    """Else these tests would not show what they are for."""
    async with opened(proxied()) as storage:
        found = set()
        for _ in range(5):
            connection = await storage.connection()
            found.add(await connection.scalar(text("SELECT pg_backend_pid()")))
            await connection.rollback()
        assert len(found) > 1
        assert storage._guard


async def test_without_a_proxy_there_is_no_guard(database: URL) -> None:
    async with opened(storage_for(text_of(database))) as storage:
        assert storage._guard is None
        assert storage._fence == ""


async def test_nothing_of_a_batch_is_stored_without_the_guard(proxied: StorageFactory) -> None:
    async with opened(proxied()) as storage:
        await storage.commit(insert(*jobs(1, 2)))
        for changes in (insert(job(3)), delete(1), update(Update(2, 5, 5)), Changes([1], (), [job(4)])):
            await storage.connection()
            end_guard(storage)
            with pytest.raises(StorageUnavailable, match="the session that holds the queue is gone"):
                await storage.commit(changes)
            assert await everything(storage) == jobs(1, 2)  # by a new connection, with a new guard


async def test_the_next_owner_waits_for_a_batch_that_is_under_way(proxied: StorageFactory) -> None:
    """It began while its guard was there: once it has ended, all that it stored is read."""
    async with opened(proxied()) as storage:
        administer(storage, *SLOW.split(";\n"))
        async with opened(storage_for(text_of(storage.url), node=1)) as other:
            committing = asyncio.create_task(storage.commit(insert(job(1))))
            while not await sleeping(other):
                assert not committing.done(), "it was not seen under way"
                await asyncio.sleep(0.01)
        end_guard(storage)
        async with opened(proxied()) as successor:
            assert await ids(successor) == [1]
        await committing


async def test_a_guard_that_is_not_had_in_time_is_given_up(
    proxied: StorageFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = opened(proxied())
    with monkeypatch.context() as patches:
        patches.setattr(networked, "CONNECT_SECONDS", 0.5)
        patches.setattr(networked, "LOCK_SECONDS", 0.0)
        patches.setattr(postgresql, "TRANSACTION_LOCK", text("SELECT pg_sleep(1), abs(:queue), abs(:process)"))
        with pytest.raises(StorageUnavailable, match="no answer"):
            await storage.open()
    gc.collect()
    assert "garbage collector" not in caplog.text, "a connection was left to it"
    await storage.open()
    await storage.commit(insert(job(1)))
    await storage.close()


async def sleeping(storage: PostgresStorage) -> bool:
    """Whether a statement waits in pg_sleep() of the test's trigger."""
    connection = await storage.connection()
    found = await connection.scalar(
        text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
    )
    await connection.rollback()
    return bool(found)


def end_guard(storage: PostgresStorage) -> None:
    """Have the database end the session that holds the queue; returns when it is gone."""
    ((holder,),) = held_by(storage)
    administer(storage, f"SELECT pg_terminate_backend({holder}, 60000)")


async def test_pages_are_read_by_the_key_though_nobody_analysed_the_table(make_storage: StorageFactory) -> None:
    """After a crash of the database its statistics are gone, and the planner takes a scan and a sort for a page."""
    page = "EXPLAIN SELECT * FROM gearman_job WHERE id > 0 AND node = 0 ORDER BY id LIMIT 10000"
    async with make_storage() as storage:
        connection = await storage.connection()
        await connection.exec_driver_sql("ALTER TABLE gearman_job SET (autovacuum_enabled = off)")
        await connection.commit()
        for first in range(1, 200_001, 20_000):
            await storage.commit(insert(*[job(id_, data=b"x" * 100) for id_ in range(first, first + 20_000)]))
        assert storage.before_reading is not None
        await connection.execute(storage.before_reading)
        plan = "\n".join((await connection.exec_driver_sql(page)).scalars())
        await connection.rollback()
        assert "Index Scan" in plan
        assert "Sort" not in plan
        assert len(await storage.load(0, 300_000)) == 200_000
