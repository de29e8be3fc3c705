"""Where the log goes, how its lines look, and its file opened anew when the old one was moved away."""

import logging
import sys
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
    """A file that can be opened anew under its name."""

    def reopen(self) -> None:
        """For logrotate. Where that fails the old file is written on."""
        try:
            stream = Path(self.baseFilename).open("a", encoding="utf-8")  # noqa: SIM115 - the handler closes it
        except OSError as error:
            log.error("cannot open %s anew: %s; logging goes on in the old file", self.baseFilename, error.strerror)  # noqa: TRY400 - the reason is said
            return
        old = self.setStream(stream)
        if old is not None:
            old.close()


class SystemLog(SysLogHandler):
    """The system's log, which has names for all of gearmand's levels."""

    priority_map: ClassVar = dict(SysLogHandler.priority_map) | {"NOTICE": "notice", "ALERT": "alert", "FATAL": "emerg"}
    ident = "gearmand-py: "


def set_up_logging(settings: Settings) -> None:
    """Log as the settings say. Raises StartError for a file or system log that cannot be had."""
    handlers: list[logging.Handler] = []
    if settings.log_file not in (STDERR, NO_LOG):
        handlers.append(log_file(settings.log_file))
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


def log_file(path: str) -> LogFile:
    """Open it for appending. Raises StartError."""
    try:
        return LogFile(path, encoding="utf-8")
    except OSError as error:
        raise StartError(f"cannot log to {path}: {error.strerror}; give --log-file another place") from None


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
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.reopen()
    log.info("log opened anew")


def logs_elsewhere() -> bool:
    """Does the log go to no terminal and no supervisor that holds our standard error?"""
    return not any(type(handler) is logging.StreamHandler for handler in logging.getLogger().handlers)
