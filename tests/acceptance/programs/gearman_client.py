"""The command line tool `gearman` as a client: each submission is a run of it. Arguments: the server's port."""

import re
import subprocess
import sys

from tests.acceptance.programs.driver import payload, result, serve, tell

PRIORITIES = {"high": ["-I"], "normal": [], "low": ["-L"]}
PROGRESS = re.compile(rb"(?:\d+% Complete\n)+\Z")
TOOL = ("gearman", "-h", "127.0.0.1", "-p", sys.argv[1])


def submit(
    function: str,
    data: str,
    times: int = 1,
    unique: str | None = None,
    priority: str = "normal",
    background: bool = False,
    timeout: float | None = None,
) -> None:
    options = [*PRIORITIES[priority], "-f", function]
    options += ["-u", unique] if unique else []
    options += ["-t", str(int(timeout * 1000))] if timeout else []
    given = payload(data, times)
    if background:
        done = subprocess.run([*TOOL, "-v", "-b", *options], input=given, capture_output=True, check=True)
        tell("created", done.stdout.decode().removeprefix("Task created: ").strip())
    else:
        done = subprocess.run([*TOOL, *options], input=given, capture_output=True, check=False)
        end(done.stdout, done.stderr.decode("latin-1"))


def end(printed: bytes, said: str) -> None:
    """Tell what became of a job."""
    progress = PROGRESS.search(printed, max(0, len(printed) - 1000))
    if progress:  # it comes behind the result, however early it was known
        printed = printed[: progress.start()]
        for done in progress[0].split(b"% Complete\n")[:-1]:
            tell("status", progress=[int(done), 100])
    if "GEARMAN_TIMEOUT" in said:
        tell("timeout")
    elif "CONNECT" in said:  # GEARMAN_LOST_CONNECTION, GEARMAN_COULD_NOT_CONNECT
        tell("disconnected")
    elif said.endswith("Job failed\n"):
        tell("fail")
    else:
        if said:
            tell("warning", data=said)
        tell("complete", "", **result(printed))


def reconnect() -> None:
    """Each run connects anew."""
    tell("connected")


serve(submit, reconnect)
