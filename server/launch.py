"""From settings to a process that serves: what takes root or a terminal comes first, then both are let go."""

import logging
import pwd
from collections.abc import Callable, Sequence
from socket import socket

from gearmand_py.server.app import serve
from gearmand_py.server.config import Settings
from gearmand_py.server.database import make_directory
from gearmand_py.server.listeners import addresses_of, listening_sockets
from gearmand_py.server.logs import log_files, logs_elsewhere, set_up_logging
from gearmand_py.server.process import allow_files, become, detach, find_user, hand_over, pid_file, places
from gearmand_py.server.runner import StartError, run
from gearmand_py.server.tls import Tls, tls_of
from gearmand_py.storage.base import StorageError

log = logging.getLogger(__name__)


def launch(settings: Settings, notes: Sequence[str]) -> None:
    """Serve until told to stop; `notes` are logged as warnings first. Raises StartError or StorageError."""
    user = find_user(settings.user)
    tls = tls_of(settings)  # a key that only root can read
    allow_files(settings.file_descriptors)
    places(settings.max_connections)
    with listening_sockets(settings) as listening:  # before the jobs are read: a taken port should not cost a minute
        made = make_directory(settings)
        is_up = detach() if settings.daemon else lambda: None
        set_up_logging(settings)
        try:
            with pid_file(settings.pid_file, follow=user is None):
                if user is not None:
                    give_up_root(user, [*made, *(path for path in addresses_of(listening) if path.startswith("/"))])
                serve_after(notes, settings, listening, is_up, tls)
        except (StartError, StorageError) as error:
            if logs_elsewhere():  # else the last line on standard error says it
                log.critical("%s", error)
            raise


def serve_after(
    notes: Sequence[str], settings: Settings, listening: list[socket], is_up: Callable[[], None], tls: Tls | None
) -> None:
    """Log the notes, and serve. Raises StorageError."""
    for note in (*notes, *(tls.notes if tls else ())):
        log.warning("%s", note)
    run(serve(settings, listening, is_up, tls))


def give_up_root(user: pwd.struct_passwd, made: Sequence[str]) -> None:
    """Become the user, with what root has made for it. The pid file stays root's: scripts of root's act on it.

    Raises StartError.
    """
    try:
        for path in made:
            hand_over(path, user)
        for file in log_files():
            file.hand_over(user.pw_uid, user.pw_gid)
        become(user)
    except PermissionError:  # root in a container is not always allowed what root is
        raise StartError(
            f"cannot become --user {user.pw_name}: it takes the capabilities SETUID, SETGID and CHOWN"
        ) from None
