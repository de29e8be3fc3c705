"""A worker made with gear. Arguments: the server's port, functions; see libraries.py."""
# ruff: noqa: T201 - print is how the test hears

import sys

import gear


def upper(job: gear.WorkerJob) -> None:
    job.sendWorkComplete(job.arguments.upper())


def same(job: gear.WorkerJob) -> None:
    job.sendWorkComplete(job.arguments)


def show(job: gear.WorkerJob) -> None:
    print(job.arguments.hex(), flush=True)
    job.sendWorkComplete(b"shown")


def report(job: gear.WorkerJob) -> None:
    job.sendWorkStatus(1, 4)
    job.sendWorkData(b"a part")
    job.sendWorkWarning(b"careful")
    job.sendWorkComplete(b"all of " + job.arguments)


def refuse(job: gear.WorkerJob) -> None:
    job.sendWorkFail()


def blow(job: gear.WorkerJob) -> None:
    job.sendWorkException(b"it blew up")


def gate(job: gear.WorkerJob) -> None:
    job.sendWorkStatus(3, 4)
    print(job.handle.decode(), flush=True)
    job.sendWorkComplete(b"let through: " + sys.stdin.readline().rstrip().encode())


FUNCTIONS = {function.__name__: function for function in (upper, same, show, report, refuse, blow, gate)}

worker = gear.Worker("gear-worker")
worker.addServer("127.0.0.1", int(sys.argv[1]))
worker.waitForServer(timeout=15)
for argument in sys.argv[2:]:
    name, _, timeout = argument.partition(":")
    worker.registerFunction(name, timeout.encode())  # a number is what its documentation asks for, and fails
while True:
    job = worker.getJob()
    FUNCTIONS[job.name.partition("@")[0]](job)
