"""How each fault is made and healed."""

import errno
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

from tests.faults.campaign.ground import Ground
from tests.faults.campaign.plan import DEADLY, Fault, Step
from tests.faults.campaign.shim import Action, Calls
from tests.faults.campaign.traffic import Traffic
from tests.faults.outages import COMMIT, Place, wait_until
from tests.faults.proxy import Proxy

HOUR: Final = 3600
DELAY: Final = 0.01
MANY: Final = 1000  # calls: as long as it holds

# What is armed at the shim: calls, action, error, how many in a row (0: as many as the step says).
DISK_FAULTS: Final = {
    Fault.DISK_FULL: (Calls.WRITES, Action.FAIL, errno.ENOSPC, MANY),
    Fault.WRITE_ERROR: (Calls.WRITES, Action.FAIL, errno.EIO, 0),
    Fault.READ_ONLY: (Calls.WRITES, Action.FAIL, errno.EROFS, MANY),
    Fault.SHORT_WRITE: (Calls.WRITES, Action.HALF, errno.ENOSPC, 2),
    Fault.SYNC_ERROR: (Calls.SYNCS, Action.FAIL, errno.EIO, 0),
    Fault.SYNCED_AND_ERROR: (Calls.SYNCS, Action.DO_AND_FAIL, errno.EIO, 0),
    Fault.SLOW_SYNC: (Calls.SYNCS, Action.HANG, 0, 0),
    Fault.KILLED_AT_WRITE: (Calls.WRITES, Action.KILL, 0, 1),
    Fault.KILLED_AT_SYNC: (Calls.SYNCS, Action.KILL, 0, 1),
}


class Injector:
    """Makes the faults of a round. `counts` are those that took effect, `events` what was done and when."""

    def __init__(self, ground: Ground, traffic: Traffic, counts: Counter[str], events: list[str]) -> None:
        self._ground = ground
        self._traffic = traffic
        self._counts = counts
        self._events = events
        self._began = monotonic()
        self._limits = (0, 0)
        self._sprung = Event()
        self._struck: set[Fault] = set()
        self.killed = False  # the server, in this round

    def run(self, step: Step) -> None:
        """Make the faults, let them last, heal them; a server that was killed is started last."""
        done: list[Fault] = []
        try:
            for fault in step.faults:
                self.note(f"begins: {fault}")
                self._begin(fault, step)
                done.append(fault)
            self._traffic.wait_for(lambda: not self._ground.server.is_running, step.hold)
        finally:
            self._heal_disk(done)
            for fault in done:
                self._end(fault)
                self._count(fault)
            if any(fault in DEADLY and self._took_effect(fault) for fault in done):
                self._restart()

    def note(self, text: str) -> None:
        """Something happened."""
        self._events.append(f"{monotonic() - self._began:8.3f} {self._traffic.acknowledged:6} {text}")

    def _count(self, fault: Fault) -> None:
        struck = self._took_effect(fault)
        self._counts[fault if struck else "came to nothing"] += 1
        self.note(f"is over: {fault}" + ("" if struck else " (came to nothing)"))

    def _took_effect(self, fault: Fault) -> bool:
        return fault not in self._struck_late or fault in self._struck

    _struck_late: Final = frozenset({*DISK_FAULTS, Fault.COMMIT_LOST, Fault.COMMIT_UNKNOWN, Fault.COMMIT_SILENT})

    # ---- begin

    def _begin(self, fault: Fault, step: Step) -> None:
        self._struck.discard(fault)  # it may have come before in this round
        if fault in DISK_FAULTS:
            self._fail_disk(fault, step)
        elif fault in self._simple:
            self._simple[fault](self, step)
        else:
            assert self._ground.place
            self._break_database(fault, self._ground.place)

    def _fail_disk(self, fault: Fault, step: Step) -> None:
        calls, action, error, count = DISK_FAULTS[fault]
        skip = 0 if count == MANY else step.number
        hang = int(1000 * step.hold)
        self._ground.shim.arm(
            calls, action, skip=skip, count=count or step.number, error=error, milliseconds=hang // step.number
        )

    def _kill_server(self, _step: Step) -> None:
        self._ground.server.kill()

    def _restart_server(self, _step: Step) -> None:
        if not self._ground.server.is_running:  # killed by the same step
            return
        os.kill(self._ground.server.pid, signal.SIGCONT)  # it may be stopped
        code = self._ground.server.stop()
        assert code == 0 or self._ground.shim.struck, f"the server ended with exit code {code} after SIGTERM"

    def _stop_server(self, _step: Step) -> None:
        if self._ground.server.is_running:
            os.kill(self._ground.server.pid, signal.SIGSTOP)

    def _take_descriptors(self, _step: Step) -> None:
        pid = self._ground.server.pid
        if not self._ground.server.is_running:
            return
        self._limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, self._limits[1]))
        self._ground.proxy.cut()  # so that there is somebody who wants to connect

    def _set_clock(self, step: Step, sign: int) -> None:
        self._ground.shim.shift_clock(sign * step.number * HOUR)

    def _set_delay(self, _step: Step) -> None:
        self._ground.proxy.delay = DELAY

    _simple: Final[dict[Fault, Callable[["Injector", Step], None]]] = {
        Fault.SERVER_KILLED: _kill_server,
        Fault.SERVER_RESTARTED: _restart_server,
        Fault.SERVER_STOPPED: _stop_server,
        Fault.DESCRIPTORS: _take_descriptors,
        Fault.CLOCK_FORWARD: lambda self, step: self._set_clock(step, 1),
        Fault.CLOCK_BACK: lambda self, step: self._set_clock(step, -1),
        Fault.RESET: lambda self, _step: self._ground.proxy.cut(),
        Fault.CLOSED: lambda self, _step: self._ground.proxy.cut(reset=False),
        Fault.HALF_OPEN: lambda self, _step: self._ground.proxy.swallow(),
        Fault.MUTE: lambda self, _step: self._ground.proxy.mute(),
        Fault.DELAYED: _set_delay,
        Fault.WORKERS_KILLED: lambda self, _step: self._traffic.kill_workers(),
    }

    def _break_database(self, fault: Fault, place: Place) -> None:
        proxy = place.proxy
        commit = COMMIT[place.kind]
        match fault:
            case Fault.DATABASE_KILLED:
                place.server.kill()
            case Fault.DATABASE_FROZEN:
                place.server.freeze()
            case Fault.DATABASE_RESET:
                proxy.cut()
            case Fault.DATABASE_UNREACHABLE:
                proxy.refuse()
                proxy.cut()
            case Fault.DATABASE_SILENT:
                proxy.swallow()
            case Fault.DATABASE_MUTE:
                proxy.mute()
            case Fault.DATABASE_DELAYED:
                proxy.delay = DELAY
            case Fault.COMMIT_SILENT:
                self._sprung = proxy.mute_at(commit)
            case _:
                self._sprung = proxy.cut_at(commit, forward=fault is Fault.COMMIT_UNKNOWN)

    # ---- end

    def _end(self, fault: Fault) -> None:
        if fault is Fault.SERVER_STOPPED and self._ground.server.is_running:
            os.kill(self._ground.server.pid, signal.SIGCONT)
        elif fault is Fault.DESCRIPTORS and self._ground.server.is_running:
            resource.prlimit(self._ground.server.pid, resource.RLIMIT_NOFILE, self._limits)
        elif fault in (Fault.CLOCK_FORWARD, Fault.CLOCK_BACK):
            self._ground.shim.shift_clock(0)
        elif fault in (Fault.HALF_OPEN, Fault.MUTE, Fault.DELAYED):
            mend(self._ground.proxy)
        elif self._ground.place:
            self._mend_database(fault, self._ground.place)

    def _heal_disk(self, faults: Sequence[Fault]) -> None:
        """First of all: a server that is started must not be killed at its first write."""
        if self._ground.shim.disarm():
            self._struck.update(fault for fault in faults if fault in DISK_FAULTS)

    def _mend_database(self, fault: Fault, place: Place) -> None:
        if fault is Fault.DATABASE_KILLED:
            place.server.start()
        elif fault is Fault.DATABASE_FROZEN:
            place.server.thaw()
        elif fault is Fault.DATABASE_UNREACHABLE:
            place.proxy.listen()
        elif fault in (Fault.COMMIT_LOST, Fault.COMMIT_UNKNOWN, Fault.COMMIT_SILENT):
            if self._sprung.is_set():
                self._struck.add(fault)
            place.proxy.remove_trap()
        if fault in (Fault.DATABASE_SILENT, Fault.DATABASE_MUTE, Fault.DATABASE_DELAYED, Fault.COMMIT_SILENT):
            mend(place.proxy)

    def _restart(self) -> None:
        """After a kill, by us or by the shim."""
        server = self._ground.server
        wait_until(lambda: not server.is_running, lambda: "the server outlived its SIGKILL")
        self._traffic.lose_server()
        server.restart()
        self.killed = True
        self.note("the server is there again")


def mend(proxy: Proxy) -> None:
    """Connections that have lost anything are dead for good."""
    is_dead = not proxy.delay
    proxy.delay = 0.0
    proxy.pass_on()
    if is_dead:
        proxy.cut()
