"""How a queue's table and its files fare when jobs come and go for hours.

    make churn ARGS="--minutes 60"
    make churn ARGS="--database postgresql://user:pw@host/scratch --rate 10000 --backlog 1000000 --rest 60"

A server is started on the database. The backlog is filled, then jobs come and go at one paced rate, then the rest is
drained, then nobody does anything. Samples are printed all the while, as a Markdown table. `head ms` is the time of
reading the oldest 1,000 rows, as a start of the server does.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar
from uuid import uuid4

from sqlalchemy import select, text

from gearmand_py.migrations import upgrade
from gearmand_py.server import packets
from gearmand_py.server.codec import Connection
from gearmand_py.storage.schema import Tables
from gearmand_py.storage.sql import SqlStorage
from gearmand_py.storage.urls import storage_for

HOST: Final = "127.0.0.1"
PORT: Final = 4838
FUNCTION: Final = b"churn"
TICK: Final = 0.01  # seconds
IN_FLIGHT: Final = 20_000  # submissions not yet answered

TABLES: Final = Tables("churn_")  # dropped before each run
ID: Final = TABLES.job.c.id
HEAD: Final = select(TABLES.job).where(ID > 0).order_by(ID).limit(1000)
# How the database is: one row, whose names are the heads of the printed columns.
LOOKS: Final = {
    "sqlite": """
        SELECT page_count * page_size / 1000000 AS "file MB", freelist_count * page_size / 1000000 AS "free MB"
        FROM pragma_page_count, pragma_page_size, pragma_freelist_count""",
    "postgresql": """
        SELECT pg_table_size(relid) / 1000000 AS "table MB", pg_indexes_size(relid) / 1000000 AS "index MB",
        n_live_tup AS "live rows", n_dead_tup AS "dead rows", autovacuum_count AS "vacuums",
        (SELECT CAST(sum(size) / 1000000 AS bigint) FROM pg_ls_waldir()) AS "WAL MB"
        FROM pg_stat_user_tables WHERE relname = '{job}'""",
    "mysql": """
        SELECT SUM(IF(name LIKE '%{job}', file_size, 0)) DIV 1000000 AS "table MB",
        SUM(IF(space_type = 'Undo', file_size, 0)) DIV 1000000 AS "undo MB",
        (SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len') AS "history"
        FROM information_schema.innodb_tablespaces""",
    "mariadb": """
        SELECT SUM(IF(name LIKE '%{job}', file_size, 0)) DIV 1000000 AS "table MB",
        SUM(IF(name LIKE 'innodb_undo%', file_size, 0)) DIV 1000000 AS "undo MB",
        (SELECT variable_value FROM information_schema.global_status
            WHERE variable_name = 'Innodb_history_list_length') AS "history"
        FROM information_schema.innodb_sys_tablespaces""",
}


class Peer(asyncio.Protocol, ABC):
    """A connection to the server."""

    def __init__(self) -> None:
        self._codec = Connection(packets.RESPONSE)
        self.done = 0  # jobs

    def connection_made(self, transport: Any) -> None:
        """Send through it."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """When the server ends, so does this."""
        if exc:
            sys.exit(f"churn: the connection was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        """Handle what is whole."""
        for kind, body in self._codec.feed(data):
            self.handle(kind, body)

    @abstractmethod
    def handle(self, kind: int, body: bytes) -> None:
        """One packet from the server."""


class Submitter(Peer):
    """Submits background jobs with random unique keys, at most IN_FLIGHT unanswered."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self._payload = payload
        self.sent = 0

    def submit(self, total: int) -> None:
        """Until that many are sent, if the server keeps up."""
        count = min(total - self.sent, IN_FLIGHT - (self.sent - self.done))
        self.sent += max(count, 0)
        jobs = (
            packets.request(packets.SUBMIT_JOB_BG, FUNCTION, uuid4().hex.encode(), self._payload) for _ in range(count)
        )
        self.transport.write(b"".join(jobs))

    def handle(self, kind: int, body: bytes) -> None:
        """An acknowledgement, or the end of the run."""
        if kind != packets.JOB_CREATED:
            sys.exit(f"churn: the server answered {packets.name(kind)} {body!r}")
        self.done += 1


class Worker(Peer):
    """Does as many jobs as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    def connection_made(self, transport: Any) -> None:
        """Sign up."""
        super().connection_made(transport)
        transport.write(packets.request(packets.CAN_DO, FUNCTION))

    def work(self, total: int) -> None:
        """Until that many are done."""
        count = min(total - self.done, IN_FLIGHT) - self._asked
        if count > 0:
            self._asked += count
            self.transport.write(packets.request(packets.GRAB_JOB) * count)

    def handle(self, kind: int, body: bytes) -> None:
        """A job, or that there is none."""
        self._asked -= 1
        if kind == packets.JOB_ASSIGN:
            self.done += 1
            self.transport.write(packets.request(packets.WORK_COMPLETE, body.partition(b"\0")[0], b""))


class Samples:
    """The printed table."""

    def __init__(self, storage: SqlStorage, every: float) -> None:
        self._storage = storage
        self._every = every
        self._began = monotonic()
        self._due = self._began
        self._last = (self._began, 0, 0)
        self._headed = False

    async def take(self, phase: str, submitted: int, done: int) -> None:
        """A row, if one is due."""
        if (now := monotonic()) < self._due:
            return
        self._due = now + self._every
        before, submitted_then, done_then = self._last
        seconds = max(now - before, TICK)
        self._last = (now, submitted, done)
        row = {
            "s": round(now - self._began),
            "phase": phase,
            "waiting": submitted - done,
            "submits/s": round((submitted - submitted_then) / seconds),
            "done/s": round((done - done_then) / seconds),
            **await self._look(),
        }
        if not self._headed:
            print("| " + " | ".join(row) + " |\n" + "|---" * len(row) + "|")
            self._headed = True
        print("| " + " | ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()), "|")
        sys.stdout.flush()

    async def _look(self) -> dict[str, Any]:
        async with self._storage.engine.connect() as connection:
            if self._storage.before_reading is not None:
                await connection.execute(self._storage.before_reading)
            began = monotonic()
            (await connection.execute(HEAD)).all()
            head = round((monotonic() - began) * 1000, 1)
            query = LOOKS[kind_of(self._storage)].format(job=TABLES.job_name)
            look = (await connection.execute(text(query))).mappings().one()
        return {**look, **log_of(self._storage), "head ms": head}


def kind_of(storage: SqlStorage) -> str:
    """Which of LOOKS fits; a MariaDB may be named by a URL of MySQL's."""
    dialect = storage.engine.dialect
    return "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name


def log_of(storage: SqlStorage) -> dict[str, int]:
    """SQLite's log is a file beside the database."""
    if not storage.embedded:
        return {}
    log = Path(f"{storage.url.database}-wal")
    return {"WAL MB": log.stat().st_size // 1_000_000 if log.exists() else 0}


async def churn(chosen: argparse.Namespace, samples: Samples) -> None:
    """Fill, churn, drain, rest."""
    submitter = await connected(Submitter(os.urandom(chosen.size)))
    worker = await connected(Worker())

    async def tick(phase: str) -> None:
        await samples.take(phase, submitter.done, worker.done)
        await asyncio.sleep(TICK)

    while submitter.done < chosen.backlog:
        submitter.submit(chosen.backlog)
        await tick("fill")
    began = monotonic()
    while (seconds := monotonic() - began) < chosen.minutes * 60:
        due = round(seconds * chosen.rate)
        submitter.submit(chosen.backlog + due)
        worker.work(due)
        await tick("churn")
    while worker.done < submitter.sent:
        worker.work(submitter.sent)
        await tick("drain")
    began = monotonic()
    while monotonic() - began < chosen.rest:
        await tick("rest")


AnyPeer = TypeVar("AnyPeer", bound=Peer)


async def connected(peer: AnyPeer) -> AnyPeer:
    """Once the server listens."""
    for _ in range(200):
        with suppress(ConnectionRefusedError):
            await asyncio.get_running_loop().create_connection(lambda: peer, HOST, PORT)
            return peer
        await asyncio.sleep(0.1)
    sys.exit("churn: the server does not answer")


@contextmanager
def running(database: str) -> Iterator[None]:
    """A server on this database, from nothing; its messages go to standard error."""
    asyncio.run(make_anew(database))
    command = [str(Path(sys.executable).with_name("gearmand-py")), "--listen", HOST, "--port", str(PORT)]
    process = subprocess.Popen([*command, "--database", database, "--table-prefix", TABLES.prefix])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def make_anew(database: str) -> None:
    """Tables without anything in them."""
    storage = storage_for(database, TABLES)
    async with storage.engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP VIEW IF EXISTS {TABLES.view_name}")
        for table in (TABLES.job_name, TABLES.import_name, TABLES.node_name, TABLES.version_name):
            await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    await upgrade(storage.engine, TABLES)
    await storage.close()


async def run(chosen: argparse.Namespace, database: str) -> None:
    """All phases, watched."""
    storage = storage_for(database, TABLES)
    try:
        await churn(chosen, Samples(storage, chosen.every))
    finally:
        await storage.close()


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", metavar="URL", help=f"tables {TABLES.prefix}* in it are dropped; default: SQLite")
    parser.add_argument("--minutes", type=float, default=60, help="of jobs that come and go (%(default)s)")
    parser.add_argument("--rate", type=int, default=10_000, help="jobs a second meanwhile (%(default)s)")
    parser.add_argument("--backlog", type=int, default=10_000, help="jobs that wait all the while (%(default)s)")
    parser.add_argument("--size", type=int, default=100, help="bytes of a payload (%(default)s)")
    parser.add_argument("--rest", type=float, default=60, help="seconds to watch when all is drained (%(default)s)")
    parser.add_argument("--every", type=float, default=10, help="seconds between samples (%(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = chosen.database or f"sqlite:///{folder}/queue.db"
        with running(database):
            asyncio.run(run(chosen, database))


if __name__ == "__main__":
    main()
