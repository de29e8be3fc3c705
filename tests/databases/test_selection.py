"""What the environment may ask for, and what is said when nothing can be had. None of this takes a server."""

from pathlib import Path

import pytest

from tests.databases import sources
from tests.databases.packages import MIRRORS
from tests.databases.programs import installed
from tests.databases.selection import Unavailable, chosen
from tests.databases.server import DatabaseServer, OwnedServer

KNOWN = ("one", "two", "three")


def test_everything_is_chosen_unless_something_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBERS", raising=False)
    assert chosen("NUMBERS", KNOWN) == KNOWN
    monkeypatch.setenv("NUMBERS", "")
    assert chosen("NUMBERS", KNOWN) == KNOWN


def test_the_list_is_a_choice_in_the_usual_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBERS", "three, one,")
    assert chosen("NUMBERS", KNOWN) == ("one", "three")


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBERS", "one,four")
    with pytest.raises(pytest.UsageError, match="NUMBERS names four; it may list one, two, three"):
        chosen("NUMBERS", KNOWN)


def test_a_test_without_a_server_fails_and_tells_all_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str, wishes: sources.Wishes) -> OwnedServer:
        raise Unavailable(f"no {kind} today")

    monkeypatch.setattr(sources, "SOURCES", ("containers", "local"))
    monkeypatch.setattr(sources, "OWNED", {"containers": refuse, "local": refuse})
    monkeypatch.setattr(sources, "_reasons", {})
    with pytest.raises(pytest.fail.Exception) as failure, sources.own_server("mysql"):
        pass
    text = str(failure.value)
    for part in ("containers: no mysql today", "local: no mysql today", "GEARMAND_TEST_MYSQL_URL", "DATABASES"):
        assert part in text


def test_a_url_that_leads_nowhere_is_an_error_not_a_reason_to_look_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SOURCES", ("url", "containers", "local"))
    monkeypatch.setattr(sources, "_shared", {})
    monkeypatch.setenv("GEARMAND_TEST_MARIADB_URL", "mariadb://root:none@127.0.0.1:1")
    with pytest.raises(pytest.fail.Exception, match="GEARMAND_TEST_MARIADB_URL leads to no server"):
        sources.shared_server("mariadb")


@pytest.mark.parametrize(("kind", "answer"), [("mysql", "11.8.2-MariaDB-ubu2404"), ("mariadb", "9.7.0")])
def test_a_url_of_another_product_is_refused(kind: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseServer, "execute", lambda server, statement: [(answer,)])
    monkeypatch.setenv(sources.variable(kind), f"{kind}://root@127.0.0.1:1")
    with pytest.raises(Unavailable, match="leads to M"):
        sources.from_url(kind)


def test_a_mysqld_of_mariadb_is_no_mysql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mysqld"
    program.write_text("#!/bin/sh\necho 'mysqld  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Unavailable):
        installed.__wrapped__("mysql")


@pytest.mark.parametrize(
    "text",
    [
        "# deb http://old.example.org/debian sid main\ndeb [arch=amd64] http://mirror.example.org/debian sid main\n",
        "Types: deb\nURIs: http://mirror.example.org/debian/\nSuites: trixie\n",
    ],
)
def test_the_mirror_is_read_from_both_formats(text: str) -> None:
    found = MIRRORS.search(text)
    assert found
    assert found[1] == "http://mirror.example.org/debian"
