"""TLS to servers that have it, and to servers that have not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from sqlalchemy import URL

from gearmand_py.storage.base import StorageError
from gearmand_py.storage.urls import storage_for
from tests.databases.selection import SERVERS
from tests.databases.server import OwnedServer
from tests.databases.sources import own_server, shared_server
from tests.storage.certificates import make_certificate
from tests.storage.databases import database_in, text_of

ENCRYPTED: Final = {
    "postgresql": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SHOW STATUS LIKE 'Ssl_cipher'",
}


class Secured(NamedTuple):
    """A server with TLS, and the authority that its certificate is known by."""

    url: URL
    authority: Path


@pytest.fixture(scope="module", params=[kind for kind in SERVERS if kind == "postgresql"])
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with own_server(request.param) as server:
        certificate = make_certificate(tmp_path_factory.mktemp("certificate"), str(server.url.host))
        for name in ("server.crt", "server.key"):
            put(server, name, certificate.with_name(name).read_text())
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("SELECT pg_reload_conf()")
        yield Secured(server.url, certificate)


def put(server: OwnedServer, name: str, content: str) -> None:
    """Write a file into the server's own directory, wherever it runs."""
    lines = f"SELECT line FROM unnest(string_to_array('{content}', E'\\n')) AS line"
    server.execute(f"COPY ({lines}) TO PROGRAM 'umask 077; cat >{name}'")


async def is_encrypted(url: URL, **parameters: str) -> bool:
    """Connect with these parameters; whether the session is encrypted."""
    storage = storage_for(text_of(url.update_query_dict(parameters)))
    try:
        connection = await storage.look()
        row: Any = (await connection.exec_driver_sql(ENCRYPTED[connection.dialect.name])).one()
        return bool(row[-1])
    finally:
        await storage.close()


async def test_sessions_are_encrypted_as_the_mode_says(secured: Secured) -> None:
    authority = str(secured.authority)
    assert await is_encrypted(secured.url)
    assert not await is_encrypted(secured.url, sslmode="disable")
    assert await is_encrypted(secured.url, sslmode="require")
    assert await is_encrypted(secured.url, sslrootcert=authority)
    assert await is_encrypted(secured.url, sslmode="verify-full", sslrootcert=authority)
    assert await is_encrypted(secured.url.set(host="localhost"), sslmode="verify-ca", sslrootcert=authority)


async def test_an_unknown_authority_is_refused(secured: Secured) -> None:
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(StorageError, match=r"certificate verify failed.*see sslmode and sslrootcert"):
            await is_encrypted(secured.url, sslmode=mode)


async def test_a_certificate_of_another_host_is_refused(secured: Secured) -> None:
    for parameters in ({}, {"sslmode": "verify-full"}):
        with pytest.raises(StorageError, match=r"certificate verify failed.*localhost"):
            await is_encrypted(secured.url.set(host="localhost"), sslrootcert=str(secured.authority), **parameters)


@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind == "postgresql"])
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_refused_where_it_is_required(kind: str, mode: str) -> None:
    url = shared_server(kind).url
    assert not await is_encrypted(url, sslmode="prefer")
    with pytest.raises(StorageError, match=r"the other side offers no TLS: .*see sslmode"):
        await is_encrypted(url, sslmode=mode)


@pytest.mark.parametrize("driver", ["", "+asyncmy"], ids=["aiomysql", "asyncmy"])
@pytest.mark.parametrize("kind", [kind for kind in SERVERS if kind == "mysql"])
async def test_mysql_makes_itself_a_certificate_that_nobody_knows(kind: str, driver: str) -> None:
    with database_in(kind) as database:
        url = database.set(drivername=kind + driver)
        assert await is_encrypted(url, sslmode="require")
        assert not await is_encrypted(url, sslmode="disable")
        for mode in ("verify-ca", "verify-full"):
            with pytest.raises(StorageError, match=r"certificate verify failed.*see sslmode and sslrootcert"):
                await is_encrypted(url, sslmode=mode)
