"""gear over TLS: `work` or `submit`, then port, authority, certificate, key."""

import sys

import gear


class Client(gear.Client):
    """Prints the result, and ends."""

    def handleWorkComplete(self, packet):  # noqa: N802 - gear's name
        """The job is done."""
        job = super().handleWorkComplete(packet)
        print(b"".join(job.data).decode(), flush=True)
        self.shutdown()


def main(role, port, authority, certificate, key):
    """One job, or all of them."""
    end = gear.Worker("tls") if role == "work" else Client()
    end.addServer("127.0.0.1", int(port), key, certificate, authority)
    end.waitForServer()
    if role == "submit":
        end.submitJob(gear.TextJob("reverse", b"hello"))
        return
    end.registerFunction("reverse")
    while True:
        job = end.getJob()
        job.sendWorkComplete(job.arguments[::-1])


main(*sys.argv[1:])
