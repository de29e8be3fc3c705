"""Wiring and life cycle of the server: open the storage, take up its jobs, listen, and stop in order."""

import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

from gearmand_py.server.access import Access
from gearmand_py.server.access_file import read_access
from gearmand_py.server.admin import Admin
from gearmand_py.server.broker import Broker
from gearmand_py.server.config import Settings
from gearmand_py.server.connection import Client
from gearmand_py.server.database import ServerStorage, prepare_schema, storage_of
from gearmand_py.server.denials import Denials
from gearmand_py.server.dispatch import Dispatch
from gearmand_py.server.encrypted import Encrypted
from gearmand_py.server.front import Front
from gearmand_py.server.guard import Guard
from gearmand_py.server.ids import Ids, handle_prefix
from gearmand_py.server.importing.unimported import unimported
from gearmand_py.server.index import Index
from gearmand_py.server.limits import Limits
from gearmand_py.server.listeners import open_addresses, said, speaks_tls
from gearmand_py.server.orders import Orders
from gearmand_py.server.process import places
from gearmand_py.server.runner import StartError
from gearmand_py.server.systemd import Manager
from gearmand_py.server.table import TableReader, counted
from gearmand_py.server.tls import Tls
from gearmand_py.storage.base import Changes, Reader, StorageError, StorageInUse
from gearmand_py.storage.sql import SqlStorage

log = logging.getLogger(__name__)

T = TypeVar("T")

START_LINE: Final = "gearmand-py %s listening on %s, storing in %s, %s found"
UNPROTECTED: Final = (
    "whoever can connect to %s may do everything: take --ssl-verify-client, say who may do what in an --access-file "
    "(docs/security.md), or give --listen an address that only your own machines reach"
)
LAST_WORDS: Final = 0.5  # seconds at the end for peers to read their last answers and go
LOOK_EVERY: Final = 0.1  # seconds between two looks whether all jobs are done
SAY_EVERY: Final = 30.0  # seconds between two lines about those that are not


@dataclass(frozen=True, slots=True)
class Doors:
    """Where connections come in, and what is asked of them."""

    listening: list[socket.socket]
    tls: Tls | None
    access: Access | None

    def unlocked(self, settings: Settings) -> str:
        """Addresses beyond this machine at which nothing is asked."""
        plain = [one for one in self.listening if not (self.tls and speaks_tls(one, settings))]
        return "" if self.access else ", ".join(open_addresses(plain))


@dataclass(slots=True)
class Server:
    """A running server."""

    front: Front
    storage: ServerStorage
    listeners: list[asyncio.Server]
    table: TableReader | None  # where there is a table


async def serve(
    settings: Settings, listening: list[socket.socket], is_up: Callable[[], None], tls: Tls | None = None
) -> None:
    """Serve on the sockets until told to stop; `is_up` is called once it does. Raises StorageError and StartError."""
    orders = Orders()
    if tls:
        orders.reread.append(tls.reload)
    orders.obey_signals()
    manager = Manager()
    manager.keep_alive()
    addresses = said(listening, settings)
    doors = Doors(listening, tls, read_access(Path(settings.access_file)) if settings.access_file else None)
    storage = storage_of(settings)
    try:
        server = await unless(orders.stop, get_ready(settings, storage, doors, orders))
        if server is None:
            log.info("stopped before it served")
            return
        found = server.table.found if server.table else "0 jobs"
        log.info(START_LINE, version("gearmand-py"), addresses, storage.description, found)
        is_up()
        manager.tell("READY=1", f"STATUS=listening on {addresses}, storing in {storage.description}")
        await run(server, orders)
    finally:
        manager.tell("STOPPING=1")
        await storage.close()


async def get_ready(settings: Settings, storage: ServerStorage, doors: Doors, orders: Orders) -> Server:
    """Open the storage, and start. Raises StorageError."""
    await storage.open()
    if isinstance(storage, SqlStorage):
        await prepare_schema(settings, storage)
    for line in (*await storage.advice(), *await unimported(settings, storage)):
        log.warning("%s", line)
    if exposed := doors.unlocked(settings):
        log.warning(UNPROTECTED, exposed)
    return await start(settings, storage, doors, orders)


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


async def start(settings: Settings, storage: ServerStorage, doors: Doors, orders: Orders) -> Server:
    """Take up the stored jobs, then accept connections."""
    tame_collector()
    make_reader = readers_of(storage)
    limits = limits_of(settings)
    broker = make_broker(settings, limits, readable=make_reader is not None)
    admin = Admin(
        broker,
        version=version("gearmand-py"),
        pid=os.getpid(),
        verbose=settings.verbose,
        shut_down=orders.shut_down if settings.allow_shutdown else None,
    )
    if isinstance(storage, SqlStorage):
        broker.ids.go_on(await storage.ids_below(settings.node))
    front = Front(
        Guard(broker, admin, doors.access, Denials()) if doors.access else Dispatch(broker, admin),
        storage,
        max_packet=settings.max_packet_size,
        storage_timeout=settings.storage_timeout,
        exceptions=settings.exceptions,
        limits=limits,
    )
    if doors.access:
        orders.reread.append(partial(reread_access, front, Path(settings.access_file)))
    table = TableReader(make_reader, front) if make_reader else None
    if table:
        await table.take_up()
    if isinstance(storage, SqlStorage):
        await reserve_ids(storage, broker.ids)
    listeners = [await accept_on(one, front, settings, doors.tls) for one in doors.listening]
    return Server(front, storage, listeners, table)


async def reserve_ids(storage: SqlStorage, ids: Ids) -> None:
    """Let the next start go on behind the ids of this one. Raises StorageInUse."""
    now = time.time_ns() // 1_000_000
    ids.advance(now)
    bound = ids.bound_ahead(now)
    try:
        await storage.commit(Changes((), (), (), ids_below=bound))
    except StorageInUse:
        raise
    except StorageError as error:
        log.warning("how far ids have come cannot be stored: %s; the first background job tries again", error)
    else:
        ids.reserved(bound)


def reread_access(front: Front, path: Path) -> None:
    """Let new rules hold, for those who are connected too; from a file with a mistake in it none do."""
    try:
        access = read_access(path)
    except StartError as error:
        log.error("%s; the rules from before are still in force", error)  # noqa: TRY400 - the reason is said
        return
    front.judge_anew(access)
    log.info("access rules read anew: %s", counted(len(access.rules), "rule"))


def readers_of(storage: ServerStorage) -> Callable[[], Reader] | None:
    """What makes readers of the table, if there is one."""
    return storage.reader if isinstance(storage, SqlStorage) else None


async def accept_on(listening: socket.socket, front: Front, settings: Settings, tls: Tls | None) -> asyncio.Server:
    """Let connections in."""
    loop = asyncio.get_running_loop()
    accept: Callable[[], asyncio.Protocol] = partial(Client, front)
    if listening.family == socket.AF_UNIX:
        return await loop.create_unix_server(accept, sock=listening, backlog=settings.backlog)
    if tls and speaks_tls(listening, settings):
        accept = partial(Encrypted, tls, accept, front)
    return await loop.create_server(accept, sock=listening, backlog=settings.backlog)


def tame_collector() -> None:
    """Keep the cycle collector from walking the queue.

    Jobs are freed by their reference count; a full collection over a million of them stops the server for 230 ms, and
    thresholds of gen 1 ten times these for 34 (docs/benchmarks.md). Connections break their cycles when they close.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 1_000_000)


def make_broker(settings: Settings, limits: Limits, *, readable: bool) -> Broker:
    """A broker without jobs."""
    return Broker(
        Ids(settings.node),
        handle_prefix(settings.job_handle_prefix, socket.gethostname()),
        node=settings.node,
        job_retries=settings.job_retries,
        worker_wakeup=settings.worker_wakeup,
        index=Index(settings.memory_limit or inf, readable=readable),
        limits=limits,
    )


def limits_of(settings: Settings) -> Limits:
    """Of the settings, and of what the process may have. Raises StartError."""
    return Limits(
        connections=places(settings.max_connections),
        connections_per_address=settings.max_connections_per_address,
        first_packet_timeout=settings.first_packet_timeout,
        functions=settings.max_functions,
        functions_per_worker=settings.max_functions_per_worker,
        function_length=settings.max_function_length,
        unique_length=settings.max_unique_length,
        queue=settings.max_queue,
        foreground=settings.memory_limit,
        output=settings.max_output,
        buffers=settings.max_buffers,
    )


async def run(server: Server, orders: Orders) -> None:
    """Serve until told to stop or finish, then settle what is open."""
    journal = asyncio.create_task(server.front.journal.run(), name="journal")
    broken = server.table.broken if server.table else asyncio.Event()
    await first_of(journal, orders.stop, orders.finish, broken)
    for listener in server.listeners:
        listener.close()
    if orders.finish.is_set():
        await finish(server.front.broker, journal, orders.stop)
    server.front.stop_reading()
    server.front.journal.stop()
    if server.table:
        await server.table.stop()
    await journal  # raises what ended it, if it was not us
    server.front.say_goodbye()
    await drain(server.front)
    if broken.is_set():
        raise StorageError("stored jobs were not read any more, by a fault of gearmand-py: its trace is in the log")
    log.info("stopped, %s left", counted(server.front.broker.stored, "job"))


async def first_of(journal: asyncio.Task[None], *events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until the journal has ended, or one of the events has come, or so long."""
    waiting = [asyncio.create_task(event.wait(), name="order") for event in events]
    await asyncio.wait((journal, *waiting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


async def finish(broker: Broker, journal: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Wait until connected workers have no more to do. What nobody here can run stays stored for the next start."""
    next_line = 0.0
    while (left := broker.unfinished()) and not (journal.done() or stop.is_set()):
        if time.monotonic() >= next_line:
            log.info("taking no more connections, ending after %s", counted(left, "job"))
            next_line = time.monotonic() + SAY_EVERY
        await first_of(journal, stop, seconds=LOOK_EVERY)


async def drain(front: Front) -> None:
    """Wait a moment for everybody to have their last answers and go."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS):
            while front.broker.peers:
                await asyncio.sleep(0.005)
    front.abort()
