"""The command, from every kind of source into a file, and from a file into every kind of database."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.command.running import WRONG_USAGE, GearmandPy
from tests.conftest import StartServer
from tests.databases.queues import Queue
from tests.databases.selection import SELECTED, SERVERS
from tests.databases.sources import shared_server
from tests.faults.campaign.shim import Shim
from tests.harness.server import HOST
from tests.importing.imported import DONE, NOT_ALL, Job, has_table, jobs, run_import, words, work
from tests.importing.legacy import Legacy, in_file, job, legacy

LATER: Final = 4_102_444_800  # the year 2100
SOON: Final = 2_000_000_000  # as far as MySQL's column goes without a turn, 2033

# What gearmand's own table may hold, in any database.
FINE: Final = (
    job(b"u1", priority=1, data=b"first"),
    job(b"u2", priority=0, data=None),
    job(b"u3", priority=2, data=b"x\0y\xff'\\"),
    job(b"", data=b"no key"),
    job(b"-", data=b"by data"),
    job(b"e1", when=SOON),
    job(b"e2", when=1000),
    job(b"u5", b"F"),
    job("ü".encode(), "größe 🐘".encode()),
    job(b"u4", b"f", None, b"no priority", None),
)
AS_JOBS: Final = [
    Job(b"u1", b"f", 1, b"first", 0),
    Job(b"u2", b"f", 0, b"", 0),
    Job(b"u3", b"f", 2, b"x\0y\xff'\\", 0),
    Job(None, b"f", 1, b"no key", 0),
    Job(b"-", b"f", 1, b"by data", 0),
    Job(b"e1", b"f", 1, b"payload", SOON),
    Job(b"e2", b"f", 1, b"payload", 0),
    Job(b"u5", b"F", 1, b"payload", 0),
    Job("ü".encode(), "größe 🐘".encode(), 1, b"payload", 0),
    Job(b"u4", b"f", 1, b"no priority", 0),
]
# For a table whose names are bytes, and that is not gearmand's own work.
ODD: Final = (
    job(b"a\xff", b"caf\xe9", data=bytes(range(256))),
    job(b"n", None),
    job(b"n", b""),
    job(None, b"f", data=b"no key"),
    job(b"p", priority=7),
    job(b"p", priority=-1),
    job(b"d", data=b"first"),
    job(b"d", data=b"second"),
    job(b"-", data=b"one"),
    job(b"-", data=b"two"),
    job(b"-", data=b"one"),
    job(b"", data=b"1"),
    job(b"", data=b"2"),
)
ODD_AS_JOBS: Final = [
    Job(b"a\xff", b"caf\xe9", 1, bytes(range(256)), 0),
    Job(None, b"f", 1, b"no key", 0),
    Job(b"d", b"f", 1, b"first", 0),
    Job(b"-", b"f", 1, b"one", 0),
    Job(b"-", b"f", 1, b"two", 0),
    Job(None, b"f", 1, b"1", 0),
    Job(None, b"f", 1, b"2", 0),
]
ODD_REFUSED: Final = """\
row 2, function none, unique key 'n': it has no function
row 3, function none, unique key 'n': it has no function
row 5, function 'f', unique key 'p': its priority is 7, not 0 (high), 1 (normal) or 2 (low)
row 6, function 'f', unique key 'p': its priority is -1, not 0 (high), 1 (normal) or 2 (low)
row 8, function 'f', unique key 'd': an earlier row has the same function and unique key
row 11, function 'f', unique key '-': an earlier row has the same function and unique key
"""
BYTES_AS_NAMES: Final = {"sqlite": "", "postgresql": "", "mysql": "CHARACTER SET binary"}


# ---- from every kind


def test_all_that_gearmand_writes(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.make(*FINE)
    ended = run_import(gearmand_py, source, file_queue)
    assert (ended.status, b": 10 rows read, 10 imported, 0 refused\n" in ended.stdout) == (DONE, True), ended
    assert b"the source was left as it was" in ended.stdout
    assert jobs(file_queue) == AS_JOBS
    assert source.length == len(FINE)


def test_all_that_may_be_in_a_table(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.make(*ODD, constraint=False, options=BYTES_AS_NAMES[source.family])
    ended = run_import(gearmand_py, source, file_queue)
    assert ended.status == NOT_ALL
    assert b": 13 rows read, 7 imported, 6 refused\n" in ended.stdout
    assert ended.stderr.endswith(ODD_REFUSED)
    assert jobs(file_queue) == ODD_AS_JOBS


def test_a_table_without_times(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.make(job(b"u1"), job(b"u2"), when=False)
    assert run_import(gearmand_py, source, file_queue).status == DONE
    assert [job.unique for job in jobs(file_queue)] == [b"u1", b"u2"]


def test_an_empty_table(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.make()
    ended = run_import(gearmand_py, source, file_queue)
    assert (ended.status, b": 0 rows read, 0 imported, 0 refused\n" in ended.stdout) == (DONE, True)
    source.add([job(b"u")])
    again = run_import(gearmand_py, source, file_queue)
    assert (again.status, b": 1 rows read, 1 imported, 0 refused\n" in again.stdout) == (DONE, True)


def test_another_table(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.make(job(b"u"), table="other_queue")
    missing = run_import(gearmand_py, source, file_queue)
    assert missing.status == NOT_ALL
    assert f"has no table {source.table}: its tables are other_queue; see --table\n" in missing.stderr
    assert not has_table(file_queue, "gearman_job")
    assert run_import(gearmand_py, source, file_queue, "--table", "other_queue").status == DONE
    assert len(jobs(file_queue)) == 1


def test_a_table_that_is_no_queue(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.execute(f"CREATE TABLE {source.table} (unique_key VARCHAR(64), data INTEGER)")
    ended = run_import(gearmand_py, source, file_queue)
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    assert "is no queue of gearmand: it has no column function_name, priority; see --table\n" in ended.stderr


def test_a_database_without_tables(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    source.execute("SELECT 1")
    ended = run_import(gearmand_py, source, file_queue)
    assert f"has no table {source.table}: it has no tables at all; is it the right database?\n" in ended.stderr


def test_rows_by_the_thousand_keep_their_order(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    rows = [job(b"%d" % (n * 7919 % 12_000), priority=n % 3, data=b"%d" % n) for n in range(12_000)]
    source.make(*rows)
    assert run_import(gearmand_py, source, file_queue).status == DONE
    assert [job.data for job in jobs(file_queue)] == [row.data for row in rows]


def test_payloads_of_any_size(gearmand_py: GearmandPy, source: Legacy, file_queue: Queue) -> None:
    if source.family == "mysql":
        shared_server(source.kind).execute(f"SET GLOBAL max_allowed_packet = {128 * 1024 * 1024}")
    sizes = [1, 9_000_000, 5_000_000, 5_000_000, 0, 20_000_000]
    source.make(*(job(b"%d" % n, data=bytes([n]) * size) for n, size in enumerate(sizes)))
    ended = gearmand_py.run("--max-packet-size", "1M", *words(source, file_queue))
    assert ended.status == DONE, ended
    assert file_queue.query("SELECT length(data) FROM gearman_job ORDER BY id") == [(size,) for size in sizes]


# ---- into every kind


def test_into_every_database(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(*FINE)
    ended = run_import(gearmand_py, file_source, queue)
    assert ended.status == DONE, ended
    assert re.search("the tables in .* are now at revision", ended.stderr)
    assert jobs(queue) == AS_JOBS


def test_again_does_nothing(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(*FINE)
    assert run_import(gearmand_py, file_source, queue).status == DONE
    delete_all(queue)
    again = run_import(gearmand_py, file_source, queue)
    assert (again.status, again.stderr) == (DONE, "")
    assert re.search(rb"imported completely at [\d: -]+: 10 rows read, 10 imported, 0 refused\n$", again.stdout)
    assert jobs(queue) == []


def delete_all(queue: Queue) -> None:
    """As a server that has run them."""
    if queue.kind == "sqlite":
        in_file(Path(str(queue.url.database)), "DELETE FROM gearman_job")
    else:
        queue.query("DELETE FROM gearman_job")


def test_again_takes_what_has_come_since(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    """The way back to gearmand, and over again: what has been run meanwhile does not come back."""
    file_source.make(job(b"u1"), job(b""))
    assert run_import(gearmand_py, file_source, queue).status == DONE
    delete_all(queue)
    file_source.add([job(b"u2")])
    again = run_import(gearmand_py, file_source, queue)
    assert again.status == DONE
    assert b": 3 rows read, 3 imported, 0 refused\n" in again.stdout
    assert [job.unique for job in jobs(queue)] == [b"u2"]
    assert b"imported completely" in run_import(gearmand_py, file_source, queue).stdout


def test_a_complete_import_and_then_other_jobs(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(job(b"u1"), job(b"u2"))
    assert run_import(gearmand_py, file_source, queue).status == DONE
    in_file(Path(str(file_source.url.database)), "DELETE FROM gearman_queue")
    file_source.add([job(b"u3"), job(b"u4")])
    again = run_import(gearmand_py, file_source, queue)
    assert (again.status, again.stdout) == (NOT_ALL, b"")
    assert "was complete, and the source has changed since (other rows now)" in again.stderr
    assert [job.unique for job in jobs(queue)] == [b"u1", b"u2"]
    assert run_import(gearmand_py, file_source, queue, "--restart").status == DONE
    assert [job.unique for job in jobs(queue)] == [b"u1", b"u2", b"u3", b"u4"]


def test_anew_leaves_out_what_is_in_the_queue(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(job(b"u1"), job(b"u2"), job(b"-"))
    assert run_import(gearmand_py, file_source, queue).status == DONE
    file_source.add([job(b"u3")])
    anew = run_import(gearmand_py, file_source, queue, "--restart")
    assert anew.status == DONE
    assert b": 4 rows read, 1 imported, 3 in the queue already, 0 refused\n" in anew.stdout
    assert "row 1, function 'f', unique key 'u1': a job with this function and unique key is in the" in anew.stderr
    assert [job.unique for job in jobs(queue)] == [b"u1", b"u2", b"-", b"u3"]


def test_behind_what_was_submitted_before_and_ahead_of_what_is_later(
    gearmand_py: GearmandPy, start_server: StartServer, file_source: Legacy, queue: Queue
) -> None:
    file_source.make(job(b"1", data=b"imported 1"), job(b"taken", data=b"left out"), job(b"2", data=b"imported 2"))
    server = start_server(database=queue.url)
    submit(server.port, b"before", b"before")
    submit(server.port, b"taken", b"submitted")
    running = run_import(gearmand_py, file_source, queue)
    assert (running.status, running.stdout) == (NOT_ALL, b"")
    assert re.search("is in use by process|another server has the queue", running.stderr)
    assert "stop" in running.stderr
    assert server.stop() == 0
    assert run_import(gearmand_py, file_source, queue).status == DONE
    server.restart()
    submit(server.port, b"after", b"after")
    submit(server.port, b"1", b"joins the imported one")
    assert [data for _, data in work(server.port, b"f")] == [
        b"before",
        b"submitted",
        b"imported 1",
        b"imported 2",
        b"after",
    ]


def test_ids_of_finished_jobs_are_not_given_again(
    gearmand_py: GearmandPy, start_server: StartServer, file_source: Legacy, queue: Queue, tmp_path: Path
) -> None:
    """A server gave them while the clock was an hour ahead; then it was put right. So is it after the import."""
    file_source.make(job(b"1"), job(b"2"))
    with Shim(tmp_path, tmp_path / "no database") as shim:
        shim.shift_clock(3600)
        server = start_server(database=queue.url, environment=shim.environment)
        submit(server.port, b"u", b"ahead")
        ids = all_ids(queue)
        assert len(work(server.port, b"f")) == 1
        assert server.stop() == 0
        shim.shift_clock(0)
        assert run_import(gearmand_py, file_source, queue).status == DONE
        ids += all_ids(queue)
        server.restart()
        assert len(work(server.port, b"f")) == 2
        assert server.stop() == 0
        server.restart()
        submit(server.port, b"u", b"right")
        ids += all_ids(queue)
    assert len(ids) == 4
    assert ids == sorted(set(ids))


def all_ids(queue: Queue) -> list[int]:
    return [id_ for (id_,) in queue.query("SELECT id FROM gearman_job ORDER BY id")]


def submit(port: int, unique: bytes, data: bytes) -> None:
    with Client.connect(HOST, port) as client:
        client.ask(packets.SUBMIT_JOB_BG, b"f", unique, data, answer=packets.JOB_CREATED)


PLPGSQL: Final = """
    CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF new.data = 'bad' THEN RAISE EXCEPTION 'not this one'; END IF;
        RETURN new;
    END $$
"""
TRIGGER: Final = "CREATE TRIGGER no BEFORE INSERT ON gearman_job FOR EACH ROW"
SIGNAL: Final = f"""
    {TRIGGER} BEGIN
        IF new.data = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF;
    END
"""
REFUSE: Final = {
    "postgresql": (PLPGSQL, f"{TRIGGER} EXECUTE FUNCTION no()"),
    "mysql": (SIGNAL,),
    "mariadb": (SIGNAL,),
}


@pytest.mark.parametrize("queue", SERVERS, indirect=True)  # SQLite refuses a row for its size alone, 1 GB
def test_a_row_that_the_database_refuses(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    gearmand_py.output("migrate", "--database", queue.url.render_as_string(hide_password=False))
    for statement in REFUSE[queue.kind]:
        queue.query(statement)
    bad = {3, 4, 70}
    file_source.make(*(job(b"%d" % n, data=b"bad" if n in bad else b"good") for n in range(100)))
    ended = run_import(gearmand_py, file_source, queue)
    assert ended.status == NOT_ALL
    assert b": 100 rows read, 97 imported, 3 refused\n" in ended.stdout
    assert [int(line.split()[1].rstrip(",")) for line in ended.stderr.splitlines()] == [4, 5, 71]
    assert ended.stderr.count("not this one") == 3
    assert [int(job.unique or b"") for job in jobs(queue)] == [n for n in range(100) if n not in bad]
    assert b"imported completely" in run_import(gearmand_py, file_source, queue).stdout


def test_a_prefix_and_a_node(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(job(b"u"))
    ended = gearmand_py.run("--node", "7", "--table-prefix", "mail_", *words(file_source, queue))
    assert ended.status == DONE, ended
    assert queue.query("SELECT node, unique_key FROM mail_gearman_job") == [(7, b"u")]
    assert queue.query("SELECT rows_imported FROM mail_gearman_import") == [(1,)]


def test_a_dry_run_touches_nothing(gearmand_py: GearmandPy, file_source: Legacy, queue: Queue) -> None:
    file_source.make(*ODD, constraint=False)
    ended = run_import(gearmand_py, file_source, queue, "--dry-run")
    assert ended.status == NOT_ALL
    assert b": 13 rows read, 7 could be imported, 6 refused\n" in ended.stdout
    assert ended.stderr == ODD_REFUSED
    if queue.kind == "sqlite":
        assert not Path(str(queue.url.database)).exists()
    else:
        assert not has_table(queue, "gearman_job")


def test_a_dry_run_beside_a_server(gearmand_py: GearmandPy, start_server: StartServer, file_source: Legacy) -> None:
    file_source.make(*FINE)
    server = start_server()
    database = f"sqlite:///{server.database}"
    ended = gearmand_py.run("import", "--from", file_source.text, "--database", database, "--dry-run")
    assert (ended.status, ended.stderr) == (DONE, "")


# ---- the same database


@pytest.fixture(params=SELECTED)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Legacy, Queue]]:
    """One database for gearmand's queue and for ours."""
    with legacy(request.param, tmp_path) as made:
        yield made, Queue(made.kind, made.url, made.execute)


def test_within_a_database(gearmand_py: GearmandPy, both: tuple[Legacy, Queue]) -> None:
    source, queue = both
    rows = [job(b"%d" % n, data=b"%d" % n) for n in range(12_000)]
    source.make(*rows)
    ended = run_import(gearmand_py, source, queue)
    assert ended.status == DONE, ended
    assert [job.data for job in jobs(queue)] == [row.data for row in rows]
    assert source.length == len(rows)
    assert b"imported completely" in run_import(gearmand_py, source, queue).stdout


def test_our_own_tables_are_no_source(gearmand_py: GearmandPy, queue: Queue, tmp_path: Path) -> None:
    url = queue.url.render_as_string(hide_password=False)
    gearmand_py.output("migrate", "--database", url)
    elsewhere = ("--database", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    by_default = gearmand_py.run("import", "--from", url, *elsewhere)
    assert by_default.status == NOT_ALL
    assert "those of gearmand-py need no import; see --table\n" in by_default.stderr
    by_name = gearmand_py.run("import", "--from", url, "--table", "gearman_job", *elsewhere)
    assert by_name.status == NOT_ALL
    assert "is one of gearmand-py, not of the C gearmand: there is nothing to import" in by_name.stderr


# ---- usage


@pytest.mark.parametrize("given", [[], ["--from", "sqlite:///x.db", "--dry-run", "--restart"]], ids=["none", "both"])
def test_wrong_usage(gearmand_py: GearmandPy, given: list[str]) -> None:
    assert gearmand_py.run("import", *given).status == WRONG_USAGE


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("gearman.db", "'gearman.db' is not a database URL"),
        ("redis://localhost/0", "redis: is not a database this version can use"),
        ("mysql://root@localhost", "--from names no database: use mysql://user@host/database"),
        ("sqlite://", "sqlite:// does not name a file"),
    ],
)
def test_a_url_that_cannot_be(gearmand_py: GearmandPy, url: str, reason: str) -> None:
    ended = gearmand_py.run("import", "--from", url)
    assert (ended.status, ended.stdout) == (NOT_ALL, b"")
    assert ended.stderr.startswith(f"gearmand-py: {reason}")


def test_of_many_refused_rows_the_first_are_listed(
    gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue
) -> None:
    file_source.make(*(job(b"%d" % n, b"") for n in range(150)))
    ended = run_import(gearmand_py, file_source, file_queue)
    assert ended.status == NOT_ALL
    lines = ended.stderr.splitlines()[1:]
    assert [lines[0][:7], lines[99][:8], *lines[100:]] == ["row 1, ", "row 100,", "... and 50 rows more"]


def test_the_time_decides(gearmand_py: GearmandPy, file_source: Legacy, file_queue: Queue) -> None:
    now = int(time.time())
    file_source.make(job(b"past", when=now - 1), job(b"future", when=now + 1000), job(b"far", when=2**40))
    assert run_import(gearmand_py, file_source, file_queue).status == DONE
    assert [job.run_at for job in jobs(file_queue)] == [0, now + 1000, 2**40]
