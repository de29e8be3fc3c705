"""A client made with gear that a test drives: a JSON request a line comes in, JSON events go out, one a line.

Payloads are text in which each character stands for a byte. Arguments: the server's port.
"""
# ruff: noqa: N802, T201 - handlers have gear's names; print is how the test hears

import json
import sys

import gear

PRECEDENCES = {"high": gear.PRECEDENCE_HIGH, "normal": gear.PRECEDENCE_NORMAL, "low": gear.PRECEDENCE_LOW}


def tell(event: str, handle: bytes = b"", **details: object) -> None:
    print(json.dumps({"event": event, "handle": handle.decode(), **details}), flush=True)


class Client(gear.Client):  # type: ignore[misc]
    """Tells what comes in for its jobs, in the order it comes: all in the thread that reads."""

    def handleJobCreated(self, packet: gear.Packet) -> None:
        tell("created", super().handleJobCreated(packet).handle)

    def handleWorkData(self, packet: gear.Packet) -> None:
        job = super().handleWorkData(packet)
        tell("data", job.handle, data=job.data[-1].decode("latin-1"))

    def handleWorkWarning(self, packet: gear.Packet) -> None:
        job = super().handleWorkWarning(packet)
        tell("warning", job.handle, data=job.data[-1].decode("latin-1"))

    def handleWorkStatus(self, packet: gear.Packet) -> None:
        job = super().handleWorkStatus(packet)
        tell("status", job.handle, progress=[int(job.numerator), int(job.denominator)])

    def handleWorkComplete(self, packet: gear.Packet) -> None:
        job = super().handleWorkComplete(packet)
        tell("complete", job.handle, data=b"".join(job.data).decode("latin-1"))

    def handleWorkFail(self, packet: gear.Packet) -> None:
        tell("fail", super().handleWorkFail(packet).handle)

    def handleWorkException(self, packet: gear.Packet) -> None:
        job = super().handleWorkException(packet)
        tell("exception", job.handle, data=job.exception.decode("latin-1"))

    def handleStatusRes(self, packet: gear.Packet) -> None:
        handle, known, running, numerator, denominator = packet.data.split(b"\0")
        progress = [int(numerator), int(denominator)]
        tell("known", handle, known=known == b"1", running=running == b"1", progress=progress)

    def handleDisconnect(self, job: gear.Job) -> None:
        tell("disconnected", job.handle)


def submit(
    client: Client,
    function: str,
    data: str,
    unique: str | None = None,
    precedence: str = "normal",
    background: bool = False,
) -> None:
    client.submitJob(gear.Job(function, data.encode("latin-1"), unique), background, PRECEDENCES[precedence])


def status(client: Client, handle: str) -> None:
    packet = gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, handle.encode())
    client.sendPacket(packet, client.getConnection())


def cancel(client: Client, handle: str) -> None:
    request = gear.CancelJobAdminRequest(handle)
    client.getConnection().sendAdminRequest(request)
    tell("cancelled", handle.encode(), answer=request.response.decode())


def listing(client: Client, what: str) -> None:
    request = getattr(gear, what)()
    client.getConnection().sendAdminRequest(request)
    tell("listing", text=request.response.decode())


def exceptions(client: Client) -> None:
    tell("option", taken=client.setOption("exceptions"))


def reconnect(client: Client) -> None:
    client.waitForServer(timeout=15)
    tell("connected")


REQUESTS = {request.__name__: request for request in (submit, status, cancel, listing, exceptions, reconnect)}


def main() -> None:
    client = Client("gear-client")
    client.addServer("127.0.0.1", int(sys.argv[1]))
    client.waitForServer(timeout=10)
    for line in sys.stdin:
        request = json.loads(line)
        REQUESTS[request.pop("request")](client, **request)


main()
