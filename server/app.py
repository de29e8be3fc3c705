"""Wiring and life cycle of the server: open the storage, take up its jobs, listen, and stop in order."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, TypeVar

from gearmand_py.server.admin import Admin
from gearmand_py.server.broker import Broker
from gearmand_py.server.config import Settings
from gearmand_py.server.connection import Front
from gearmand_py.server.database import make_directory, make_storage, prepare_schema
from gearmand_py.server.dispatch import Dispatch
from gearmand_py.server.ids import Ids, handle_prefix
from gearmand_py.storage.sql import SqlStorage

log = logging.getLogger(__name__)

T = TypeVar("T")

ROWS_A_PAGE: Final = 10_000
# Loopback alone has longer segments: 64 KiB, where libgearman's send buffer is 32 KiB, so that each half segment waits
# 40 ms for a delayed acknowledgement. An 8 MiB job from PHP took 4.5 s, and takes 0.5.
LARGEST_SEGMENT: Final = 32_000
LISTEN_REMEDIES: Final = {
    errno.EADDRINUSE: "is another job server running? give --port another number",
    errno.EADDRNOTAVAIL: "give --listen an address of this host",
    errno.EACCES: "ports below 1024 are root's: give --port a higher number",
}
PATIENCE: Final = 0.5  # seconds at the end for peers to read their last answers and go
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StartError(Exception):
    """The server cannot start; the text says why and what to do."""


@dataclass(slots=True)
class Server:
    """A running server."""

    front: Front
    storage: SqlStorage
    listener: asyncio.Server
    waiting: int  # jobs found in the storage

    @property
    def addresses(self) -> str:
        """Where it listens, for people."""
        return ", ".join(shown_address(*listening.getsockname()[:2]) for listening in self.listener.sockets)


async def serve(settings: Settings) -> None:
    """Run a server until it is told to stop. Raises StartError or StorageError."""
    stopped = stop_event()
    make_directory(settings)
    storage = make_storage(settings)
    listening = listening_socket(settings)  # before the jobs are read: a taken port should not cost a minute
    try:
        server = await unless(stopped, get_ready(settings, storage, listening))
        if server is None:
            log.info("stopped before it served")
            return
        log.info(
            "gearmand-py %s listening on %s, storing in %s, %s found",
            version("gearmand-py"),
            server.addresses,
            storage.description,
            counted(server.waiting, "job"),
        )
        await run(server, stopped)
    finally:
        await storage.close()
        listening.close()


async def get_ready(settings: Settings, storage: SqlStorage, listening: socket.socket) -> Server:
    """Open the storage, and start. Raises StorageError."""
    await storage.open()
    await prepare_schema(settings, storage)
    for line in await storage.advice():
        log.warning("%s", line)
    return await start(settings, storage, listening)


async def unless(stopped: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None when the event comes before it, and ends it."""
    working = asyncio.create_task(work, name="start")
    stopping = asyncio.create_task(stopped.wait(), name="stop signal")
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return None


def stop_event() -> asyncio.Event:
    """Set by the first signal to stop; a second one does not wait for a storage that hangs."""
    stopped = asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            log.error("stopping at once, what is not committed was not acknowledged")
            os._exit(1)
        stopped.set()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopped


async def start(settings: Settings, storage: SqlStorage, listening: socket.socket) -> Server:
    """Take up the stored jobs, then accept connections."""
    broker = make_broker(settings)
    waiting = await restore(broker, storage)
    tame_collector()
    admin = Admin(broker, version=version("gearmand-py"), pid=os.getpid(), verbose=settings.verbose)
    front = Front(
        Dispatch(broker, admin),
        storage,
        max_packet=settings.max_packet_size,
        storage_timeout=settings.storage_timeout,
    )
    loop = asyncio.get_running_loop()
    listener: Any = await loop.create_server(front.accept, sock=listening, backlog=settings.backlog)
    return Server(front, storage, listener, waiting)


def tame_collector() -> None:
    """Keep the cycle collector from walking the queue.

    Jobs are freed by their reference count; a full collection over a million of them stops the server for 230 ms, and
    thresholds of gen 1 ten times these for 34 (docs/benchmarks.md). Connections break their cycles when they close.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 1_000_000)


def make_broker(settings: Settings) -> Broker:
    """A broker without jobs."""
    return Broker(
        Ids(settings.node),
        handle_prefix(settings.job_handle_prefix, socket.gethostname()),
        node=settings.node,
        job_retries=settings.job_retries,
        worker_wakeup=settings.worker_wakeup,
    )


async def restore(broker: Broker, storage: SqlStorage) -> int:
    """Give the broker every row, in id order; returns how many wait."""
    last = 0
    while page := await storage.load(last, ROWS_A_PAGE):
        for record in page:
            broker.restore(record)
        last = page[-1].id
    for node, count in (await storage.of_other_nodes()).items():
        log.warning("%s of node %d left alone: a server with --node %d runs them", counted(count, "job"), node, node)
    return len(broker.jobs)


async def run(server: Server, stopped: asyncio.Event) -> None:
    """Serve until told to stop, then settle what is open."""
    journal = asyncio.create_task(server.front.journal.run(), name="journal")
    stopping = asyncio.create_task(stopped.wait(), name="stop signal")
    await asyncio.wait((journal, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.listener.close()
    server.front.stop_reading()
    server.front.journal.stop()
    await journal  # raises what ended it, if it was not us
    server.front.say_goodbye()
    await drain(server.front)
    log.info("stopped, %s left", counted(sum(job.background for job in server.front.broker.jobs.values()), "job"))


async def drain(front: Front) -> None:
    """Wait a moment for everybody to have their last answers and go."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while front.broker.peers:
                await asyncio.sleep(0.005)
    front.abort()


def listening_socket(settings: Settings) -> socket.socket:
    """A socket bound to the address of the settings. Raises StartError."""
    where = shown_address(settings.listen, settings.port)
    try:
        found = socket.getaddrinfo(settings.listen, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listening = socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise StartError(f"cannot listen on {where}: {error.strerror}; give --listen an address of this host") from None
    except OSError as error:
        remedy = LISTEN_REMEDIES.get(error.errno or 0, "see --listen and --port")
        raise StartError(f"cannot listen on {where}: {os.strerror(error.errno or 0)}; {remedy}") from None
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, LARGEST_SEGMENT)
    return listening


def shown_address(host: str, port: int) -> str:
    """127.0.0.1:4730, [::1]:4730"""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def counted(number: int, word: str) -> str:
    """1 job, 2 jobs"""
    return f"{number} {word}{'' if number == 1 else 's'}"
