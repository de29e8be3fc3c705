"""TLS between a transport and a protocol, in one process: handshakes cut into pieces, late, or too many."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from gearmand_py.server import encrypted
from gearmand_py.server.cli import main
from gearmand_py.server.config import settings_from
from gearmand_py.server.encrypted import Encrypted
from gearmand_py.server.front import Guest
from gearmand_py.server.peers import Peer
from gearmand_py.server.seldom import Seldom
from gearmand_py.server.tls import Tls
from tests.tls.certificates import Authority

HOST: Final = "127.0.0.1"
Connect = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Echo(asyncio.Protocol):
    """Sends back what comes, and remembers."""

    made: Final[list["Echo"]] = []

    def connection_made(self, transport: Any) -> None:
        self.made.append(self)
        self.transport = transport
        self.certificate = transport.get_extra_info("certificate")
        self.guest = transport.get_extra_info("guest")  # now it is for us to tell the porter
        self.pauses = 0
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> bool:
        asyncio.get_running_loop().call_later(0.01, self.finish)
        return True

    def finish(self) -> None:
        self.transport.write(b"last words")
        self.transport.close()

    def pause_writing(self) -> None:
        self.pauses += 1

    def connection_lost(self, exc: Exception | None) -> None:
        Open.inside.remove(self.guest)
        self.lost.set()


class Open:
    """A porter that lets in whoever comes, and counts."""

    inside: Final[set[Any]] = set()

    def enter(self, guest: Guest) -> None:
        self.inside.add(guest)

    def leave(self, guest: Guest) -> None:
        self.inside.remove(guest)

    def complain(self, peer: Peer, option: str, what: str) -> None:
        raise AssertionError("everybody is let in")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Everybody's."""
    return Authority(tmp_path)


@pytest.fixture
async def port(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """That of an echo over TLS."""
    monkeypatch.setattr(encrypted, "SELDOM", Seldom(logging.getLogger("strangers")))
    Echo.made.clear()
    words = ["--ssl", *authority.issue("server").options, "--ssl-ca-file", str(authority.file)]
    tls = Tls(settings_from(main.make_context("gearmand-py", words).params))
    server = await asyncio.get_running_loop().create_server(partial(Encrypted, tls, Echo, Open()), HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    assert not Encrypted.strangers
    assert not Open.inside


async def secured(port: int, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, port, ssl=context, server_hostname=HOST)


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    for echo in Echo.made:
        await echo.lost.wait()


async def test_the_name_of_the_peer(port: int, authority: Authority) -> None:
    for pair in (authority.issue("ann"), None):
        reader, writer = await secured(port, authority.context(pair))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert Echo.made[-1].certificate == (pair and "ann")
        assert Echo.made[-1].transport.get_extra_info("peername")[0] == HOST
        await leave(writer)


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 300_000, 20_000_000])
async def test_what_is_sent_comes_back_whole(port: int, authority: Authority, size: int) -> None:
    reader, writer = await secured(port, authority.context())
    data = bytes(range(251)) * (size // 251 + 1)
    writer.write(data[:size])
    assert await reader.readexactly(size) == data[:size]
    await leave(writer)


async def test_a_peer_that_does_not_read(port: int, authority: Authority) -> None:
    reader, writer = await secured(port, authority.context())
    writer.write(b"x")
    await reader.readexactly(1)
    transport = Echo.made[0].transport
    transport.set_write_buffer_limits(high=100_000)
    transport.write(bytes(40_000_000))
    transport.write(b"the end")
    assert Echo.made[0].pauses == 1
    assert transport.get_write_buffer_size() > 10_000_000
    assert transport._transport.get_write_buffer_size() < 1_000_000, "it was encrypted before its time"
    transport.close()
    assert (await reader.read(-1))[-7:] == b"the end"
    await leave(writer)


def shake_hands(tls: ssl.SSLObject) -> bool:
    """Whether that is done; raises ssl.SSLWantReadError before."""
    tls.do_handshake()
    return True


async def bytewise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> Any:
    """A handshake and a question, a byte at a time."""
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(come, go, server_hostname=HOST)

    async def step(do: Callable[[], Any]) -> Any:
        while True:
            try:
                found = do()
            except ssl.SSLWantReadError:
                found = None
            for byte in go.read():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            if found is not None:
                return found
            come.write(await reader.read(10_000))

    await step(partial(shake_hands, tls))
    await step(lambda: tls.write(b"slowly"))
    assert await step(lambda: tls.read(100)) == b"slowly"
    return tls, go


async def test_a_handshake_and_records_in_pieces(port: int, authority: Authority) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    await bytewise(reader, writer, authority.context())
    await leave(writer)


async def test_who_says_that_it_has_ended_gets_the_last_words(port: int, authority: Authority) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    tls, go = await bytewise(reader, writer, authority.context())
    with suppress(ssl.SSLError):
        tls.unwrap()
    writer.write(go.read())
    assert len(await reader.read(-1)) > len(b"last words")
    await leave(writer)


async def test_a_late_stranger(
    port: int, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encrypted, "HANDSHAKE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(HOST, port)
    assert not await reader.read()
    await leave(writer)
    assert caplog.messages == ["no TLS with 127.0.0.1: it took more than 0 s"]
    assert not Echo.made


async def test_too_many_strangers(
    port: int, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encrypted, "MOST_STRANGERS", 3)
    strangers = [await asyncio.open_connection(HOST, port) for _ in range(4)]
    assert not await strangers[0][0].read(), "the first goes"
    assert "more than 3 at a time" in caplog.text
    _, writer = await secured(port, authority.context())
    for each in [writer, *(one for _, one in strangers)]:
        await leave(each)


async def test_garbage_after_the_handshake(port: int, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    await bytewise(reader, writer, authority.context())
    writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))
    with suppress(ConnectionError):
        await reader.read(-1)
    await Echo.made[0].lost.wait()
    assert caplog.messages[0].startswith("TLS with 127.0.0.1 broke: ")
    await leave(writer)
