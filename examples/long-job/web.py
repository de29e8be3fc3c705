"""The page of the long job: starts jobs, and tells by their handles how far they are."""

import argparse
import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote

import gear

HERE = Path(__file__).parent
RESULTS = HERE / "results"
VIEWS = {
    "all": {"x": -0.65, "y": 0, "width": 4.2},
    "seahorses": {"x": -0.7436, "y": 0.1318, "width": 0.012},
    "spiral": {"x": -0.761574, "y": -0.0847596, "width": 0.0032},
    "elephants": {"x": 0.2925, "y": 0.0149, "width": 0.03},
}
HANDLE = r"[\w.:-]{1,63}"
AWAY = (gear.NoConnectedServersError, gear.GearmanError, OSError, AttributeError)  # how gear says it


class Status(NamedTuple):
    """What the server knows of a job."""

    known: bool
    running: bool
    numerator: int
    denominator: int


class Client(gear.Client):  # type: ignore[misc]
    """gear's client, which keeps the status of its own jobs only; ours are known by nothing but a handle."""

    def __init__(self) -> None:
        super().__init__("long-job")
        self._asking = threading.Lock()
        self._answers: SimpleQueue[list[bytes]] = SimpleQueue()

    def handleStatusRes(self, packet: gear.Packet) -> None:
        """Called in gear's own thread."""
        self._answers.put(packet.data.split(b"\0"))

    def status(self, handle: str) -> Status:
        """Ask the server; one of AWAY if it is."""
        question = gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, handle.encode())
        with self._asking:
            self.sendPacket(question, self.getConnection())
            while True:
                try:
                    answered, known, running, numerator, denominator = self._answers.get(timeout=5)
                except Empty:
                    raise OSError("no answer within 5 s") from None
                if answered == handle.encode():  # not one that came too late for the question before
                    return Status(known == b"1", running == b"1", int(numerator or 0), int(denominator or 0))


def state_of(handle: str, client: Client) -> dict[str, Any]:
    """What the page shows of a job.

    The server forgets a job when it ends. The worker leaves the result before it ends the job, so whoever asks the
    server first and looks for the result second never finds a job that is in neither place.
    """
    status = client.status(handle)
    if status.known:
        progress = {"numerator": status.numerator, "denominator": status.denominator}
        return {"state": "running" if status.running else "queued", **progress}
    if (RESULTS / f"{handle}.png").exists():
        return {"state": "done", "picture": f"results/{quote(handle)}.png"}
    if (failure := RESULTS / f"{handle}.txt").exists():
        return {"state": "failed", "reason": failure.read_text()}
    return {"state": "unknown"}


def submit(form: dict[str, list[str]], client: Client) -> str:
    """Queue a job; returns its handle. ValueError if the form asks for nothing we have."""
    view, samples = form.get("view", [""])[0], form.get("samples", ["1"])[0]
    if view not in VIEWS or samples not in {"1", "2", "4"}:
        raise ValueError("There is no such picture.")
    job = gear.TextJob("render", json.dumps(VIEWS[view] | {"samples": int(samples)}))
    client.submitJob(job, background=True, timeout=5)
    return str(job.handle, "ascii")


class Handler(SimpleHTTPRequestHandler):
    """The page, its pictures, and two questions: POST /jobs and GET /jobs/HANDLE, answered in JSON."""

    def __init__(self, *arguments: Any, client: Client, **named: Any) -> None:
        self.client = client
        super().__init__(*arguments, directory=str(HERE), **named)

    def do_GET(self) -> None:
        path = unquote(self.path)
        if job := re.fullmatch(rf"/jobs/({HANDLE})", path, re.ASCII):
            self.answer(HTTPStatus.OK, lambda: state_of(job[1], self.client))
        elif path == "/" or re.fullmatch(rf"/results/{HANDLE}\.png", path, re.ASCII):
            super().do_GET()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        form = self.rfile.read(min(1000, int(self.headers["Content-Length"] or 0))).decode(errors="replace")
        if self.path == "/jobs":
            self.answer(HTTPStatus.ACCEPTED, lambda: {"handle": submit(parse_qs(form), self.client)})
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def answer(self, status: HTTPStatus, find: Callable[[], dict[str, Any]]) -> None:
        """Send what is found, or why it is not."""
        try:
            found = find()
        except ValueError as problem:
            status, found = HTTPStatus.BAD_REQUEST, {"error": str(problem)}
        except AWAY:
            status, found = HTTPStatus.SERVICE_UNAVAILABLE, {"error": "The job server is away."}
        body = json.dumps(found).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """Two requests a second are no news."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8081)
    port = options.parse_args().port

    client = Client()
    for server in os.environ.get("GEARMAN_SERVERS", "127.0.0.1:4730").split(","):
        host, _, server_port = server.partition(":")
        client.addServer(host, int(server_port or 4730))  # connects by itself, and again when the connection is lost
    with suppress(gear.TimeoutError):  # the first connection; without it the page answers 503 until there is one
        client.waitForServer(timeout=5)
    with ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, client=client)) as web:
        print(f"http://127.0.0.1:{port}/", flush=True)
        web.serve_forever()


main()
