"""One server a queue: a lock in the database keeps others out, and is free as soon as its holder is gone."""

import re
from time import monotonic

from gearmand_py.server import packets
from tests.faults.conftest import Tell
from tests.faults.outages import RECOVERY, SLACK, Place, wait_until
from tests.faults.story import FUNCTION
from tests.harness.process import Process
from tests.harness.server import COMMAND

IN_USE = "another server has the queue of node 0"


def serve(place: Place, *arguments: str) -> Process:
    """A further server, which may fail to start."""
    database = place.url.render_as_string(hide_password=False)
    return Process([str(COMMAND), "--port", "0", "--database", database, *arguments])


def test_a_second_server_is_refused(place: Place, tell_of: Tell) -> None:
    story = tell_of(place)
    story.store(b"one")
    with serve(place) as second:
        assert second.wait() == 1
        (line,) = second.stderr.splitlines()
    assert IN_USE in line
    assert "--node" in line
    assert place.password not in line
    story.store(b"two")
    place.expect_rows(story.waiting)


def test_other_nodes_have_their_own_jobs(place: Place, tell_of: Tell) -> None:
    stories = {node: tell_of(place, "--node", str(node)) for node in (0, 1023)}
    for node, story in stories.items():
        story.store(*[b"%d of %d" % (number, node) for number in range(20)])
    for node, story in stories.items():
        place.expect_rows(story.waiting, node)
        story.kill_and_compare()
    for node in stories:
        place.expect_rows([], node)


def test_a_killed_server_frees_the_queue(place: Place, tell_of: Tell) -> None:
    story = tell_of(place)
    story.store(b"one", b"two")
    for _ in range(3):
        story.server.restart()  # the old session may live on for a moment, but not for longer
    with story.server.connect() as client:
        story.client = client
        story.store(b"three")
    story.kill_and_compare()


def test_a_server_whose_queue_was_taken_ends(place: Place, tell_of: Tell) -> None:
    """It was cut off, its session ended, and another one started: what it could not store is not stored."""
    first = tell_of(place, timeout=60)
    first.store(b"old")
    place.proxy.refuse()
    place.proxy.cut()
    place.end_sessions()
    wait_until(lambda: not place.sessions(), lambda: f"sessions go on: {place.sessions()}")
    second = tell_of(place, database=place.direct_url)
    first.client.send(packets.SUBMIT_JOB_BG, FUNCTION, b"", b"cut off")
    first.run_foreground_job()
    place.proxy.listen()
    began = monotonic()
    assert first.server.wait() != 0
    assert monotonic() - began < RECOVERY + SLACK
    assert IN_USE in first.server.stderr.splitlines()[-1]
    assert len(re.findall(IN_USE, first.server.stderr)) == 1
    second.waiting = [b"old"]
    second.store(b"new")
    second.kill_and_compare()
