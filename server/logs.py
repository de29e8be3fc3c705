"""Where the log goes, how its lines look, and its file opened anew when the old one was moved away."""

import errno
import logging
import os
import stat
import sys
from io import TextIOWrapper
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import ClassVar, Final

from gearmand_py.server.config import NO_LOG, STDERR, Settings
from gearmand_py.server.runner import StartError

SYSLOG: Final = "/dev/log"

log = logging.getLogger(__name__)

# gearmand's names of levels that logging does not have.
logging.addLevelName(25, "NOTICE")
logging.addLevelName(logging.CRITICAL + 5, "ALERT")
logging.addLevelName(logging.CRITICAL + 10, "FATAL")


class LogFile(logging.FileHandler):
    """A file that can be opened anew under its name.

    Root does not `follow` a link: the directory may be that of the user it is about to become.
    """

    def __init__(self, path: str, *, follow: bool) -> None:
        self._flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        return os.fdopen(os.open(self.baseFilename, self._flags, 0o644), "a", encoding="utf-8")

    def reopen(self) -> None:
        """For logrotate. Where that fails the old file is written on."""
        try:
            stream = self._open()
        except OSError as error:
            log.error("cannot open %s anew: %s; logging goes on in the old file", self.baseFilename, error.strerror)  # noqa: TRY400 - the reason is said
            return
        old = self.setStream(stream)
        if old is not None:
            old.close()
        log.info("log opened anew")

    def hand_over(self, uid: int, gid: int) -> None:
        """Give the file to a user, if it is one of ours alone: no device, no second name of another file."""
        assert self.stream
        file = self.stream.fileno()
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(file, uid, gid)


class SystemLog(SysLogHandler):
    """The system's log, which has names for all of gearmand's levels."""

    priority_map: ClassVar = dict(SysLogHandler.priority_map) | {"NOTICE": "notice", "ALERT": "alert", "FATAL": "emerg"}
    ident = "gearmand-py: "


def set_up_logging(settings: Settings) -> None:
    """Log as the settings say. Raises StartError for a file or system log that cannot be had."""
    handlers: list[logging.Handler] = []
    if settings.log_file not in (STDERR, NO_LOG):
        handlers.append(log_file(settings.log_file, follow=not settings.user))
    elif settings.log_file == STDERR:
        handlers.append(logging.StreamHandler(sys.stderr))
    if settings.syslog:
        handlers.append(system_log())
    for handler in handlers:
        handler.setFormatter(formatter(settings.log_format, isinstance(handler, SystemLog)))
    logging.basicConfig(level=logging.getLevelName(settings.verbose), handlers=handlers or [logging.NullHandler()])
    logging.raiseExceptions = False  # a log that fails, on a full disk say, is no reason for tracebacks
    for library in ("aiosqlite", "aiomysql", "alembic", "asyncio"):  # at DEBUG they tell statements, payloads and all
        logging.getLogger(library).setLevel(logging.WARNING)


def log_file(path: str, *, follow: bool) -> LogFile:
    """Open it for appending. Raises StartError."""
    try:
        return LogFile(path, follow=follow)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot log to {path}: {reason}; give --log-file another place") from None


def system_log() -> SystemLog:
    """Connect to it. Raises StartError where there is none; one that is restarted is found again."""
    if not Path(SYSLOG).exists():
        raise StartError(f"cannot log to {SYSLOG}: there is no such socket; leave --syslog out where no log runs")
    return SystemLog(SYSLOG, facility=SysLogHandler.LOG_DAEMON)


def formatter(style: str, timed_elsewhere: bool) -> logging.Formatter:
    """Lines for people, or JSON with the time in UTC."""
    if style == "json":
        from pythonjsonlogger.json import JsonFormatter

        return JsonFormatter("%(levelname)s%(message)s", rename_fields={"levelname": "level"}, timestamp="time")
    when = "" if timed_elsewhere else "%(asctime)s "
    return logging.Formatter(f"{when}%(levelname)s %(message)s")


def reopen_log() -> None:
    """Open the log's file anew, if it is one."""
    for handler in log_files():
        handler.reopen()


def log_files() -> list[LogFile]:
    """The files that are logged to: one or none."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogFile)]


def logs_elsewhere() -> bool:
    """Does the log go to no terminal and no supervisor that holds our standard error?"""
    return not any(type(handler) is logging.StreamHandler for handler in logging.getLogger().handlers)
