"""A queue in a database server whose network, process and settings are the test's to break."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final

import asyncpg
import pymysql
from sqlalchemy import URL

from tests.databases.kinds import Rows
from tests.databases.ports import HOST
from tests.databases.server import DatabaseServer, OwnedServer
from tests.faults.proxy import Proxy, Target
from tests.harness.process import Process
from tests.harness.server import COMMAND

# The promise is 5 seconds until a database that is back is used again. The rest is this machine's.
RECOVERY: Final = 5.0
SLACK: Final = 5.0
LOOK_SECONDS: Final = 0.02  # a table tells nobody that it has changed
PATIENCE: Final = 60.0

PRIVILEGES: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW"


class Place:
    """A database of its own, and a user who owns it and is nobody else's; the way there leads through a proxy."""

    def __init__(self, server: DatabaseServer, proxy: Proxy, like: "Place | None" = None) -> None:
        self._server = server
        self.proxy = proxy
        self.user: str = like.user if like else f"gearmand_{secrets.token_hex(4)}"
        self.password: str = like.password if like else f"secret-{secrets.token_hex(8)}"
        self._direct = server.url.set(database=like.database if like else f"queue_{secrets.token_hex(4)}")
        self.create_user()
        self.create_database()

    @property
    def server(self) -> OwnedServer:
        """The database server, which is the test's own."""
        assert isinstance(self._server, OwnedServer)
        return self._server

    @property
    def kind(self) -> str:
        return self._server.kind

    @property
    def is_postgresql(self) -> bool:
        return self.kind == "postgresql"

    @property
    def database(self) -> str:
        assert self._direct.database
        return self._direct.database

    @property
    def account(self) -> str:
        """The user in the words of GRANT and ALTER."""
        return self.user if self.is_postgresql else f"'{self.user}'@'%'"

    @property
    def url(self) -> URL:
        """For the server: as that user, through the proxy."""
        return self.direct_url.set(host=HOST, port=self.proxy.port)

    @property
    def direct_url(self) -> URL:
        """The same past the proxy."""
        return self._direct.set(username=self.user, password=self.password)

    # ---- administration

    def create_user(self) -> None:
        create = "CREATE ROLE {} LOGIN PASSWORD '{}'" if self.is_postgresql else "CREATE USER {} IDENTIFIED BY '{}'"
        self._server.execute(create.format(self.account, self.password))

    def set_password(self, password: str) -> None:
        change = "ALTER ROLE {} PASSWORD '{}'" if self.is_postgresql else "ALTER USER {} IDENTIFIED BY '{}'"
        self._server.execute(change.format(self.account, password))
        self.password = password

    def create_database(self) -> None:
        if self.is_postgresql:
            self._server.execute(f"CREATE DATABASE {self.database} OWNER {self.user}")
        else:
            self._server.execute(f"CREATE DATABASE {self.database}")
            self._server.execute(f"GRANT {PRIVILEGES} ON {self.database}.* TO {self.account}")

    def drop_database(self) -> None:
        self._server.drop_database(self._direct)

    def execute(self, statement: str) -> Rows:
        """Run a statement in the database, as the administrator and past the proxy."""
        return self._server.execute(statement, self.database)

    def end_sessions(self) -> None:
        """End all sessions of the user."""
        if self.is_postgresql:
            self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{self.user}'")
            return
        for (session,) in self.sessions():
            try:
                self.execute(f"KILL {session}")
            except pymysql.err.OperationalError as error:
                if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:  # it ended by itself
                    raise

    def sessions(self) -> Rows:
        """The numbers of the user's sessions."""
        if self.is_postgresql:
            return self.execute(f"SELECT pid FROM pg_stat_activity WHERE usename = '{self.user}'")
        return self.execute(f"SELECT id FROM information_schema.processlist WHERE user = '{self.user}'")

    # ---- the table

    def rows(self, node: int = 0) -> list[bytes]:
        """The payloads in a node's table, oldest first; a doubled one would be there twice."""
        return [data for (data,) in self.execute(f"SELECT data FROM gearman_job WHERE node = {node} ORDER BY id")]

    def expect_rows(self, expected: list[bytes], node: int = 0) -> None:
        """Wait until these are in the table, and nothing else."""
        wait_until(lambda: self.rows(node) == expected, lambda: f"{self.rows(node)} are in the table, not {expected}")

    def migrate(self) -> None:
        """Make the tables."""
        url = self.direct_url.render_as_string(hide_password=False)
        with Process([str(COMMAND), "migrate", "--database", url]) as command:
            command.result()

    def close(self) -> None:
        """Bring everything into order, and take it away."""
        if isinstance(self._server, OwnedServer):
            self._server.thaw()
            self._server.start()  # if it does not run
        self.drop_database()
        self._server.execute(f"DROP {'ROLE' if self.is_postgresql else 'USER'} {self.account}")


@contextmanager
def place_on(server: DatabaseServer, like: Place | None = None) -> Iterator[Place]:
    """A place that is gone with the context; its names may be those of another one, on another server."""
    with Proxy(target_of(server)) as proxy:
        place = Place(server, proxy, like)
        try:
            yield place
        finally:
            proxy.cut()
            place.close()


def target_of(server: DatabaseServer) -> Target:
    """Where it listens."""
    assert server.url.host
    assert server.url.port
    return Target(server.url.host, server.url.port)


def wait_until(condition: Callable[[], bool], explain: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Look until it holds."""
    until = monotonic() + seconds
    while not condition():
        assert monotonic() < until, explain()
        sleep(LOOK_SECONDS)


class Session:
    """An administrator's session with the database, which stays open from statement to statement."""

    def __init__(self, place: Place) -> None:
        self._runner = asyncio.Runner()
        self._connection: Any = None
        url = place.server.url.set(database=place.database)
        if place.is_postgresql:
            dsn = url.render_as_string(hide_password=False)
            self._connection = self._runner.run(asyncpg.connect(dsn))
        else:
            options: dict[str, Any] = url.translate_connect_args(username="user")
            self._connection = pymysql.connect(**options, autocommit=True)
        self._is_postgresql = place.is_postgresql

    def execute(self, statement: str) -> None:
        if self._is_postgresql:
            self._runner.run(self._connection.execute(statement))
            return
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    def close(self) -> None:
        if self._is_postgresql:
            self._runner.run(self._connection.close())
        else:
            self._connection.close()
        self._runner.close()


@contextmanager
def session_on(place: Place) -> Iterator[Session]:
    """See Session."""
    session = Session(place)
    try:
        yield session
    finally:
        session.close()


# ---- outages: each holds while its context does, and gives a pattern for the reason that clients are told


LOST: Final = r"connection refused|connection was lost|Lost connection|is the database|no answer"


@contextmanager
def killed(place: Place) -> Iterator[str]:
    """kill -9 to the database."""
    place.server.kill()
    yield LOST
    place.server.start()


@contextmanager
def stopped(place: Place) -> Iterator[str]:
    """An orderly stop."""
    place.server.stop()
    yield LOST
    place.server.start()


@contextmanager
def frozen(place: Place) -> Iterator[str]:
    """It stands still, its connections stay."""
    place.server.freeze()
    yield "no answer"
    place.server.thaw()


@contextmanager
def unreachable(place: Place) -> Iterator[str]:
    """Connections are reset, and new ones refused."""
    place.proxy.refuse()
    place.proxy.cut()
    yield LOST
    place.proxy.listen()


@contextmanager
def swallowed(place: Place) -> Iterator[str]:
    """The network carries nothing, and nobody is told; the connections of that time never come back to life."""
    place.proxy.swallow()
    yield "no answer"
    place.proxy.pass_on()


@contextmanager
def locked(place: Place) -> Iterator[str]:
    """Another session holds the table."""
    with session_on(place) as session:
        if place.is_postgresql:
            session.execute("BEGIN; LOCK TABLE gearman_job IN EXCLUSIVE MODE")
        else:
            session.execute("LOCK TABLES gearman_job WRITE")
        yield "another session holds a lock on the table"


# What is sent to the database and commits a batch: PostgreSQL's end of a COPY does so by itself.
COMMIT: Final = {"postgresql": rb"COMMIT|c\0\0\0\x04", "mysql": rb"COMMIT", "mariadb": rb"COMMIT"}
