"""Results as a table for people, as JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from gearmand_py.server.bench.load import Load
from gearmand_py.server.bench.results import NAMES, PERCENTILES, Result, latency_ratios, ratio, ratios

COLUMNS: Final = ("mode", "latency in ms", "server", "jobs/s", *PERCENTILES)
RATIO: Final = "ratio"
NOTHING: Final = "-"
NONE: Final[list[float | None]] = [None] * len(PERCENTILES)
BUSY: Final = 0.9


Line = tuple[str, str, str, float | None, list[float | None]]  # mode, latency, server, jobs/s, percentiles


def lines(results: Sequence[Result]) -> Iterator[Line]:
    """A line for each latency of each mode, or for a mode that has none; with two servers one each, and their ratio."""
    for mode in results[0].rounds:
        there = [result for result in results if mode in result.rounds]
        for name in results[0].rounds[mode][0].latencies or [""]:
            yield from (line(result, mode, name) for result in there)
            if len(there) == 2:
                yield ratio_line(there[0], there[1], mode, name)


def line(result: Result, mode: str, name: str) -> Line:
    """One server's."""
    values = list(result.latency(mode, name).values()) if name else NONE
    return mode, NAMES.get(name, NOTHING), result.server, result.rate(mode), values


def ratio_line(one: Result, other: Result, mode: str, name: str) -> Line:
    """The first by the other."""
    values = list(latency_ratios(one, other, mode, name).values()) if name else NONE
    return mode, NAMES.get(name, NOTHING), RATIO, ratio(one.rate(mode), other.rate(mode)), values


def as_csv(results: Sequence[Result]) -> str:
    """The lines, under the names of their columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*words, rate, *values] for *words, rate, values in lines(results))
    return text.getvalue()


def as_json(load: Load, results: Sequence[Result], processes: int, *, interrupted: bool) -> str:
    """An object: the load, the servers, their ratios."""
    found: dict[str, Any] = {
        "load": asdict(load),
        "processes": processes,
        "interrupted": interrupted,
        "servers": [result.as_dict() for result in results],
        "ratios": ratios(results[0], results[1]) if len(results) == 2 else None,
    }
    return json.dumps(found, indent=2)


def as_table(results: Sequence[Result]) -> str:
    """For people: what repeats the line above is left out, and the servers where there is but one."""
    shown = [column for column in range(len(COLUMNS)) if column != COLUMNS.index("server") or len(results) > 1]
    rows = [list(COLUMNS)]
    before: Sequence[str] = ("", "", "")
    for *words, rate, values in lines(results):
        form = RATIO_FORM if words[2] == RATIO else FORM
        same = words[0] == before[0], words[:2] == before[:2]
        first = ["" if same[0] else words[0], "" if same[1] else words[1], words[2]]
        rows.append([*first, form[0](rate), *map(form[1], values)])
        before = words
    return aligned([[row[column] for column in shown] for row in rows], text_columns=len(shown) - len(PERCENTILES) - 1)


Form = Callable[[float | None], str]


def number(form: str) -> Form:
    """How a number is shown; nothing is a dash."""
    return lambda value: NOTHING if value is None else form.format(value)


FORM: Final = (number("{:,.0f}"), number("{:,.3f}"))
RATIO_FORM: Final = (number("{:.2f}"), number("{:.2f}"))


def aligned(rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    """Text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def heading(load: Load, results: Sequence[Result], processes: int) -> str:
    """What was done, in a few lines."""
    servers = " and ".join(f"{result.server} (version {result.version})" for result in results)
    amount = counted(load.jobs or 0, "job") if load.seconds is None else f"{load.seconds:g} s of jobs"
    least, most = load.payload
    sizes = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    rate = f", {load.rate:,.0f} jobs/s" if load.rate else ""
    workers = counted(load.workers, "worker") + (f", {load.functions:,} functions" if load.functions > 1 else "")
    return (
        f"{servers}\n{amount} of {sizes} bytes a mode, "
        f"{counted(load.clients, 'client')} with {load.in_flight:,} in flight{rate}, {workers}; "
        f"from {counted(processes, 'process', 'es')}"
    )


def counted(count: int, word: str, plural: str = "s") -> str:
    """1 worker, 2 workers"""
    return f"{count:,} {word}{'' if count == 1 else plural}"


def verdict(result: Result) -> str:
    """What became of a server's jobs, and whether that is as it should be."""
    counts = result.counts
    words = [
        f"{result.server}: {counts.acknowledged:,} jobs acknowledged",
        f"{counts.run:,} run",
        f"{counts.lost:,} lost",
        f"{counts.doubled:,} doubled",
    ]
    words += [f"{counts.foreign:,} of others handed out"] if counts.foreign else []
    words += [f"{counts.failed:,} failed"] if counts.failed else []
    words += [f"{counts.unanswered:,} neither acknowledged nor refused"] if counts.unanswered else []
    for name, said in (("refused", counts.refused), ("unexpected packets", counts.unexpected)):
        words += [f"{count:,} {name}: {word}" for word, count in said.items()]
    return ", ".join(words)


def caution(results: Sequence[Result]) -> str:
    """That the benchmark itself may have been what was slow; empty if not."""
    busiest = max(result.busiest() for result in results)
    if busiest < BUSY:
        return ""
    return (
        f"a process of the benchmark had no rest {busiest:.0%} of the time: the server may be faster than this; "
        "give --processes more, if there are processors for them"
    )
