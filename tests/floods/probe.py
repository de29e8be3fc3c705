"""A well-behaved client and worker beside a flood: how long they wait, and how much they get done."""

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Final, NamedTuple

from gearmand_py.server import packets
from gearmand_py.server.client import Client
from tests.harness.server import HOST

PACE: Final = 0.01  # seconds between two tries of each kind
PATIENCE: Final = 60.0


class Seen(NamedTuple):
    """Seconds that each foreground round trip took, and each background submission until its acknowledgement."""

    foreground: list[float]
    background: list[float]


class Probe:
    """One client, and one worker that sleeps between jobs, as real ones do."""

    def __init__(self, port: int) -> None:
        self._client = Client.connect(HOST, port, timeout=PATIENCE)
        self._worker = Client.connect(HOST, port, timeout=PATIENCE)
        self._worker.send(packets.CAN_DO, b"probe")
        self._worker.send(packets.PRE_SLEEP)

    def foreground(self) -> None:
        """Submit a job, do it, and read the result."""
        self._client.send(packets.SUBMIT_JOB, b"probe", b"", b"question")
        self._expect(packets.JOB_CREATED)
        self._work()
        self._expect(packets.WORK_COMPLETE)

    def background(self) -> None:
        """Submit a job, until it is acknowledged."""
        self._client.send(packets.SUBMIT_JOB_BG, b"probe", b"", b"question")
        self._expect(packets.JOB_CREATED)

    def finish(self) -> None:
        """Do the job of `background`."""
        self._work()

    def _expect(self, wanted: int) -> None:
        kind, body = self._client.receive(PATIENCE)
        assert kind == wanted, (packets.name(kind), body)

    def _work(self) -> None:
        while (packet := self._worker.receive(PATIENCE))[0] != packets.JOB_ASSIGN:
            self._worker.send(packets.GRAB_JOB if packet[0] == packets.NOOP else packets.PRE_SLEEP)
        handle = packet[1].partition(b"\0")[0]
        self._worker.send(packets.WORK_COMPLETE, handle, b"answer")
        self._worker.send(packets.PRE_SLEEP)

    def rate(self, seconds: float) -> float:
        """Foreground round trips a second, one after the other."""
        began, done = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            self.foreground()
            done += 1
        return done / (time.monotonic() - began)

    def close(self) -> None:
        """Leave."""
        self._client.close()
        self._worker.close()


def timed(act: Callable[[], None]) -> float:
    """Seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


class Watch:
    """Tries both again and again in a thread of its own, until `stop`."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._stop = Event()
        self._seen = Seen([], [])
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PACE):
                self._seen.foreground.append(timed(self._probe.foreground))
                self._seen.background.append(timed(self._probe.background))
                self._probe.finish()
        except BaseException as failure:  # noqa: BLE001 - raised by `stop`
            self._failure = failure

    def stop(self) -> Seen:
        """What was seen. Raises what went wrong."""
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure
        return self._seen


def percentile(values: list[float], share: float) -> float:
    """Of a few hundred values: the one that `share` of them do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
