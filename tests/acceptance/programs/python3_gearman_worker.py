"""A worker made with python3-gearman. Arguments: the server's port, functions; see libraries.py."""
# ruff: noqa: T201 - print is how the test hears

import sys
import time
from types import TracebackType

from python3_gearman import GearmanWorker
from python3_gearman.errors import ServerUnavailable
from python3_gearman.job import GearmanJob

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType]


class Worker(GearmanWorker):  # type: ignore[misc]
    """Sends the text of one kind of exceptions, as its users do; what else is raised fails the job."""

    def on_job_exception(self, current_job: GearmanJob, exc_info: ExceptionInfo) -> bool:
        if isinstance(exc_info[1], ArithmeticError):
            self.send_job_exception(current_job, str(exc_info[1]))
            return False
        failed: bool = super().on_job_exception(current_job, exc_info)
        return failed


def upper(_worker: Worker, job: GearmanJob) -> str:
    text: str = job.data
    return text.upper()


def same(_worker: Worker, job: GearmanJob) -> str:
    text: str = job.data
    return text


def show(_worker: Worker, job: GearmanJob) -> str:
    print(job.data.encode().hex(), flush=True)
    return "shown"


def report(worker: Worker, job: GearmanJob) -> str:
    worker.send_job_status(job, 1, 4)
    worker.send_job_data(job, "a part")
    worker.send_job_warning(job, "careful")
    return f"all of {job.data}"


def refuse(_worker: Worker, _job: GearmanJob) -> str:
    raise ValueError


def blow(_worker: Worker, _job: GearmanJob) -> str:
    raise ArithmeticError("it blew up")


def gate(worker: Worker, job: GearmanJob) -> str:
    worker.send_job_status(job, 3, 4)
    print(job.handle, flush=True)
    return f"let through: {sys.stdin.readline().rstrip()}"


FUNCTIONS = {function.__name__: function for function in (upper, same, show, report, refuse, blow, gate)}

worker = Worker([("127.0.0.1", int(sys.argv[1]))])
for name in sys.argv[2:]:
    worker.register_task(name, FUNCTIONS[name.partition("@")[0]])
while True:
    try:
        worker.work()
    except ServerUnavailable:
        time.sleep(0.1)  # it does not connect again by itself
