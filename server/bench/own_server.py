"""A server for the occasion, in a process of its own, which ends with ours."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

from gearmand_py.server.client import Address
from gearmand_py.server.config import Settings
from gearmand_py.server.runner import StartError, fail, run
from gearmand_py.storage.base import StorageError

HOST: Final = "127.0.0.1"
END_SECONDS: Final = 20.0


@contextmanager
def own_server(settings: Settings) -> Iterator[Address]:
    """A server with these settings on a free port, from when it serves until it has stopped. Raises StartError."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    ssl = settings.ssl or settings.ssl_port > 0
    here = replace(settings, listen=(HOST,), port=0, ssl=ssl, ssl_port=0, daemon=False, pid_file="", user="")
    process = context.Process(target=serve, args=(here, theirs))
    process.start()
    theirs.close()
    try:
        yield Address(HOST, told_port(ours), tls=ssl)
    finally:
        process.terminate()
        process.join(END_SECONDS)
        process.kill()
        process.join()


def told_port(pipe: "Connection[Any, Any]") -> int:
    """Wait until it serves. Raises StartError."""
    try:
        return int(pipe.recv())
    except EOFError:
        raise StartError("the server that was to be measured did not start") from None


def serve(settings: Settings, pipe: "Connection[Any, Any]") -> None:
    """The server's process. It has said on standard error why, if it does not start."""
    os.setsid()  # Ctrl-C is for the benchmark, which stops us when it has ended
    threading.Thread(target=end_with_parent, args=(pipe,), daemon=True).start()
    from gearmand_py.server import app
    from gearmand_py.server.listeners import listening_sockets
    from gearmand_py.server.logs import set_up_logging
    from gearmand_py.server.process import allow_files
    from gearmand_py.server.tls import tls_of

    try:
        allow_files(settings.file_descriptors)
        set_up_logging(settings)
        with listening_sockets(settings) as listening:
            port = listening[0].getsockname()[1]
            run(app.serve(settings, listening, lambda: pipe.send(port), tls_of(settings)))
    except (StartError, StorageError) as error:
        fail(str(error))


def end_with_parent(pipe: "Connection[Any, Any]") -> None:
    """Stop as soon as the parent is gone, however it went."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)


def has_jobs(settings: Settings) -> bool:
    """Whether the database of the settings has jobs in it. Raises StorageError."""
    return run(_has_jobs(settings))


async def _has_jobs(settings: Settings) -> bool:
    from sqlalchemy import select

    from gearmand_py.migrations import SchemaState
    from gearmand_py.server.database import make_storage, schema_state
    from gearmand_py.storage.sqlite import SqliteStorage

    storage = make_storage(settings)
    if isinstance(storage, SqliteStorage) and not storage.path.exists():
        return False
    try:
        found = await schema_state(storage, await storage.look())
        if found is SchemaState.EMPTY:
            return False
        return bool(await storage.read(select(storage.tables.job.c.id).limit(1)))
    finally:
        await storage.close()
