"""What a service manager is told: ready, status, stopping, and that the loop still turns. See sd_notify(3)."""

import asyncio
import os
import socket
from contextlib import suppress


class Manager:
    """Whoever has set NOTIFY_SOCKET; otherwise nobody listens and nothing is said."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")  # not for programs that we may start
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        self._period = watchdog_seconds() / 2  # twice as often as asked

    def tell(self, *lines: str) -> None:
        """`READY=1` and the like. A manager that has gone is not missed."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)

    def keep_alive(self) -> None:
        """Tell it now and then, from the loop, that the loop turns."""
        if self._period:
            self.tell("WATCHDOG=1")
            asyncio.get_running_loop().call_later(self._period, self.keep_alive)


def watchdog_seconds() -> float:
    """How long this process may be silent; 0 for ever."""
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    for_us = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1_000_000 if for_us and microseconds.isdigit() else 0.0
