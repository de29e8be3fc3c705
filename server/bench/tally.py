"""What one process has seen in one phase; it goes to the parent, which merges those of all."""

from collections import Counter

from gearmand_py.server.bench.histogram import Histogram


class Marks:
    """A set of job numbers, a byte each."""

    __slots__ = ("_marks", "count")

    def __init__(self) -> None:
        self._marks = bytearray(1024)
        self.count = 0

    def add(self, number: int) -> bool:
        """Whether it was not there before."""
        marks = self._marks
        if number >= len(marks):
            marks.extend(bytes(number))
        if marks[number]:
            return False
        marks[number] = 1
        self.count += 1
        return True

    def as_int(self) -> int:
        """For the arithmetic of sets: bit 8n is number n."""
        return int.from_bytes(self._marks, "little")


class Tally:
    """Counts of jobs, and latencies in nanoseconds from when a job was due."""

    def __init__(self, *, foreground: bool) -> None:
        self._foreground = foreground
        self.submitted = 0
        self.acked = Marks()
        self.ran = Marks()  # by a worker
        self.answered = Marks()  # the result of a foreground job came back
        self.doubled = 0  # handed out, or answered, a second time
        self.foreign = 0  # jobs that are not of this run
        self.failed = 0  # foreground jobs that ended without a result
        self.refused: Counter[str] = Counter()  # by the code of the ERROR
        self.unexpected: Counter[str] = Counter()  # packets, by name
        self.moved = 0  # bytes sent and received
        self.ack = Histogram()
        self.start = Histogram()
        self.round_trip = Histogram()
        self.last_ack = 0  # when, in nanoseconds
        self.last_end = 0  # of a job
        self.busy = 0.0  # part of the time that the process was not waiting for the server
        self.failure: Exception | None = None  # that ended it early

    @property
    def answers(self) -> int:
        """Submissions that were acknowledged or refused."""
        return self.acked.count + self.refused.total()

    @property
    def settled(self) -> int:
        """Submissions that are over for their client: answered, where it waits for a result, else acknowledged."""
        if self._foreground:
            return self.answered.count + self.failed + self.refused.total()
        return self.answers
