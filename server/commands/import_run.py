"""What `gearmand-py import` does, and what people see of it."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import click

from gearmand_py.server.commands.shared import note, printable, say
from gearmand_py.server.config import Settings
from gearmand_py.server.importing.run import Item, Report, import_queue, moment, try_import
from gearmand_py.server.runner import BY_SIGNAL, FAILED, on_signal
from gearmand_py.storage.base import StorageError
from gearmand_py.storage.credentials import Password, password_from
from gearmand_py.storage.gearmand.queue import Source
from gearmand_py.storage.gearmand.sources import source_of
from gearmand_py.storage.imports import Tally
from gearmand_py.storage.urls import parse

LISTED: Final = 100  # rows that are not imported, and why
LINE_SECONDS: Final = 5.0
LONGEST_NAME: Final = 80
AGAIN: Final = "the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of the command."""

    settings: Settings
    database: str
    password_file: Path | None
    table: str | None
    dry_run: bool
    restart: bool


async def importing(wishes: Wishes) -> int:
    """Import and tell; returns the exit status. Raises StorageError."""
    began = time.monotonic()
    source = source_of(wishes.database, wishes.table, password_of(wishes))
    with Progress(AGAIN if not wishes.dry_run else "") as progress:
        async with source:
            if wishes.dry_run:
                report = await try_import(source, progress)
            else:
                report = await import_queue(wishes.settings, source, progress, restart=wishes.restart)
    return tell(source, report, time.monotonic() - began, dry_run=wishes.dry_run)


def password_of(wishes: Wishes) -> Password:
    """That of the file; for the same user of the same server as the destination's also the destination's."""
    if wishes.password_file:
        return password_from(wishes.password_file)
    settings = wishes.settings
    if same_login(wishes.database, settings.database):
        return password_from(Path(settings.database_password_file) if settings.database_password_file else None)
    return lambda: None


def same_login(one: str, other: str) -> bool:
    """Whether two URLs lead to the same user of the same server."""
    try:
        urls = [parse(one), parse(other)]
    except StorageError:  # which is told when it matters
        return False
    first, second = [(url.get_backend_name(), url.host, url.port, url.username) for url in urls]
    return first == second and not urls[0].password


class Progress:
    """What people see of an import while it goes on: a bar on a terminal, a line now and then elsewhere.

    From its beginning a signal to stop is obeyed after the page that is under way; a second one at once.
    """

    def __init__(self, when_cut_short: str) -> None:
        self._when_cut_short = when_cut_short
        self._bar: Any = None
        self._rows = 0
        self._done = 0
        self._told = time.monotonic()
        self._left_out = 0
        self._lines: list[str] = []  # while a bar is there
        self._stopped = False

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, partial(self._stop, number))
        return self

    def _stop(self, number: signal.Signals) -> None:
        if self._stopped:
            os._exit(BY_SIGNAL + number)  # the page under way is stored whole or not at all
        self._stopped = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.__exit__(kind, error, trace)
        for line in self._lines:
            note(line)
        if self._left_out > LISTED:
            note(f"... and {self._left_out - LISTED:,} rows more")
        if isinstance(error, StorageError) and self._done and self._when_cut_short:
            note(f"{self._done:,} of {self._rows:,} rows are done: {self._when_cut_short}")

    # ---- the watcher of an import

    def begin(self, rows: int) -> None:
        """Show a bar, where there is somebody to see it."""
        self._rows = rows
        if sys.stderr.isatty():
            self._bar = click.progressbar(length=rows, label="importing", show_pos=True, file=sys.stderr)
            self._bar.__enter__()

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._bar:
            self._lines.append(text)
        else:
            note(text)

    def left_out(self, item: Item) -> None:
        """The first of them are listed."""
        self._left_out += 1
        if self._left_out <= LISTED:
            function, unique = (shown(name) for name in (item.row.function, item.row.unique))
            self.note(f"row {item.number:,}, function {function}, unique key {unique}: {item.reason}")

    def advance(self, tally: Tally) -> None:
        """Move the bar, or write a line if the last one is some time ago."""
        before, self._done = self._done, tally.rows_done
        if self._bar:
            self._bar.update(self._done - before)
        elif time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            note(f"{tally.rows_done:,} of {self._rows:,} rows")

    def stopped(self) -> bool:
        """Whether a signal came."""
        return self._stopped


def shown(name: bytes | None) -> str:
    """A name in a line."""
    if not name:
        return "none"
    text = printable(name.decode(errors="backslashreplace"))
    return f"'{text}'" if len(text) <= LONGEST_NAME else f"'{text[:LONGEST_NAME]}...'"


def tell(source: Source, report: Report, seconds: float, *, dry_run: bool) -> int:
    """Print what came of it; returns the exit status."""
    if report.finished and report.before == report.record.tally and report.before.rows_done:
        return tell_earlier(source, report)
    tally = report.record.tally
    imported = "could be imported" if dry_run else "imported"
    say(f"{source.description}: {counts(tally, imported)}")
    if not report.finished:
        say(f"stopped after {tally.rows_done:,} of {report.record.source_rows:,} rows: {AGAIN}")
        return FAILED
    if dry_run:
        say("nothing was written; jobs that are in the queue already were not looked for")
        return FAILED if tally.rows_refused else 0
    say(f"done in {seconds:.1f} s; the source was left as it was: start no gearmand on it again")
    if report.rows_now != tally.rows_done:
        note(f"it has {report.rows_now:,} rows now: a gearmand uses it; stop that one, and import with --restart")
        return FAILED
    return FAILED if tally.rows_refused else 0


def tell_earlier(source: Source, report: Report) -> int:
    """Print that all was done before."""
    record = report.record
    say(
        f"{source.description}: imported completely at {moment(record.finished_at)}: {counts(record.tally, 'imported')}"
    )
    return 0


def counts(tally: Tally, imported: str) -> str:
    """The numbers of an import in a line."""
    parts = [f"{tally.rows_done:,} rows read", f"{tally.rows_imported:,} {imported}"]
    if tally.rows_present:
        parts.append(f"{tally.rows_present:,} in the queue already")
    return ", ".join([*parts, f"{tally.rows_refused:,} refused"])
