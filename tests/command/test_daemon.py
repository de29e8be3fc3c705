"""The server in the background: what its starter is told, its pid file, its user, its files."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gearmand_py.server.client import Client
from tests.command.running import CANNOT_START, STOPPED, GearmandPy
from tests.databases.ports import free_port
from tests.harness.process import DEADLINE
from tests.harness.server import HOST

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the option does")


class Place:
    """A directory and a port for a server in the background."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.pid_file = directory / "g.pid"
        self.log = directory / "g.log"
        self.database = directory / "state" / "queue.db"
        self.database.parent.mkdir()

    @property
    def words(self) -> list[str]:
        """Debian's own line for gearmand, and a place to store."""
        words = [f"--pid-file={self.pid_file}", "--listen=localhost", "--daemon", f"--log-file={self.log}"]
        return [*words, f"--port={self.port}", f"--database=sqlite:///{self.database}"]

    @property
    def pid(self) -> int:
        """The server's."""
        return int(self.pid_file.read_text())

    def status(self) -> dict[str, str]:
        """What the system says of the server."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        end(self.pid, signal.SIGTERM)


def end(pid: int, number: signal.Signals) -> None:
    """Signal a process that is not our child, and wait for its end; it is held first, for it may be gone at once."""
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, number)
    assert select.select([process], [], [], DEADLINE)[0], f"{pid} does not end"
    os.close(process)


@pytest.fixture
def place() -> Iterator[Place]:
    """A place that every user can reach, for a server that ends with the test."""
    with TemporaryDirectory(prefix="gearmand-py-test-") as directory:
        Path(directory).chmod(0o755)
        place = Place(Path(directory))
        yield place
        with suppress(OSError, ValueError):
            end(place.pid, signal.SIGKILL)


def test_debians_line(gearmand_py: GearmandPy, place: Place) -> None:
    ended = gearmand_py.run(*place.words)
    assert ended == (STOPPED, b"", "")
    # The starter came back, so it serves.
    with Client.connect(HOST, place.port) as client:
        assert client.text("getpid") == [f"OK {place.pid}".encode()]
    assert f"listening on {HOST}:{place.port}" in place.log.read_text()
    place.stop()
    assert "stopped, 0 jobs left" in place.log.read_text()
    assert not place.pid_file.exists()


def test_it_has_let_go_of_its_terminal(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.run(*place.words)
    files = Path(f"/proc/{place.pid}/fd")
    assert [str((files / str(number)).readlink()) for number in range(3)] == [os.devnull] * 3
    session, terminal = Path(f"/proc/{place.pid}/stat").read_text().rpartition(")")[2].split()[3:5]
    assert (int(session) != os.getsid(0), terminal) == (True, "0")


def test_a_path_that_is_relative_is_so_to_where_it_was_started(gearmand_py: GearmandPy, place: Place) -> None:
    words = ["--daemon", "--pid-file=g.pid", "--log-file=g.log", "--database=sqlite:///state/queue.db"]
    command = gearmand_py.start(*words, f"--port={place.port}", prefix=["env", "-C", str(place.directory)])
    assert command.wait() == STOPPED
    assert place.pid_file.exists()
    assert place.log.exists()
    assert place.database.exists()


def test_what_keeps_it_from_starting_is_told_to_the_starter(gearmand_py: GearmandPy, place: Place) -> None:
    place.database.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    ended = gearmand_py.run(*place.words)
    assert ended.status == CANNOT_START
    assert ended.stderr.startswith("gearmand-py: ")
    assert str(place.database) in ended.stderr
    assert "CRITICAL" in place.log.read_text(), "and to the log"
    assert not place.pid_file.exists()


def test_a_second_one_does_not_touch_the_first(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.run(*place.words)
    pid = place.pid
    ended = gearmand_py.run(*place.words)
    assert ended.status == CANNOT_START
    assert "Address already in use" in ended.stderr
    assert place.pid == pid


def test_a_pid_file_is_its_servers(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.run(*place.words)
    pid = place.pid
    words = [word for word in place.words if not word.startswith("--port")]
    ended = gearmand_py.run(*words, "--port=0")
    assert ended.status == CANNOT_START
    assert f"--pid-file {place.pid_file} is that of process {pid}, which is running" in ended.stderr
    assert place.pid == pid


def test_a_pid_file_that_a_killed_server_left_is_taken_over(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.run(*place.words)
    pid = place.pid
    end(pid, signal.SIGKILL)
    assert gearmand_py.run(*place.words).status == STOPPED
    assert place.pid != pid


@as_root
@pytest.mark.parametrize("name", ["pid_file", "log"])
def test_root_does_not_follow_a_link_of_the_users(gearmand_py: GearmandPy, place: Place, name: str) -> None:
    precious = place.directory / "precious"
    precious.write_text("x")
    getattr(place, name).symlink_to(precious)
    ended = gearmand_py.run(*place.words, "--user=nobody")
    assert ended.status == CANNOT_START
    assert "it is a link" in ended.stderr
    assert (precious.read_text(), precious.stat().st_uid) == ("x", 0)


def test_a_link_of_ones_own_is_followed(gearmand_py: GearmandPy, place: Place) -> None:
    place.log.symlink_to(place.directory / "elsewhere.log")
    assert gearmand_py.run(*place.words).status == STOPPED
    assert "listening" in (place.directory / "elsewhere.log").read_text()


def test_debians_way_to_stop_it(gearmand_py: GearmandPy, place: Place) -> None:
    """Its script for gearmand has --exec, which sees the interpreter; docs/coming-from-gearmand.md says to name it."""
    gearmand_py.run(*place.words)
    pid = place.pid
    stop = ["start-stop-daemon", "--stop", "--pidfile", str(place.pid_file), "--name", "gearmand-py", "--retry", "60"]
    assert subprocess.run(stop, check=False).returncode == 0
    assert not Path(f"/proc/{pid}").exists()
    assert not place.pid_file.exists()


def test_a_pid_file_that_cannot_be_written(gearmand_py: GearmandPy, place: Place) -> None:
    place.pid_file.mkdir()
    ended = gearmand_py.run(*place.words)
    assert ended.status == CANNOT_START
    assert f"cannot write --pid-file {place.pid_file}: Is a directory" in ended.stderr


def test_a_pid_file_that_is_no_file_of_its_own(gearmand_py: GearmandPy, place: Place) -> None:
    """It would be emptied, and removed in the end: a device, or another name of a file that is dear to somebody."""
    precious = place.directory / "precious"
    precious.write_text("x")
    place.pid_file.hardlink_to(precious)
    for path in (place.pid_file, Path(os.devnull)):
        ended = gearmand_py.run(*place.words, f"--pid-file={path}")
        assert ended.status == CANNOT_START
        assert f"cannot write --pid-file {path}: it is not a file of its own" in ended.stderr
        assert path.exists()
    assert precious.read_text() == "x"


def test_a_pid_file_in_the_foreground(gearmand_py: GearmandPy, place: Place) -> None:
    words = [word for word in place.words if word != "--daemon" and not word.startswith("--log-file")]
    server = gearmand_py.start(*words)
    server.expect_error(rb"listening on")
    assert place.pid == server.pid
    server.send_signal(signal.SIGTERM)
    assert server.wait() == STOPPED
    assert not place.pid_file.exists()


# ---- user


# That it becomes one is shown in tests/containers: the interpreter of the tests may be root's own.


@as_root
def test_a_user_who_cannot_read_the_program(gearmand_py: GearmandPy, place: Place) -> None:
    private = place.directory / "private"
    private.mkdir(mode=0o700)
    ended = gearmand_py.run(*place.words, "--user=nobody", environment={"PYTHONPATH": str(private)})
    assert ended.status == CANNOT_START
    assert "--user nobody: that user cannot read /" in ended.stderr


@pytest.mark.parametrize(
    ("user", "message"), [("nosuchuser", "--user nosuchuser: there is no such user on this system")]
)
def test_a_user_who_cannot_be(gearmand_py: GearmandPy, place: Place, user: str, message: str) -> None:
    ended = gearmand_py.run(*place.words, f"--user={user}")
    assert ended.status == CANNOT_START
    assert message in ended.stderr


@as_root
def test_only_root_can_become_another(gearmand_py: GearmandPy, place: Place) -> None:
    checked = gearmand_py.start(*place.words, "--user=root", prefix=["setpriv", "--reuid=65534", "--clear-groups"])
    assert checked.wait() == CANNOT_START
    assert "--user root: only root can become another user" in checked.stderr


# ---- files


def open_files(pid: int) -> int:
    """How many files a process may have open."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return int(limits.partition("Max open files")[2].split()[0])


def test_it_may_open_as_many_files_as_it_is_told(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.run(*place.words, "-f", "200")
    assert open_files(place.pid) == 200


def test_by_default_it_may_open_as_many_files_as_it_is_allowed(gearmand_py: GearmandPy, place: Place) -> None:
    gearmand_py.start(*place.words, prefix=["prlimit", "--nofile=300:1000"]).wait()
    assert open_files(place.pid) == 1000


def test_more_files_than_allowed(gearmand_py: GearmandPy, place: Place) -> None:
    ended = gearmand_py.run(*place.words, "--file-descriptors=2000000000")
    assert ended.status == CANNOT_START
    assert "--file-descriptors 2000000000: the system allows " in ended.stderr
