"""A client made with gear. Arguments: the server's port."""
# ruff: noqa: N802 - handlers have gear's names

import sys

import gear

from tests.acceptance.programs.driver import payload, result, serve, tell, text

PRECEDENCES = {"high": gear.PRECEDENCE_HIGH, "normal": gear.PRECEDENCE_NORMAL, "low": gear.PRECEDENCE_LOW}


class Client(gear.Client):  # type: ignore[misc]
    """Tells what comes in for its jobs, in the order it comes: all in the thread that reads."""

    def handleJobCreated(self, packet: gear.Packet) -> None:
        tell("created", super().handleJobCreated(packet).handle.decode())

    def handleWorkData(self, packet: gear.Packet) -> None:
        job = super().handleWorkData(packet)
        tell("data", job.handle.decode(), **result(job.data[-1]))

    def handleWorkWarning(self, packet: gear.Packet) -> None:
        job = super().handleWorkWarning(packet)
        tell("warning", job.handle.decode(), data=text(job.data[-1]))
        job.data.pop()  # gear counts warnings among the data

    def handleWorkStatus(self, packet: gear.Packet) -> None:
        job = super().handleWorkStatus(packet)
        tell("status", job.handle.decode(), progress=[int(job.numerator), int(job.denominator)])

    def handleWorkComplete(self, packet: gear.Packet) -> None:
        job = super().handleWorkComplete(packet)
        tell("complete", job.handle.decode(), **result(b"".join(job.data)))

    def handleWorkFail(self, packet: gear.Packet) -> None:
        tell("fail", super().handleWorkFail(packet).handle.decode())

    def handleWorkException(self, packet: gear.Packet) -> None:
        job = super().handleWorkException(packet)
        tell("exception", job.handle.decode(), data=text(job.exception))

    def handleStatusRes(self, packet: gear.Packet) -> None:
        handle, known, running, numerator, denominator = packet.data.split(b"\0")
        progress = [int(numerator), int(denominator)]
        tell("known", handle.decode(), known=known == b"1", running=running == b"1", progress=progress)

    def handleDisconnect(self, job: gear.Job) -> None:
        tell("disconnected", job.handle.decode())


client = Client("gear-client")


def submit(
    function: str,
    data: str,
    times: int = 1,
    unique: str | None = None,
    priority: str = "normal",
    background: bool = False,
) -> None:
    client.submitJob(gear.Job(function, payload(data, times), unique), background, PRECEDENCES[priority])


def status(handle: str) -> None:
    packet = gear.Packet(gear.constants.REQ, gear.constants.GET_STATUS, handle.encode())
    client.sendPacket(packet, client.getConnection())


def cancel(handle: str) -> None:
    request = gear.CancelJobAdminRequest(handle)
    client.getConnection().sendAdminRequest(request)
    tell("cancelled", handle, answer=request.response.decode())


def listing(what: str) -> None:
    request = getattr(gear, what)()
    client.getConnection().sendAdminRequest(request)
    tell("listing", text=request.response.decode())


def exceptions() -> None:
    tell("option", taken=client.setOption("exceptions"))


def reconnect() -> None:
    client.waitForServer(timeout=15)
    tell("connected")


client.addServer("127.0.0.1", int(sys.argv[1]))
client.waitForServer(timeout=15)
serve(submit, status, cancel, listing, exceptions, reconnect)
