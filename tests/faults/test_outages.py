"""The database goes away and comes back: submissions wait as long as they may, nothing is lost, nothing is doubled."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Final

import pytest

from gearmand_py.server import packets
from gearmand_py.server.client import ServerError
from tests.faults.conftest import Tell
from tests.faults.outages import (
    RECOVERY,
    SLACK,
    Place,
    frozen,
    killed,
    locked,
    stopped,
    swallowed,
    unreachable,
)
from tests.faults.story import DOWN, FUNCTION, PATIENCE, UP, Story

TIMEOUT: Final = 5  # longer than a database takes that has to share this machine
LONG: Final = 60
PATIENT: Final = 1  # the nodes of the two servers
HASTY: Final = 2

Outage = Callable[[Place], AbstractContextManager[str]]
OUTAGES: Final[dict[str, Outage]] = {
    "killed": killed,
    "stopped": stopped,
    "frozen": frozen,
    "unreachable": unreachable,
    "locked": locked,
}
SILENT: Final = (frozen,)  # nothing fails until the patience is at an end


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_an_outage(place: Place, tell_of: Tell, outage: Outage) -> None:
    """Two servers have their queues at the place: one whose clients wait longer than the outage, one whose do not."""
    patient = tell_of(place, "--node", str(PATIENT), timeout=LONG)
    hasty = tell_of(place, "--node", str(HASTY), timeout=TIMEOUT)
    for story in (patient, hasty):
        story.store(*[b"before %d" % number for number in range(20)])
    with outage(place) as reason:
        submit(patient, b"during 1", b"during 2", b"during 3")
        for story in (patient, hasty):
            story.work(3)
        expect_refusal(hasty, reason)
        hasty.run_foreground_job()
        if outage not in SILENT:
            patient.server.expect(f"{DOWN}: .*({reason})".encode())
        patient.run_foreground_job()
        patient.work(2)
        assert not is_answered(patient)
    began = monotonic()
    expect_acknowledged(patient, b"during 1", b"during 2", b"during 3")
    store_in_time(hasty, began, b"after it")  # without anybody's doing
    assert monotonic() - began < RECOVERY + SLACK
    for node, story in ((PATIENT, patient), (HASTY, hasty)):
        place.expect_rows(story.waiting, node)
        story.kill_and_compare()
        assert DOWN not in story.server.stderr or story.log() == [DOWN, UP]
    hasty.expect_log(DOWN, UP)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "ended"])
def test_a_connection_that_is_cut_is_made_anew(place: Place, tell_of: Tell, reset: bool) -> None:
    """Nobody is told anything: it takes a moment, and the job is stored."""
    story = tell_of(place)
    for number in range(10):
        story.store(b"%d" % number)
        place.proxy.cut(reset=reset)
    story.work(2)
    place.expect_rows(story.waiting)
    story.kill_and_compare()


def test_a_session_that_was_ended(place: Place, tell_of: Tell) -> None:
    """The database says so, or does not, and the connection still looks open when the next batch comes."""
    story = tell_of(place)
    story.store(b"before")
    place.proxy.keep_open()
    for number in range(3):
        place.end_sessions()
        story.store(b"after %d" % number)
        place.end_sessions()
        story.work(1)
        place.expect_rows(story.waiting)


def test_a_connection_that_died_unnoticed(place: Place, tell_of: Tell) -> None:
    """Its session in the database lives on, and holds the lock of the queue: the server ends it and goes on."""
    story = tell_of(place, timeout=TIMEOUT)
    story.store(b"before")
    with swallowed(place) as reason:
        expect_refusal(story, reason)
        story.run_foreground_job()
        assert place.sessions()  # the ghost
        story.work(1)
    began = monotonic()
    store_in_time(story, began, b"after 1")
    story.store(b"after 2")
    assert monotonic() - began < RECOVERY + SLACK
    place.expect_rows(story.waiting)
    story.kill_and_compare()
    story.expect_log(DOWN, UP)


def test_a_connection_that_dies_under_a_batch(place: Place, tell_of: Tell) -> None:
    """New ones are carried at once: the batch is done again on one of them, within its submitters' time."""
    story = tell_of(place, timeout=12)
    story.store(b"before")
    place.proxy.swallow()
    submit(story, b"during")
    assert place.proxy.swallowed.wait(PATIENCE)
    place.proxy.pass_on()
    expect_acknowledged(story, b"during")
    place.expect_rows(story.waiting)


def submit(story: Story, *payloads: bytes) -> None:
    """In one go, so that they make one batch, and without waiting for answers."""
    requests = [packets.request(packets.SUBMIT_JOB_BG, FUNCTION, b"", payload) for payload in payloads]
    story.client._write(b"".join(requests))


def expect_acknowledged(story: Story, *payloads: bytes) -> None:
    """The answers of these."""
    for payload in payloads:
        kind, _ = story.client.receive(RECOVERY + SLACK)
        assert kind == packets.JOB_CREATED
        story.waiting.append(payload)


def store_in_time(story: Story, began: float, payload: bytes) -> None:
    """Submit a job until it is stored: as long as the promise allows it may be refused."""
    while not is_stored(story, payload):
        assert monotonic() - began < RECOVERY + SLACK, "jobs are still refused"


def is_stored(story: Story, payload: bytes) -> bool:
    """Submit a job; whether it was not refused."""
    try:
        story.store(payload)
    except ServerError:
        return False
    return True


def expect_refusal(story: Story, reason: str) -> None:
    """A job that cannot be stored waits for the timeout, not for less, and is refused with the reason."""
    began = monotonic()
    assert re.search(reason, story.refusal())
    assert TIMEOUT * 0.9 < monotonic() - began < 2 * TIMEOUT + SLACK


def is_answered(story: Story) -> bool:
    """Is there a packet for the client?"""
    story.client._socket.settimeout(0)
    try:
        return bool(story.client._socket.recv(1, 2))
    except BlockingIOError:
        return False
