"""Servers of every selected kind do for tests what they promise."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from tests.databases.kinds import KINDS, REFUSALS
from tests.databases.selection import SERVERS
from tests.databases.server import DatabaseServer, OwnedServer
from tests.databases.sources import from_url, own_server, shared_server, used, variable

DRIVERS: Final = {"postgresql": "asyncpg", "mysql": "aiomysql", "mariadb": "aiomysql"}
FROZEN_SECONDS: Final = 0.5  # a server that is well answers in a few milliseconds


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return shared_server(request.param)


@pytest.fixture(scope="module", params=SERVERS)
def own(request: pytest.FixtureRequest) -> Iterator[OwnedServer]:
    with own_server(request.param, {"max_connections": "33"}) as server:
        yield server


@asynccontextmanager
async def connected(url: URL) -> AsyncIterator[AsyncConnection]:
    """A connection through the driver that the server uses."""
    driver = f"{url.drivername}+{DRIVERS[url.drivername]}"
    engine = create_async_engine(url.set(drivername=driver), poolclass=NullPool)
    async with engine.connect() as connection:
        yield connection


def names(server: DatabaseServer) -> set[str]:
    """Its databases."""
    catalog = "SELECT datname FROM pg_database" if server.kind == "postgresql" else "SHOW DATABASES"
    return {name for (name,) in server.execute(catalog)}


def test_it_is_what_it_is_called(server: DatabaseServer) -> None:
    assert server.version.startswith(f"{KINDS[server.kind].title} ")
    assert server.url.drivername == server.kind


def test_the_summary_tells_where_it_comes_from(server: DatabaseServer) -> None:
    assert any(line.startswith(f"{server.kind}: {server.source}, {server.version}") for line in used())


def test_it_is_started_once(server: DatabaseServer) -> None:
    assert shared_server(server.kind) is server


def test_a_database_is_made_and_dropped(server: DatabaseServer) -> None:
    url = server.create_database()
    assert url.database in names(server)
    server.execute("CREATE TABLE jobs (id integer)", url.database)
    server.execute("INSERT INTO jobs VALUES (7)", url.database)
    assert server.execute("SELECT id FROM jobs", url.database) == [(7,)]
    server.drop_database(url)
    assert url.database not in names(server)


async def test_a_database_is_dropped_under_an_open_transaction(server: DatabaseServer) -> None:
    url = server.create_database()
    server.execute("CREATE TABLE jobs (id integer)", url.database)
    async with connected(url) as connection:
        await connection.execute(text("SELECT id FROM jobs"))
        server.drop_database(url)
        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT id FROM jobs"))
    assert url.database not in names(server)


def test_a_wrong_password_is_refused(server: DatabaseServer) -> None:
    url = server.url.set(password="wrong")
    with pytest.raises(REFUSALS, match=r"(?i)password"):
        DatabaseServer(server.kind, "", url).execute("SELECT 1")


def test_it_can_be_reached_by_its_url(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.url.set(drivername=f"{server.kind}+{DRIVERS[server.kind]}")
    monkeypatch.setenv(variable(server.kind), url.render_as_string(hide_password=False))
    again = from_url(server.kind)
    assert (again.url, again.version) == (server.url, server.version)


def test_settings_are_the_callers(own: OwnedServer) -> None:
    setting = "SHOW max_connections" if own.kind == "postgresql" else "SELECT @@max_connections"
    assert [str(value) for (value,) in own.execute(setting)] == ["33"]


def test_a_killed_server_has_what_was_committed_on_the_same_port(own: OwnedServer) -> None:
    url = own.create_database()
    own.execute("CREATE TABLE jobs (id integer)", url.database)
    own.execute("INSERT INTO jobs VALUES (7)", url.database)
    own.kill()
    assert not own.is_running
    with pytest.raises(REFUSALS):
        own.execute("SELECT 1")
    own.start()
    assert own.execute("SELECT id FROM jobs", url.database) == [(7,)]


def test_a_stopped_server_does_not_wait_for_its_clients(own: OwnedServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        sleep = "SELECT pg_sleep(60)" if own.kind == "postgresql" else "SELECT sleep(60)"
        client = thread.submit(own.execute, sleep)
        own.stop()
        assert not own.is_running
        # MySQL's sleep, when it is interrupted, may still get to say so: its result is then 1.
        assert client.exception() or client.result() == [(1,)]
    own.start()
    assert own.execute("SELECT 1") == [(1,)]


def test_a_frozen_server_answers_when_it_thaws(own: OwnedServer) -> None:
    own.freeze()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(own.execute, "SELECT 1")
        with pytest.raises(TimeoutError):
            answer.result(FROZEN_SECONDS)
        assert own.is_running
        own.thaw()
        assert answer.result() == [(1,)]


def test_a_frozen_server_can_be_killed(own: OwnedServer) -> None:
    own.freeze()
    own.kill()
    assert not own.is_running
    own.start()
    assert own.execute("SELECT 1") == [(1,)]
