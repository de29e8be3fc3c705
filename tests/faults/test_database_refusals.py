"""The database is there and says no: to one job, to the password, to writing, to a table that is not there."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import ServerError
from tests.databases.selection import SERVERS
from tests.faults.conftest import Tell
from tests.faults.outages import RECOVERY, SLACK, Place, session_on, wait_until
from tests.faults.story import DOWN, FUNCTION, PATIENCE, UP, Story

MIB: Final = 1024 * 1024
BAD: Final = b"bad"  # a function that the database does not take
IN_HEX: Final = {"postgresql": rf"'\x{BAD.hex()}'", "mysql": f"x'{BAD.hex()}'", "mariadb": f"x'{BAD.hex()}'"}


# ---- one bad job


def submit(story: Story, *jobs: tuple[bytes, bytes]) -> list[str | None]:
    """Submit functions and payloads in one go; returns the reasons of those refused, None for the others."""
    story.client._write(b"".join(packets.request(packets.SUBMIT_JOB_BG, name, b"", data) for name, data in jobs))
    answers: list[str | None] = []
    for _, payload in jobs:
        answers.append(reason := answer(story))
        if reason is None:
            story.waiting.append(payload)
    return answers


def answer(story: Story) -> str | None:
    """The next answer to a submission: None, or the reason of the refusal."""
    try:
        kind, _ = story.client.receive(PATIENCE)
    except ServerError as error:
        return f"{error.code}: {error.text}"
    return None if kind == packets.JOB_CREATED else packets.name(kind)


def check(place: Place) -> None:
    """A constraint of the table."""
    place.execute(f"ALTER TABLE gearman_job ADD CONSTRAINT no_bad CHECK (function_name <> {IN_HEX[place.kind]})")


def trigger(place: Place) -> None:
    """A program in the database."""
    condition = f"NEW.function_name = {IN_HEX[place.kind]}"
    if place.is_postgresql:
        body = f"BEGIN IF {condition} THEN RAISE EXCEPTION 'no_bad'; END IF; RETURN NEW; END"
        place.execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        action = "EXECUTE FUNCTION refuse()"
    else:
        action = f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no_bad'; END IF"
    place.execute(f"CREATE TRIGGER no_bad BEFORE INSERT ON gearman_job FOR EACH ROW {action}")


@pytest.mark.parametrize("refuse", [check, trigger])
def test_a_job_that_the_database_refuses_fails_alone(
    place: Place, tell_of: Tell, refuse: Callable[[Place], None]
) -> None:
    story = tell_of(place, timeout=60)
    story.store(b"done", b"kept")
    refuse(place)
    story.work(1)
    jobs = [(BAD if number in (0, 17, 39) else FUNCTION, b"%d" % number) for number in range(40)]
    answers = submit(story, *jobs)
    for (function, _), reason in zip(jobs, answers, strict=True):
        assert (function == BAD) == (reason is not None)
        assert reason is None or re.match("QUEUE_ERROR: .*no_bad", reason)
    place.expect_rows(story.waiting)
    story.run_foreground_job()
    assert story.log() == []  # the storage is not to blame
    story.kill_and_compare()


@pytest.fixture
def small_packets(place: Place) -> Iterator[Place]:
    """A place where new sessions have packets of 1 MiB."""
    (before,) = place.execute("SELECT @@GLOBAL.max_allowed_packet")[0]
    place.execute(f"SET GLOBAL max_allowed_packet = {MIB}")
    yield place
    place.execute(f"SET GLOBAL max_allowed_packet = {before}")


@pytest.mark.parametrize("own", [kind for kind in SERVERS if kind != "postgresql"], indirect=True)
def test_a_job_that_no_packet_holds_fails_alone(small_packets: Place, tell_of: Tell) -> None:
    story = tell_of(small_packets, timeout=60)
    sizes = [10, 2 * MIB, 20, 100_000, 3 * MIB, 700_000, 600_000, 30]
    answers = submit(story, *((FUNCTION, b"%d " % size + b"x" * size) for size in sizes))
    assert [bool(reason) for reason in answers] == [size > MIB for size in sizes]
    assert all("max_allowed_packet" in reason for reason in answers if reason)
    small_packets.expect_rows(story.waiting)
    assert story.log() == []
    story.kill_and_compare()


@pytest.mark.parametrize("own", [kind for kind in SERVERS if kind != "postgresql"], indirect=True)
def test_a_job_that_almost_fits_a_packet(small_packets: Place, tell_of: Tell) -> None:
    """Whatever is estimated too small must still fail alone, and with the reason."""
    story = tell_of(small_packets, timeout=60)
    answers = {}
    for size in (*range(MIB - 400, MIB + 20, 7), MIB // 2):
        (answers[size],) = submit(story, (FUNCTION, b"'" * (size // 1000) + b"x" * (size - size // 1000 * 2)))
    refused = [size for size, reason in answers.items() if reason]
    assert refused == list(range(min(refused), MIB + 20, 7))
    assert all("max_allowed_packet" in reason for reason in answers.values() if reason)
    assert story.log() == []
    story.kill_and_compare()


# ---- nothing can be stored: each holds while its context does, and gives a pattern for the reason


@contextmanager
def password_changed(place: Place) -> Iterator[str]:
    """Another password, and all sessions ended."""
    old = place.password
    place.set_password("another-secret")
    place.end_sessions()
    yield "password"
    place.set_password(old)


@contextmanager
def without_database(place: Place) -> Iterator[str]:
    """Dropped, made and migrated again; its jobs are gone with it."""
    if place.is_postgresql:
        place.drop_database()
    else:
        place.server.execute(f"DROP DATABASE {place.database}")  # under the feet of its sessions
    yield "create it, or correct its name in --database|was the table dropped"  # a session may have survived it
    place.create_database()
    place.migrate()


@contextmanager
def without_table(place: Place) -> Iterator[str]:
    """Dropped, and made again as the message tells, beside the running server; its jobs are gone with it."""
    place.execute(f"DROP TABLE gearman_job{' CASCADE' if place.is_postgresql else ''}")
    yield "was the table dropped. restore it"
    place.execute("DROP TABLE gearman_alembic_version")  # as migrate demands of whoever wants an empty queue
    place.migrate()


@contextmanager
def read_only(place: Place) -> Iterator[str]:
    """The primary becomes a standby, and a primary again."""
    if place.is_postgresql:
        setting = f"ALTER DATABASE {place.database} SET default_transaction_read_only"
        place.server.execute(f"{setting} = on")
    else:
        place.server.execute("SET GLOBAL read_only = ON")
    place.end_sessions()
    yield "point --database at the primary"
    if place.is_postgresql:
        place.server.execute(f"{setting} = off")
    else:
        place.server.execute("SET GLOBAL read_only = OFF")


@contextmanager
def without_rights(place: Place) -> Iterator[str]:
    """The user may no longer write."""
    table = "gearman_job" if place.is_postgresql else f"{place.database}.*"
    place.execute(f"REVOKE INSERT, DELETE ON {table} FROM {place.account}")
    place.end_sessions()  # MySQL's know what they might do when they began
    yield "grant the user of --database what it needs"
    place.execute(f"GRANT INSERT, DELETE ON {table} TO {place.account}")


Refusal = Callable[[Place], AbstractContextManager[str]]
REFUSALS: Final[dict[str, Refusal]] = {
    "password changed": password_changed,
    "read-only": read_only,
    "no rights": without_rights,
    "no table": without_table,
    "no database": without_database,
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_that_passes(place: Place, tell_of: Tell, refusal: Refusal) -> None:
    story = tell_of(place, timeout=5)
    story.store(b"before 1", b"before 2", b"before 3")
    with refusal(place) as reason:
        story.work(2)
        assert re.search(reason, story.refusal())
        story.run_foreground_job()
    began = monotonic()
    while refused := refusal_of(story, b"after it"):
        assert monotonic() - began < RECOVERY + SLACK, refused
    if refusal in (without_database, without_table):
        assert story.waiting.pop(0) == b"before 3"
    place.expect_rows(story.waiting)
    story.expect_log(DOWN, UP)


def refusal_of(story: Story, payload: bytes) -> str | None:
    """Why a job is not stored; None if it is."""
    return submit(story, (FUNCTION, payload))[0]


def test_a_password_from_a_file(place: Place, tell_of: Tell, tmp_path: Path) -> None:
    """The file is read at each connection: the server goes on by itself once both have the new one."""
    file = tmp_path / "password"
    file.write_text(f"{place.password}\n")
    file.chmod(0o600)
    story = tell_of(
        place, "--database-password-file", str(file), timeout=60, database=place.url.set(password="not this one")
    )
    story.store(b"before")
    place.set_password("the-new-secret")
    place.end_sessions()
    story.client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"during")
    story.server.expect(DOWN.encode())
    story.run_foreground_job()
    file.write_text(place.password)
    assert story.client.receive(RECOVERY + SLACK)[0] == packets.JOB_CREATED
    story.waiting.append(b"during")
    place.expect_rows(story.waiting)
    story.expect_log(DOWN, UP)


# ---- locks


def test_a_deadlock(place: Place, tell_of: Tell) -> None:
    """The server's transaction is chosen to end it: it is tried again, and its jobs are gone in the end."""
    choose_victim(place)
    story = tell_of(place, timeout=60)
    story.store(b"first", b"second", b"third")
    first, second = (id_ for (id_,) in place.execute("SELECT id FROM gearman_job ORDER BY id LIMIT 2"))
    place.execute("CREATE TABLE other (id integer)")
    with session_on(place) as session:
        if place.is_postgresql:
            session.execute("SET deadlock_timeout = '10min'")  # it does not look
        session.execute("BEGIN")
        session.execute(f"INSERT INTO other VALUES {','.join(['(1)'] * 500)}")  # who has done less is the victim
        session.execute(f"SELECT id FROM gearman_job WHERE id = {second} FOR UPDATE")
        story.work(2)
        wait_until(lambda: waits_for_lock(place), lambda: "the server does not wait")
        session.execute(f"SELECT id FROM gearman_job WHERE id = {first} FOR UPDATE")
        story.server.expect(f"{DOWN}: .*[Dd]eadlock".encode())
        story.run_foreground_job()
        session.execute("ROLLBACK")
    story.store(b"after it")
    place.expect_rows(story.waiting)
    story.kill_and_compare()
    story.expect_log(DOWN, UP)


def choose_victim(place: Place) -> None:
    """In PostgreSQL it is who looks first, once, so long after it began to wait: by then there must be a deadlock."""
    if place.is_postgresql:
        place.execute(f"ALTER ROLE {place.user} SET deadlock_timeout = '4s'")  # less than the server waits for a lock


def waits_for_lock(place: Place) -> bool:
    """Does a session of the server's user wait for a lock?"""
    if place.is_postgresql:
        waiting = f"SELECT FROM pg_stat_activity WHERE usename = '{place.user}' AND wait_event_type = 'Lock'"
    else:
        waiting = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    return bool(place.execute(waiting))
