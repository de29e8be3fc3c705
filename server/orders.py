"""What the server is told while it runs, by signals and by the text command: stop, finish, open files anew."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from gearmand_py.server.logs import logs_elsewhere, reopen_log
from gearmand_py.server.runner import on_signal

log = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Orders:
    """`stop`: commit, say goodbye, end. `finish`: take no more connections, end when connected workers have no more."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.finish = asyncio.Event()
        self.reread: list[Callable[[], None]] = [reopen_log]  # what SIGHUP has done anew

    def obey_signals(self) -> None:
        """From now on. Needs a running loop."""
        for number in STOP_SIGNALS:
            on_signal(number, self._stop_or_die)
        on_signal(signal.SIGUSR1, self.finish.set)
        # In a terminal it says that the terminal is gone.
        in_terminal = not logs_elsewhere() and sys.stderr.isatty()
        on_signal(signal.SIGHUP, self._stop_or_die if in_terminal else self._reread)

    def _reread(self) -> None:
        for again in self.reread:
            again()

    def _stop_or_die(self) -> None:
        """A second signal does not wait for a storage that hangs."""
        if self.stop.is_set():
            log.error("stopping at once, what is not committed was not acknowledged")
            os._exit(1)
        self.stop.set()

    def shut_down(self, graceful: bool) -> None:
        """The text command."""
        (self.finish if graceful else self.stop).set()
