"""The database moves to another host: the server follows by itself."""

from typing import Any

import pytest
from sqlalchemy import URL

from gearmand_py.storage.sql import COLUMNS
from tests.databases.ports import HOST
from tests.databases.selection import SERVERS
from tests.databases.sources import shared_server
from tests.faults.conftest import Tell
from tests.faults.outages import COMMIT, Place, place_on, target_of
from tests.faults.proxy import Proxy
from tests.faults.story import DOWN, PATIENCE, UP
from tests.faults.test_outages import expect_acknowledged, submit


def test_the_address_leads_to_another_server(place: Place, tell_of: Tell) -> None:
    """As with a name in the DNS, or a virtual address: the new one has what the old one had committed."""
    story = tell_of(place, timeout=60)
    story.store(b"one", b"two", b"three")
    story.work(1)
    place.expect_rows(story.waiting)
    with place_on(shared_server(place.kind), like=place) as other:
        place.proxy.refuse()
        place.proxy.cut()
        submit(story, b"four")
        story.server.expect(DOWN.encode())
        story.run_foreground_job()
        story.work(1)
        other.migrate()
        copy_rows(place, other)
        place.proxy.target = target_of(shared_server(place.kind))
        place.proxy.listen()
        expect_acknowledged(story, b"four")
        story.store(b"five")
        other.expect_rows(story.waiting)
        assert place.rows() == [b"two", b"three"]  # the old one is left as it was
        story.kill_and_compare()
        story.expect_log(DOWN, UP)
        story.server.kill()


@pytest.mark.parametrize("own", [kind for kind in SERVERS if kind == "postgresql"], indirect=True)
def test_several_hosts_in_the_url(place: Place, tell_of: Tell) -> None:
    """The first that can be reached and written to is used."""
    with Proxy(place.proxy.target) as standby:
        hosts = [f"{HOST}:{port}" for port in (place.proxy.port, standby.port)]
        url = URL.create(
            "postgresql", place.user, place.password, database=place.database, query={"host": tuple(hosts)}
        )
        story = tell_of(place, timeout=60, database=url)
        story.store(b"one", b"two")
        sprung = place.proxy.cut_at(COMMIT[place.kind], forward=True)
        submit(story, b"three")
        assert sprung.wait(PATIENCE)
        place.proxy.refuse()
        place.proxy.cut()
        expect_acknowledged(story, b"three")
        story.store(b"four")
        place.proxy.listen()
        standby.refuse()
        standby.cut()
        story.store(b"five")
        place.expect_rows(story.waiting)
        story.kill_and_compare()


def copy_rows(source: Place, target: Place) -> None:
    """What replication would have done."""
    columns = ", ".join(COLUMNS)
    rows = source.execute(f"SELECT {columns} FROM gearman_job")
    values = ", ".join(f"({', '.join(literal(target, value) for value in row)})" for row in rows)
    target.execute(f"INSERT INTO gearman_job ({columns}) VALUES {values}")


def literal(place: Place, value: Any) -> str:
    """A value in SQL."""
    if isinstance(value, bytes):
        return rf"'\x{value.hex()}'" if place.is_postgresql else f"x'{value.hex()}'"
    return "NULL" if value is None else str(value)
