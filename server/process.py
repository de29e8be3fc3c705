"""What the server is to its operating system: open files it may have, pid file, user, and life in the background."""

import errno
import fcntl
import os
import pwd
import resource
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from gearmand_py.server.runner import FAILED, StartError

IS_UP: Final = b"+"
# Open files that connections leave: the database with its readers, the log, the sockets that listen.
FILES_KEPT: Final = 64


def allow_files(wanted: int) -> int:
    """Raise the number of files the process may have open to `wanted`; 0 is all it may ask for. Returns what holds.

    Raises StartError when more are wanted than the system allows.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted or hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, max(target, hard)))
    except (ValueError, OSError):
        raise StartError(
            f"--file-descriptors {wanted}: the system allows {hard}; raise it with ulimit -n, "
            "LimitNOFILE= of the systemd unit, or --ulimit nofile of the container"
        ) from None
    return target


def places(wanted: int) -> int:
    """How many connections there may be: `wanted`, or for 0 what the open files allow; 0 is without limit.

    Some files are kept for the database, the log and the like. Raises StartError when more are wanted than can be.
    """
    allowed, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return wanted
    most = allowed - min(FILES_KEPT, allowed // 2)
    if wanted > most:
        raise StartError(
            f"--max-connections {wanted}: the process may have {allowed} open files, which is enough for {most} "
            "connections; lower it, or raise --file-descriptors"
        )
    return wanted or most


@contextmanager
def pid_file(path: str, *, follow: bool) -> Iterator[None]:
    """Our number in a file while we live, locked so that no other server takes it. Raises StartError.

    Root does not `follow` a link: the directory may be that of the user it is about to become.
    """
    if not path:
        yield
        return
    file = locked(path, 0 if follow else os.O_NOFOLLOW)
    os.truncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        with suppress(OSError):  # the user we became may not, in a directory of root's; the next start takes it over
            Path(path).unlink()
        os.close(file)


def locked(path: str, flag: int) -> int:
    """The pid file, open, for us alone. Raises StartError."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flag, 0o644)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot write --pid-file {path}: {reason}") from None
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # it is emptied now, and removed in the end
        os.close(file)
        raise StartError(f"cannot write --pid-file {path}: it is not a file of its own; leave the option out for none")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(file, 20).decode(errors="replace").strip()
        os.close(file)
        raise StartError(
            f"--pid-file {path} is that of process {other}, which is running: stop it, or give this server another"
        ) from None
    if os.fstat(file).st_nlink:
        return file
    os.close(file)  # its server has just removed it
    return locked(path, flag)


# ---- user


def find_user(name: str) -> pwd.struct_passwd | None:
    """The user to become; None when we are that already, or nobody is asked for. Raises StartError."""
    if not name:
        return None
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise StartError(f"--user {name}: there is no such user on this system") from None
    if os.geteuid() not in (0, user.pw_uid):
        raise StartError(f"--user {name}: only root can become another user; start as root, or leave --user out")
    return user if os.geteuid() == 0 and user.pw_uid != 0 else None


def hand_over(path: str, user: pwd.struct_passwd) -> None:
    """Give what we have made to the user we are about to become; a link in its place is not followed."""
    with suppress(FileNotFoundError):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def become(user: pwd.struct_passwd) -> None:
    """Give up root, for good. Raises StartError when the user may not read the program: it is loaded piece by piece."""
    program = [path for path in sys.path if Path(path).is_dir()]
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    for path in program:
        if not os.access(path, os.R_OK | os.X_OK):
            raise StartError(
                f"--user {user.pw_name}: that user cannot read {path}; install gearmand-py where everybody can, "
                "such as an environment in /opt"
            )


# ---- background


def detach() -> Callable[[], None]:
    """Go on in a process without a terminal. Its caller is told once it is up, by what is returned.

    The process that was started waits for that: its exit status says whether there is a server, and what kept it from
    starting has been printed on its standard error.
    """
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        wait_for(child, reading)
    os.setsid()
    if os.fork():  # who leads a session could acquire a terminal
        os._exit(0)
    os.close(reading)

    def is_up() -> None:
        let_go_of_terminal()
        os.write(writing, IS_UP)
        os.close(writing)

    return is_up


def wait_for(child: int, reading: int) -> NoReturn:
    """Wait until the server is up or gone, and end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.waitpid(child, 0)
    os._exit(0 if os.read(reading, 1) == IS_UP else FAILED)


def let_go_of_terminal() -> None:
    """Standard input, output and error become /dev/null."""
    sys.stdout.flush()
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
