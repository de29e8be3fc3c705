"""A server that follows a script, and the command line against it, in this process."""

import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import click
from click.testing import CliRunner, Result

from gearmand_py.server import packets
from gearmand_py.server.client import Address
from gearmand_py.server.codec import Connection
from gearmand_py.server.commands import COMMANDS

HOST: Final = "127.0.0.1"
SERVER: Final = Address(HOST, 4730)
HANDLE: Final = b"H:here:1"

# What a server sends back, in turn, for each packet type or text line. After CLOSE it hangs up.
Script = Mapping[int | bytes, list[bytes]]
CLOSE: Final = b""


class ScriptedServer:
    """Serves one connection after another in a thread; `requests` holds what arrived."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[tuple[int, bytes]] = []
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._is_closing = True
        socket.create_connection((HOST, self.port)).close()  # wakes the thread from accept
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                if self._is_closing:
                    return
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        codec = Connection(packets.REQUEST)
        while data := connection.recv(65536):
            for kind, body in codec.feed(data):
                self.requests.append((kind, body))
                answers = self._script.get(body if kind == packets.TEXT else kind)
                answer = answers.pop(0) if answers else None
                if answer == CLOSE:
                    return
                connection.sendall(answer or b"")

    def bodies(self, kind: int) -> list[bytes]:
        """The bodies of the requests of a type."""
        return [body for came, body in self.requests if came == kind]


def gearmand_py(*words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> Result:
    """Run the command line in this process."""

    @click.group("gearmand-py")
    @click.option("-L", "--listen", multiple=True, default=(HOST,))
    @click.option("-p", "--port", type=int, default=4730, envvar="GEARMAND_PORT")
    def group(listen: tuple[str, ...], port: int) -> None:
        """Take the options of the real group."""

    for command in COMMANDS:
        group.add_command(command)
    clean = {"GEARMAN_SERVERS": None, "GEARMAND_PORT": None}
    return CliRunner().invoke(group, words, input=stdin, env={**clean, **(environment or {})})


def against(script: Script, *words: str, stdin: bytes = b"") -> tuple[Result, ScriptedServer]:
    """Run the command line against a scripted server."""
    with ScriptedServer(script) as server:
        return gearmand_py("-p", str(server.port), *words, stdin=stdin), server
