"""A proxy before PostgreSQL that gives each transaction whatever session is free."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from tests.databases.kinds import in_postgresql
from tests.databases.ports import HOST, free_port
from tests.harness.process import Process
from tests.harness.tools import need

ACCOUNT: Final = "nobody"  # root is refused
SESSIONS: Final = 6  # the guard of a storage takes one with it when it goes
STARTED: Final = rb"process up"

# With several sessions in turn no two transactions in a row get the same one.
CONFIGURATION: Final = """
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 8
server_round_robin = 1
"""


@contextmanager
def pgbouncer(server: URL) -> Iterator[URL]:
    """The same database through a proxy of the test's own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gearmand-py-tests-pgbouncer-") as name:
        settings = Path(name) / "pgbouncer.ini"
        users = Path(name) / "users.txt"
        settings.write_text(CONFIGURATION.format(server=server, host=HOST, port=port, users=users))
        users.write_text(f'"{server.username}" "{server.password}"\n')
        with Process([*not_as_root(Path(name)), need("pgbouncer"), str(settings)]) as process:
            process.expect_error(STARTED)
            proxied = server.set(host=HOST, port=port)
            warm_up(proxied)
            yield proxied


def warm_up(proxied: URL) -> None:
    """Have the proxy make some sessions: as long as it has but one that is free, all get that one."""
    with ThreadPoolExecutor(SESSIONS) as threads:
        list(threads.map(lambda _: in_postgresql(proxied, "SELECT pg_sleep(0.05)"), range(SESSIONS)))


def not_as_root(folder: Path) -> list[str]:
    """The beginning of a command that runs without root's rights, and can read what is in the folder."""
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(ACCOUNT)
    os.chown(folder, account.pw_uid, account.pw_gid)
    return [need("setpriv"), f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]
