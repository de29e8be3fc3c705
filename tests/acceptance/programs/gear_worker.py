"""A worker made with gear for the functions that tests call. Arguments: the server's port, functions."""
# ruff: noqa: T201 - print is how the test hears

import sys

import gear


def upper(job: gear.WorkerJob) -> None:
    job.sendWorkComplete(job.arguments.upper())


def same(job: gear.WorkerJob) -> None:
    """Give the payload back as it came."""
    job.sendWorkComplete(job.arguments)


def report(job: gear.WorkerJob) -> None:
    """Send one of everything, then complete."""
    job.sendWorkStatus(1, 4)
    job.sendWorkData(b"a part")
    job.sendWorkWarning(b"careful")
    job.sendWorkComplete(b"all of " + job.arguments)


def refuse(job: gear.WorkerJob) -> None:
    job.sendWorkFail()


def blow(job: gear.WorkerJob) -> None:
    job.sendWorkException(b"it blew up")


def gate(job: gear.WorkerJob) -> None:
    """Say the handle, then run until the test gives a line to read."""
    job.sendWorkStatus(3, 4)
    print(job.handle.decode(), flush=True)
    job.sendWorkComplete(b"let through: " + sys.stdin.readline().rstrip().encode())


FUNCTIONS = {function.__name__: function for function in (upper, same, report, refuse, blow, gate)}


def main() -> None:
    worker = gear.Worker("gear-worker")
    worker.addServer("127.0.0.1", int(sys.argv[1]))
    worker.waitForServer(timeout=10)
    for name in sys.argv[2:]:
        worker.registerFunction(name)
    while True:
        job = worker.getJob()
        FUNCTIONS[job.name](job)


main()
