"""`make audit` asks about every locked package, and fails for what is known against one.

What is really known changes from day to day and takes a network; here a service on this machine answers.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.supply.locks import LOCKS, read_lock
from tests.supply.making import make

FLAW = "PYSEC-2026-1"


class Service(ThreadingHTTPServer):
    """Speaks OSV's protocol; knows of a flaw in the packages `flawed`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.flawed: set[str] = set()
        self.asked: set[tuple[str, str]] = set()

    @property
    def words(self) -> str:
        """What makes `make audit` ask here."""
        return f"ARGS=--vulnerability-service osv --osv-url http://127.0.0.1:{self.server_port}/"

    def known(self, name: str, version: str) -> dict[str, object]:
        """What there is against a package."""
        self.asked.add((name, version))
        return {"vulns": [{"id": FLAW, "affected": []}]} if name in self.flawed else {}


class Answer(BaseHTTPRequestHandler):
    """One question."""

    server: Service

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps(self.server.known(question["package"]["name"], question["version"])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    """Knows of nothing yet."""
    with Service() as service:
        Thread(target=service.serve_forever, args=(0.01,)).start()
        yield service
        service.shutdown()


def test_all_is_well(service: Service, tmp_path: Path) -> None:
    done = make(tmp_path, "audit", service.words)
    assert done.returncode == 0, done.stderr
    locked = [one for lock in LOCKS for one in read_lock(lock) if one.marker is None or one.marker.evaluate()]
    assert service.asked >= {(one.name, one.version) for one in locked}


@pytest.mark.parametrize("flawed", ["click", "hatchling"])
def test_a_flaw_is_an_error(flawed: str, service: Service, tmp_path: Path) -> None:
    service.flawed.add(flawed)
    done = make(tmp_path, "audit", service.words)
    assert done.returncode != 0
    assert [line.split()[0] for line in done.stdout.splitlines() if FLAW in line] == [flawed]
