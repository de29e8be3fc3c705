"""Servers from programs of this machine, on private data directories and loopback ports."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from typing import Final

from sqlalchemy import URL

from tests.databases.kinds import KINDS, flags
from tests.databases.ports import HOST, free_port
from tests.databases.programs import Programs, installed, unpacked
from tests.databases.selection import Unavailable
from tests.databases.server import OwnedServer
from tests.harness.process import Process
from tests.harness.tools import need

INITIALISE_SECONDS: Final = 120
STOP_SECONDS: Final = 60.0
IS_ROOT: Final = os.geteuid() == 0


def start_local(kind: str, settings: Mapping[str, str], data: Path | None = None) -> OwnedServer:
    """A server from installed programs, else from packages."""
    reasons = []
    for find in (installed, unpacked):
        try:
            return SERVERS[kind](kind, find(kind), settings, data)
        except Unavailable as error:
            reasons.append(f"{find.__name__} programs: {error}")
    raise Unavailable("\n  ".join(reasons))


class LocalServer(OwnedServer):
    """A server that is a child of the test's process. `data` is a directory in which it makes its own."""

    # As whom it runs if the test is run by root: the first of these that there is; none of them means as root.
    accounts: tuple[str, ...] = ()

    def __init__(self, kind: str, programs: Programs, settings: Mapping[str, str], data: Path | None) -> None:
        what = KINDS[kind]
        url = URL.create(kind, what.administrator, secrets.token_hex(8), HOST, free_port(), what.database)
        super().__init__(kind, f"local {programs.server}", url)
        self.programs = programs
        self.settings = settings
        self._process: Process | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"gearmand-py-tests-{kind}-"))
        self.data = (data or self.folder) / "data"
        try:
            self._make_data()
            self.start()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _initialise(self) -> list[str]:
        """The command that makes the data directory's content."""

    @abstractmethod
    def _serve(self) -> list[str]:
        """The command of the server, without the settings."""

    def _make_data(self) -> None:
        self.data.mkdir(mode=0o700)
        command = [*self._as_account(), *self._initialise()]
        for path in (self.folder, *self.folder.iterdir(), self.data):
            self._give(path)
        done = subprocess.run(
            command,
            env=os.environ | self.programs.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=INITIALISE_SECONDS,
        )
        if done.returncode:
            raise Unavailable(f"{' '.join(command)}\nended with exit code {done.returncode}\n{done.stdout}")

    def _account(self) -> pwd.struct_passwd | None:
        for name in self.accounts if IS_ROOT else ():
            with suppress(KeyError):
                return pwd.getpwnam(name)
        return None

    def _as_account(self) -> list[str]:
        if not (account := self._account()):
            return []
        return [need("setpriv"), f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]

    def _give(self, path: Path) -> None:
        if account := self._account():
            os.chown(path, account.pw_uid, account.pw_gid)

    def _launch(self) -> None:
        if self.is_running:
            return
        command = [*self._as_account(), *self._serve(), *flags(self.kind, self.settings)]
        self._process = Process(command, environment=self.programs.environment)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def log(self) -> str:
        return self._process.stderr if self._process else ""

    def _signal(self, number: Signals) -> None:
        """To the server first: then it starts no more processes."""
        if self._process and self.is_running:
            children = children_of(self._process.pid)
            for pid in (self._process.pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        self.freeze()  # so that none is started meanwhile
        self._signal(SIGKILL)
        if self._process:
            self._process.close()

    def stop(self) -> None:
        self.thaw()
        if self._process and self.is_running:
            self._process.send_signal(KINDS[self.kind].stop_signal)
            self._process.wait(STOP_SECONDS)

    def freeze(self) -> None:
        self._signal(SIGSTOP)
        self._signal(SIGSTOP)  # those started between the look and the first signal

    def thaw(self) -> None:
        self._signal(SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def children_of(parent: int) -> list[int]:
    """The processes that a process has started. Those of PostgreSQL are in sessions of their own."""
    children = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            _, _, fields = (entry / "stat").read_text().rpartition(")")
            if int(fields.split()[1]) == parent:
                children.append(int(entry.name))
    return children


class PostgresqlServer(LocalServer):
    """It refuses to be run by root."""

    accounts = ("postgres", "nobody")

    def _initialise(self) -> list[str]:
        password = self.folder / "password"
        password.write_text(str(self.url.password))
        checked = ["--auth=scram-sha-256", f"--username={self.url.username}", f"--pwfile={password}"]
        quick = ["--no-sync", "--no-locale", "--encoding=UTF8"]
        return [*self.programs.run(self.programs.initialiser), f"--pgdata={self.data}", *checked, *quick]

    def _serve(self) -> list[str]:
        where = [f"listen_addresses={HOST}", f"port={self.url.port}", "unix_socket_directories="]
        options = [part for setting in where for part in ("-c", setting)]
        return [*self.programs.run(self.programs.server), "-D", str(self.data), *options]


class MysqlServer(LocalServer):
    """MySQL runs as root only when it is told to."""

    # The administrator shall be one user, from anywhere.
    forget_others: tuple[str, ...] = ("DROP USER root@localhost",)
    only_mysql: tuple[str, ...] = ("--secure-file-priv=NULL",)  # the directory that is built in is not there
    _has_administrator = False

    def _initialise(self) -> list[str]:
        self._write_administrator()
        return [*self._base(self.programs.initialiser), *self.only_mysql, "--initialize-insecure"]

    def _write_administrator(self) -> None:
        """What the first start runs, a line for each statement."""
        user = f"'{self.url.username}'@'%'"
        create = f"CREATE USER {user} IDENTIFIED BY '{self.url.password}'"
        statements = [*self.forget_others, create, f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION"]
        self._first_statements.write_text("".join(f"{statement};\n" for statement in statements))

    @property
    def _first_statements(self) -> Path:
        return self.folder / "first.sql"

    def _base(self, program: Path) -> list[str]:
        as_root = ["--user=root"] if IS_ROOT else []
        base = self.programs.base
        return [*self.programs.run(program), "--no-defaults", *base, f"--datadir={self.data}", *as_root]

    def _serve(self) -> list[str]:
        files = [f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}"]
        first = [] if self._has_administrator else [f"--init-file={self._first_statements}"]
        where = [f"--bind-address={HOST}", f"--port={self.url.port}"]
        return [*self._base(self.programs.server), *where, *files, *self.only_mysql, *first]

    def start(self) -> None:
        super().start()
        self._has_administrator = True


class MariadbServer(MysqlServer):
    """MariaDB initialises with a script, and with users that need no password from here."""

    forget_others = ("DELETE FROM mysql.global_priv WHERE user IN ('root', '')", "FLUSH PRIVILEGES")
    only_mysql = ()

    def _initialise(self) -> list[str]:
        self._write_administrator()
        how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        return [*self._base(self.programs.initialiser), *how]


SERVERS: Final[Mapping[str, Callable[[str, Programs, Mapping[str, str], Path | None], OwnedServer]]] = {
    "postgresql": PostgresqlServer,
    "mysql": MysqlServer,
    "mariadb": MariadbServer,
}
