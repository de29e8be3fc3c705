"""The connection is lost around a COMMIT: whatever became of it, no job is lost, doubled, or run after a refusal."""

import os
import random
from collections.abc import Callable
from typing import Final

import pytest

from tests.faults.conftest import Tell
from tests.faults.outages import COMMIT, Place
from tests.faults.story import PATIENCE
from tests.faults.test_outages import TIMEOUT, expect_acknowledged, expect_refusal, submit
from tests.faults.under_load import LATER, NOW, compare
from tests.load import Load, Record

CUTS: Final = int(os.environ.get("OUTAGE_CUTS", "5"))
SEED: Final = os.environ.get("OUTAGE_SEED")
IN_TRANSACTION: Final = b"COMMIT"  # under load every batch has deletes, and PostgreSQL needs it too
MOST_ACKNOWLEDGED: Final = 1500  # between two cuts


def test_a_lost_answer_is_asked_for_again(place: Place, tell_of: Tell) -> None:
    """The batch was committed, and nobody knows: it is done again, changes nothing, and is acknowledged."""
    story = tell_of(place, timeout=60)
    story.store(b"one", b"two")
    place.proxy.mute()
    submit(story, b"three", b"four")
    place.expect_rows([*story.waiting, b"three", b"four"])
    place.proxy.pass_on()
    place.proxy.cut()
    expect_acknowledged(story, b"three", b"four")
    story.work(1)
    place.expect_rows(story.waiting)
    story.kill_and_compare()


def test_a_refused_job_that_was_stored_is_taken_out(place: Place, tell_of: Tell) -> None:
    """The batch was committed, nobody knew in time, and the client was told ERROR: the job must not run."""
    story = tell_of(place, timeout=TIMEOUT)
    story.store(b"one", b"two")
    place.proxy.mute()
    expect_refusal(story, "no answer")
    place.expect_rows([b"one", b"two", b"refused"])  # the database may be slower than the refusal
    story.work(1)
    place.proxy.pass_on()
    story.store(b"three")
    place.expect_rows(story.waiting)
    story.kill_and_compare()


@pytest.mark.parametrize("forward", [True, False], ids=["sent", "not sent"])
def test_a_connection_cut_at_commit(place: Place, tell_of: Tell, forward: bool) -> None:
    story = tell_of(place, timeout=60)
    story.store(b"0", b"1", b"2")
    for number in range(6):
        sprung = place.proxy.cut_at(COMMIT[place.kind], forward=forward)
        if number % 2:  # rows with deletes, and rows alone
            story.work(1)
        story.store(*[b"%d of %d" % (part, number) for part in range(number + 1)])
        assert sprung.wait(PATIENCE)
    place.expect_rows(story.waiting)
    story.kill_and_compare()


def test_cuts_under_load(place: Place, tell_of: Tell) -> None:
    """Any moment may be the last of a connection; some submissions are refused, whose jobs may have been stored."""
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**6)
    print(f"OUTAGE_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    chance = random.Random(seed)
    story = tell_of(place, timeout=1)
    record = Record()
    load = Load(story.server.port, record, submitted=(NOW, LATER), worked=(NOW,))
    try:
        for number in range(CUTS):
            enough = len(record.acknowledged) + chance.randint(100, MOST_ACKNOWLEDGED)
            load.wait_until(lambda enough=enough: len(record.acknowledged) >= enough)  # type: ignore[misc]
            kind_of_cut = CUT_KINDS[number % len(CUT_KINDS)]
            kind_of_cut(place, load, chance)
        enough = len(record.acknowledged) + MOST_ACKNOWLEDGED
        load.wait_until(lambda: len(record.acknowledged) >= enough)
    finally:
        story.server.kill()
        load.stop()
    compare(place, story, record)


def cut_somewhere(place: Place, _load: Load, chance: random.Random) -> None:
    """At no moment in particular."""
    place.proxy.cut(reset=chance.random() < 0.5)


def cut_at_commit(place: Place, _load: Load, chance: random.Random) -> None:
    """Just when a batch was sent, or its commit withheld."""
    sprung = place.proxy.cut_at(IN_TRANSACTION, forward=chance.random() < 0.7)
    assert sprung.wait(PATIENCE)


def lose_answers(place: Place, load: Load, _chance: random.Random) -> None:
    """From a commit on, until submitters have been refused."""
    refused = len(load.record.refused)
    assert place.proxy.mute_at(IN_TRANSACTION).wait(PATIENCE)
    load.wait_until(lambda: len(load.record.refused) > refused)
    place.proxy.pass_on()


def lose_everything(place: Place, load: Load, _chance: random.Random) -> None:
    """In both directions; the sessions of the database hear of no end."""
    refused = len(load.record.refused)
    place.proxy.swallow()
    load.wait_until(lambda: len(load.record.refused) > refused)
    place.proxy.pass_on()


Cut = Callable[[Place, Load, random.Random], None]
CUT_KINDS: Final[tuple[Cut, ...]] = (cut_somewhere, cut_at_commit, lose_answers, cut_at_commit, lose_everything)
