"""gear over TLS: `work` or `submit`, then port, authority, certificate, key."""
# ruff: noqa: N802, T201 - handlers have gear's names; print is how the test hears

import sys
from threading import Event

import gear

done = Event()


class Client(gear.Client):  # type: ignore[misc]
    """Prints the result."""

    def handleWorkComplete(self, packet: gear.Packet) -> None:
        print("".join(super().handleWorkComplete(packet).data), flush=True)
        done.set()


def main(role: str, port: str, authority: str, certificate: str, key: str) -> None:
    """One job, or all of them."""
    end = gear.Worker("tls") if role == "work" else Client()
    end.addServer("127.0.0.1", int(port), key, certificate, authority)
    end.waitForServer()
    if role == "submit":
        end.submitJob(gear.TextJob("reverse", b"hello"))
        done.wait()
        return
    end.registerFunction("reverse")
    while True:
        job = end.getJob()
        job.sendWorkComplete(job.arguments[::-1])


main(*sys.argv[1:])
