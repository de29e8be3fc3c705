"""No acknowledgement leaves before its row is committed: in the system calls of a server under load, on each database.

Each JOB_CREATED of a background job is matched by the id in its handle with what the server wrote to its database. With
SQLite a sync of the log has to have ended that began after the last frame of the row's transaction was written; with
the others the answer has to have been read that ends the transaction to which the row was sent, and the OK of a cancel
is looked at too. That such an answer means a sync is a matter of the database's settings, which are read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from tests.conftest import StartServer
from tests.databases.queues import Queue, new_queue
from tests.databases.selection import SERVERS
from tests.durability.commits import Committed, in_server, in_sqlite, too_early
from tests.durability.load import Mixed, Said, load_on, said
from tests.harness.server import Server
from tests.harness.strace import READS, SYNCS, WRITES, Call, attached, prefix, read_trace

ACKNOWLEDGED: Final = 3000
FEWEST: Final = 20  # results, cancels, jobs done
FEWEST_BATCHES: Final = 10

SYNCED: Final = {
    "postgresql": (
        "SELECT name || '=' || setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') ORDER BY name",
        [("fsync=on",), ("synchronous_commit=on",)],
    ),
    "mysql": ("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@innodb_doublewrite", [(1, 1, "ON")]),
    "mariadb": ("SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@innodb_doublewrite", [(1, 0, "ON")]),
}


@pytest.fixture(params=SERVERS)
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """An empty queue in each of the database servers."""
    with new_queue(request.param, tmp_path) as queue:
        yield queue


def run_load(server: Server) -> Mixed:
    """Submitters, workers, clients that wait for results, clients that cancel."""
    record = Mixed()
    load = load_on(server.port, record)
    try:
        load.wait_until(lambda: len(record.acknowledged) >= ACKNOWLEDGED)
        load.wait_until(lambda: min(record.cancelled, record.results, len(record.executed)) >= FEWEST)
    finally:
        load.stop()
    assert record.anomalies == []
    assert not record.refused
    return record


def acknowledgements(calls: Sequence[Call], record: Mixed) -> list[Said]:
    """Of background jobs, from the trace. There must be as many as the clients had."""
    spoken = [word for word in said(calls, record) if word.what == packets.JOB_CREATED]
    assert len(spoken) >= len(record.acknowledged) + record.cancelled
    return spoken


def check(calls: Sequence[Call], record: Mixed, rows: Committed) -> None:
    """The order holds, and could have been broken."""
    spoken = acknowledgements(calls, record)
    assert {word.id for word in spoken} <= rows.keys()
    assert too_early(spoken, rows) == []
    assert len({rows[word.id] for word in spoken}) >= FEWEST_BATCHES
    early = [word._replace(line=rows[word.id] - 1) for word in spoken]
    assert too_early(early, rows) == early


def test_a_job_in_sqlite_is_synced_before_it_is_acknowledged(start_server: StartServer, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    server = start_server(prefix=prefix(trace, WRITES | SYNCS))
    record = run_load(server)
    assert server.stop() == 0
    calls = read_trace(trace)
    check(calls, record, in_sqlite(calls))


def test_a_job_in_a_database_server_is_committed_before_it_is_acknowledged(
    start_server: StartServer, tmp_path: Path, queue: Queue
) -> None:
    trace = tmp_path / "trace"
    server = start_server(database=queue.url)
    with attached(server.pid, trace, READS | WRITES):
        record = run_load(server)
        assert server.stop() == 0
    calls = read_trace(trace)
    inserted, deleted = in_server(calls, queue.kind)
    check(calls, record, inserted)
    cancelled = [word for word in said(calls, record) if word.what == packets.TEXT]
    assert len(cancelled) >= record.cancelled
    assert {word.id for word in cancelled} <= deleted.keys()
    assert too_early(cancelled, deleted) == []
    statement, settings = SYNCED[queue.kind]
    assert queue.query(statement) == settings
    assert "WARNING" not in server.stderr
