"""What is MySQL's and MariaDB's own: packets, escaping, engines, modes, and the server's settings for new sessions."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import pytest

from gearmand_py.storage import mysql
from gearmand_py.storage.base import Changes, RowRefused, StorageError, StorageUnavailable, Update
from gearmand_py.storage.mysql import PACKET_BYTES, MysqlStorage
from gearmand_py.storage.urls import storage_for
from tests.databases.selection import SERVERS
from tests.databases.server import DatabaseServer
from tests.databases.sources import shared_server
from tests.storage.databases import StorageFactory, database_in, migrate, text_of
from tests.storage.records import delete, everything, ids, insert, job, jobs, update

KINDS: Final = tuple(kind for kind in SERVERS if kind != "postgresql")
MIB: Final = 1024 * 1024

# Payloads that escape wrongly in some mode or character set, on either side of the size from which they are escaped.
TRICKY: Final = {
    "quotes and backslashes": b"'\\'\"\\\\'`;--\\",
    "ends with a backslash": b"x\\",
    "a character of two bytes in gbk and sjis": b"\xbf'\xbf\\\x83\\'\xa1'",
    "every byte": bytes(range(256)),
}
SIZES: Final = (1, 1000)  # repetitions


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return shared_server(request.param)


@pytest.fixture(params=["", "+asyncmy"], ids=["aiomysql", "asyncmy"])
async def make_storage(server: DatabaseServer, request: pytest.FixtureRequest) -> AsyncIterator[StorageFactory]:
    """Makes storages on one queue, which has its tables and no jobs."""
    with database_in(server.kind) as url:
        make = partial(storage_for, text_of(url.set(drivername=server.kind + request.param)))
        await migrate(make)
        yield make


@contextmanager
def set_globally(server: DatabaseServer, **settings: str) -> Iterator[None]:
    """What sessions begin with that are made now."""
    with ExitStack() as stack:
        for name, value in settings.items():
            ((before,),) = server.execute(f"SELECT @@GLOBAL.{name}")
            stack.callback(server.execute, f"SET GLOBAL {name} = {quoted(before)}")
            server.execute(f"SET GLOBAL {name} = {quoted(value)}")
        yield


def quoted(value: Any) -> str:
    return str(value) if str(value).isdecimal() else f"'{value}'"


def opened(storage: Any) -> MysqlStorage:
    assert isinstance(storage, MysqlStorage)
    return storage


async def number_of_session(storage: MysqlStorage) -> int:
    connection = await storage.connection()
    found = (await connection.exec_driver_sql("SELECT connection_id()")).scalar_one()
    await connection.rollback()
    return int(found)


# ---- exact bytes


@pytest.mark.parametrize("mode", ["ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE", ""])
async def test_payloads_are_exact_in_every_mode_of_the_server(
    server: DatabaseServer, make_storage: StorageFactory, mode: str
) -> None:
    with set_globally(server, sql_mode=mode):
        async with make_storage() as storage:
            await tricky_payloads_are_exact(storage)


@pytest.mark.parametrize("charset", ["latin1", "gbk", "sjis", "big5"])
async def test_payloads_are_exact_in_every_character_set(make_storage: StorageFactory, charset: str) -> None:
    url = make_storage().url.update_query_dict({"charset": charset})
    async with storage_for(text_of(url)) as storage:
        await tricky_payloads_are_exact(storage)


async def test_payloads_are_exact_whatever_the_server_has_sessions_begin_with(
    server: DatabaseServer, make_storage: StorageFactory
) -> None:
    """Not that of an administrator: sessions of one do not begin with it."""
    with a_user(server, make_storage, "secret") as user, set_globally(server, init_connect="SET NAMES gbk"):
        async with storage_for(text_of(make_storage().url.set(username=user, password="secret"))) as storage:
            await tricky_payloads_are_exact(storage)


async def tricky_payloads_are_exact(storage: Any) -> None:
    payloads = [payload * size for payload in TRICKY.values() for size in SIZES]
    stored = [job(number, data=payload, unique=payload[:64]) for number, payload in enumerate(payloads, 1)]
    await storage.commit(insert(*stored))
    assert await everything(storage) == stored
    await storage.commit(delete(*range(1, 100)))
    for record in stored:
        await storage.commit(insert(record))
    assert await everything(storage) == stored


async def test_the_character_set_of_the_server_does_not_matter(server: DatabaseServer) -> None:
    with set_globally(server, character_set_server="latin1"), database_in(server.kind) as url:
        make = partial(storage_for, text_of(url))
        await migrate(make)
        async with make() as storage:
            await tricky_payloads_are_exact(storage)


async def test_no_value_is_cut_to_fit(server: DatabaseServer, make_storage: StorageFactory) -> None:
    with set_globally(server, sql_mode=""):
        async with make_storage() as storage:
            await storage.commit(insert(job(1)))
            session = await number_of_session(opened(storage))
            for changes in (
                insert(job(2), job(3, unique=b"x" * 65)),
                insert(job(2), job(3, function=b"x" * 513)),
                insert(job(2), job(3, priority=2**15)),
                insert(job(2), job(2**63)),
                Changes([9], [Update(1, 2**15, 1)], [job(2)]),
                Changes([1], (), [job(2), job(3, run_at=2**63)]),
            ):
                with pytest.raises(RowRefused) as failure:
                    await storage.commit(changes)
                assert not failure.value.unknown_outcome
                assert await ids(storage) == [1]
            with pytest.raises(RowRefused):
                await storage.commit(update(Update(1, 2**15, 1)))
            assert await number_of_session(opened(storage)) == session
            await storage.commit(insert(job(2)))
            assert await ids(storage) == [1, 2]


# ---- the engine


async def test_the_table_is_innodb_whatever_the_default(server: DatabaseServer) -> None:
    with set_globally(server, default_storage_engine="MyISAM"), database_in(server.kind) as url:
        await migrate(partial(storage_for, text_of(url)))
        ((made,),) = server.execute(
            f"SELECT engine FROM information_schema.tables WHERE table_schema = '{url.database}'"
            " AND table_name = 'gearman_job'"
        )
    assert made == "InnoDB"


async def test_a_table_of_another_engine_is_advised_against(
    server: DatabaseServer, make_storage: StorageFactory
) -> None:
    async with make_storage() as storage:
        server.execute("ALTER TABLE gearman_job ENGINE=MyISAM", storage.url.database)
        assert "MyISAM, the table's engine, keeps no promise: ALTER TABLE" in " ".join(await storage.advice())


# ---- packets


@pytest.fixture
def small_packets(server: DatabaseServer, make_storage: StorageFactory) -> Iterator[StorageFactory]:
    """The same queue on a server that takes packets of 1 MiB."""
    with set_globally(server, max_allowed_packet=str(MIB)):
        yield make_storage


async def test_a_batch_of_several_packets_is_one_transaction(small_packets: StorageFactory) -> None:
    async with small_packets() as storage:
        stored = [job(number, data=b"x" * 1000) for number in range(1, 5001)]
        await storage.commit(insert(*stored))
        assert await everything(storage) == stored
        with pytest.raises(RowRefused):
            await storage.commit(
                Changes(range(1, 5001), (), [*jobs(5001, 9999), job(10_000, data=b"x" * 1000, priority=2**15)])
            )
        assert await everything(storage) == stored
        await storage.commit(Changes(range(1, 5001), [Update(7, 1, 1)], [job(6000, data=b"y" * 1000)]))
        assert await everything(storage) == [job(6000, data=b"y" * 1000)]


async def test_a_row_that_no_packet_holds_refuses_its_batch(small_packets: StorageFactory) -> None:
    async with small_packets() as storage:
        await storage.commit(insert(job(1)))
        session = await number_of_session(opened(storage))
        with pytest.raises(RowRefused, match="raise max_allowed_packet of the database, or lower --max-packet-size"):
            await storage.commit(Changes([1], (), [job(2), job(3, data=b"x" * 2 * MIB), job(4)]))
        assert await ids(storage) == [1]
        assert await number_of_session(opened(storage)) == session
        await storage.commit(insert(job(5)))
        assert await ids(storage) == [1, 5]


async def test_a_row_of_about_the_size_of_a_packet_is_stored_or_refused(small_packets: StorageFactory) -> None:
    async with small_packets() as storage:
        session = await number_of_session(opened(storage))
        refused = []
        for size in range(MIB - 200, MIB + 1, 8):
            try:
                await storage.commit(insert(job(size, data=b"x" * size)))
            except RowRefused:
                refused.append(size)
        assert refused
        assert refused == list(range(min(refused), MIB + 1, 8)), "the larger ones are refused"
        assert await ids(storage) == list(range(MIB - 200, min(refused), 8))
        assert await number_of_session(opened(storage)) == session


async def test_larger_packets_are_used_for_what_needs_them(make_storage: StorageFactory) -> None:
    async with make_storage() as storage:
        stored = [job(number, data=b"'" * size) for number, size in enumerate((1, PACKET_BYTES, 5 * MIB, 1025), 1)]
        await storage.commit(insert(*stored))
        assert await everything(storage) == stored


# ---- settings of the server


async def test_an_idle_session_is_kept(server: DatabaseServer, make_storage: StorageFactory) -> None:
    with set_globally(server, wait_timeout="1", interactive_timeout="1"):
        async with make_storage() as storage:
            session = await number_of_session(opened(storage))
            await asyncio.sleep(1.5)  # the passing of time is what is tested
            await storage.commit(insert(job(1)))
            assert await number_of_session(opened(storage)) == session


async def test_a_session_begins_without_warnings(
    make_storage: StorageFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    async with make_storage() as storage:
        await storage.commit(insert(job(1)))
        assert await ids(storage) == [1]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_old_server_is_refused(make_storage: StorageFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "OLDEST_MYSQL", (99, 1))
    monkeypatch.setattr(mysql, "OLDEST_MARIADB", (99, 1))
    storage = make_storage()
    with pytest.raises(StorageError, match=r"(MySQL|MariaDB) [\d.]+ is too old: 99.1 or later is needed"):
        await storage.open()
    await storage.close()


async def test_a_locked_row_is_told_after_a_while(make_storage: StorageFactory) -> None:
    async with make_storage(patience=2.0) as storage, make_storage(node=1) as other:
        await storage.commit(insert(job(1)))
        connection = await other.connection()
        await connection.exec_driver_sql("SELECT * FROM gearman_job WHERE id = 1 FOR UPDATE")
        with pytest.raises(StorageUnavailable, match="another session holds a lock on the table") as failure:
            await storage.commit(Changes([1], (), [job(2)]))
        assert not failure.value.unknown_outcome
        await connection.rollback()
        await storage.commit(Changes([1], (), [job(2)]))
        assert await ids(storage) == [2]


async def test_a_dropped_table_is_told_with_the_remedy(server: DatabaseServer, make_storage: StorageFactory) -> None:
    async with make_storage() as storage:
        server.execute("DROP TABLE gearman_job", storage.url.database)
        for changes in (insert(job(1)), delete(1), Changes([1], (), [job(2)])):
            with pytest.raises(StorageError, match=r"was the table dropped\? restore it"):
                await storage.commit(changes)


# ---- users


@contextmanager
def a_user(server: DatabaseServer, make_storage: StorageFactory, password: str, plugin: str = "") -> Iterator[str]:
    """A user who may do all in the database of the storage."""
    name = f"gearmand_py_{secrets.token_hex(4)}"
    how = f"IDENTIFIED WITH {plugin} BY" if plugin else "IDENTIFIED BY"
    server.execute(f"CREATE USER '{name}'@'%' {how} '{password}'")
    server.execute(f"GRANT ALL ON {make_storage().url.database}.* TO '{name}'@'%'")
    try:
        yield name
    finally:
        server.execute(f"DROP USER '{name}'@'%'")


@pytest.mark.parametrize("password", ["", "s3cret", "größe 'n' \\\\x @:/?#%"], ids=["empty", "plain", "odd"])
async def test_a_user_signs_in_with_and_without_tls(
    server: DatabaseServer, make_storage: StorageFactory, password: str
) -> None:
    """MySQL's own way to sign in needs TLS or a public key, which the server then sends."""
    with a_user(server, make_storage, password.replace("'", "''")) as user:
        right = password.replace("\\\\", "\\")
        url = make_storage().url.set(username=user, password=right)
        for mode in ("disable", "disable", "prefer"):  # the second time the server knows the password by heart
            async with storage_for(text_of(url.update_query_dict({"sslmode": mode}))) as storage:
                await storage.commit(insert(job(1)))
                assert await ids(storage) == [1]
