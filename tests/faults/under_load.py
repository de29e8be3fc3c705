"""Loads on a server at a place, and the comparison in the end."""

from typing import Final

from tests.faults.outages import Place
from tests.faults.story import Story
from tests.load import Record, drain, sequence_of

NOW: Final = b"now"  # worked on under load
LATER: Final = b"later"  # waits for the end


def compare(place: Place, story: Story, record: Record) -> None:
    """The server was killed: what is in the table, and what comes out of it, is what the record says."""
    rows = [sequence_of(row) for row in place.rows()]
    assert len(rows) == len(set(rows))
    record.restart()
    story.server.restart()
    story.server.jobs_found()  # it knows them all
    for function in (NOW, LATER):
        drain(story.server.port, record, function)
    assert record.lost == set()
    assert record.anomalies == []
    assert record.refused.keys() & record.executed.keys() == set()
    place.expect_rows([])
