"""From settings to a process that serves: what takes root or a terminal comes first, then both are let go."""

import logging
import pwd

from gearmand_py.server.app import serve
from gearmand_py.server.config import NO_LOG, STDERR, Settings
from gearmand_py.server.database import make_directory
from gearmand_py.server.listeners import addresses_of, listening_sockets
from gearmand_py.server.logs import logs_elsewhere, set_up_logging
from gearmand_py.server.process import allow_files, become, detach, find_user, hand_over, pid_file
from gearmand_py.server.runner import StartError, run
from gearmand_py.storage.base import StorageError

log = logging.getLogger(__name__)


def launch(settings: Settings, notes: list[str]) -> None:
    """Serve until told to stop; `notes` are logged as warnings first. Raises StartError or StorageError."""
    user = find_user(settings.user)
    allow_files(settings.file_descriptors)
    with listening_sockets(settings) as listening:  # before the jobs are read: a taken port should not cost a minute
        made = make_directory(settings)
        is_up = detach() if settings.daemon else lambda: None
        set_up_logging(settings)
        with pid_file(settings.pid_file):
            if user is not None:
                sockets = [address for address in addresses_of(listening) if address.startswith("/")]
                give_up_root(settings, user, [*made, *sockets])
            for note in notes:
                log.warning("%s", note)
            try:
                run(serve(settings, listening, is_up))
            except (StartError, StorageError) as error:
                if logs_elsewhere():  # else the last line on standard error says it
                    log.critical("%s", error)
                raise


def give_up_root(settings: Settings, user: pwd.struct_passwd, made: list[str]) -> None:
    """Become the user, with what root has made for it."""
    logged_to = [settings.log_file] if settings.log_file not in (STDERR, NO_LOG) else []
    for path in (*made, *logged_to, settings.pid_file):
        hand_over(path, user)
    become(user)
