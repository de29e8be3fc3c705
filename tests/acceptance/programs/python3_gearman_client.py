"""A client made with python3-gearman. Arguments: the server's port.

It has no callbacks: what a worker sends is read from the request once the job has ended. Payloads are ASCII text.
"""

import sys

from python3_gearman import JOB_COMPLETE, PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NONE, GearmanClient
from python3_gearman.errors import ServerUnavailable
from python3_gearman.job import GearmanJobRequest

from tests.acceptance.programs.driver import payload, result, serve, tell

PRIORITIES = {"high": PRIORITY_HIGH, "normal": PRIORITY_NONE, "low": PRIORITY_LOW}

client = GearmanClient([("127.0.0.1", int(sys.argv[1]))])
requests: dict[str, GearmanJobRequest] = {}


def submit(
    function: str,
    data: str,
    times: int = 1,
    unique: str | None = None,
    priority: str = "normal",
    background: bool = False,
    timeout: float | None = None,
) -> None:
    request = client.submit_job(
        function,
        payload(data, times).decode(),
        unique,
        PRIORITIES[priority],
        background,
        wait_until_complete=False,
    )
    handle = request.job.handle
    requests[handle] = request
    tell("created", handle)
    if not background:
        wait(request, timeout)


def wait(request: GearmanJobRequest, timeout: float | None) -> None:
    handle = request.job.handle
    try:
        client.wait_until_jobs_completed([request], poll_timeout=timeout)
    except ServerUnavailable:
        tell("disconnected", handle)
        return
    if request.status:
        tell("status", handle, progress=[request.status["numerator"], request.status["denominator"]])
    for data in request.data_updates:
        tell("data", handle, data=data)
    for warning in request.warning_updates:
        tell("warning", handle, data=warning)
    if request.timed_out:
        tell("timeout", handle)
    elif request.state == JOB_COMPLETE:
        tell("complete", handle, **result("".join([*request.data_updates, request.result]).encode()))
    else:
        tell("fail", handle)


def status(handle: str) -> None:
    found = client.get_job_status(requests[handle]).status
    progress = [found["numerator"], found["denominator"]]
    tell("known", handle, known=found["known"], running=found["running"], progress=progress)


def reconnect() -> None:
    for connection in client.connection_list:
        client.establish_connection(connection)
    tell("connected")


serve(submit, status, reconnect)
