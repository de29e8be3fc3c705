"""`gearmand-py bench`: how fast a server is. How it is measured is in `server/bench/`."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from gearmand_py.server.client import Address, parse_address
from gearmand_py.server.commands.shared import ClientCommand, Failed, note, say, server_option
from gearmand_py.server.config import DATABASE_NAMES, Settings, database_options, settings_of_command, without_password
from gearmand_py.server.options import Size
from gearmand_py.server.process import allow_files
from gearmand_py.server.runner import StartError

if TYPE_CHECKING:
    from gearmand_py.server.bench.load import Load
    from gearmand_py.server.bench.run import Benchmark, Plan
    from gearmand_py.server.bench.watch import Interrupts

MODES: Final = ("submit", "work", "both", "foreground")
DEFAULT_JOBS: Final = 50_000
STAMP_SIZE: Final = 24  # bytes that each payload begins with
OTHER_FILES: Final = 64  # that a process has open beside its connections


# ---- words of the command line


class Payload(click.ParamType[tuple[int, int]]):
    """A size, or two with a dash between them."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """`100` is 100-100."""
        if isinstance(value, tuple):
            return value
        sizes = [Size().convert(word, param, ctx) for word in str(value).split("-", 1)]
        least, most = sizes[0], sizes[-1]
        if least < STAMP_SIZE:
            self.fail(f"a payload has at least {STAMP_SIZE} bytes: its number, and when it was due", param, ctx)
        if most < least:
            self.fail(f"{value!r} goes from more to less", param, ctx)
        return least, most


class Shares(click.ParamType[tuple[int, int, int]]):
    """Shares of high, normal and low priority."""

    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """`1:8:1`"""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6}):(\d{1,6}):(\d{1,6})", str(value))
        if not match or not any(map(int, match.groups())):
            self.fail(f"{value!r} are no shares of high, normal and low: write 1:8:1", param, ctx)
        return int(match[1]), int(match[2]), int(match[3])


def other_server(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Address | None:
    """The value of --compare."""
    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from error


def picture_file(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """The value of --plot, which is worth nothing at the end of a long run."""
    if value is None:
        return None
    from gearmand_py.server.bench.plot import FORMATS, NoMatplotlib, check

    if value.suffix.lower() not in FORMATS:
        raise click.BadParameter(f"{value}: its name must end with {' or '.join(FORMATS)}", ctx, parameter)
    if not os.access(value.absolute().parent, os.W_OK):
        raise click.BadParameter(f"{value}: its directory is not there, or not writable", ctx, parameter)
    try:
        check()
    except NoMatplotlib as error:
        raise click.UsageError(str(error), ctx) from error
    return value


COUNT: Final = click.IntRange(min=1)
SECONDS: Final = click.FloatRange(min=0, min_open=True)

OPTIONS: Final[list[click.Parameter]] = [
    click.Argument(["modes"], metavar="[MODE]...", type=click.Choice(MODES), nargs=-1),
    click.Option(["-n", "--jobs"], type=COUNT, metavar="N", help=f"Jobs of each mode.  [default: {DEFAULT_JOBS}]"),
    click.Option(["--seconds"], type=SECONDS, metavar="N", help="Submit for so long, instead of a number of jobs."),
    click.Option(["-c", "--clients"], type=COUNT, default=8, show_default=True, metavar="N", help="Clients."),
    click.Option(["-W", "--workers"], type=COUNT, default=8, show_default=True, metavar="N", help="Workers."),
    click.Option(
        ["-i", "--in-flight"],
        type=COUNT,
        default=16,
        show_default=True,
        metavar="N",
        help="Jobs that each client has under way: not acknowledged, in the foreground not answered.",
    ),
    click.Option(
        ["--payload"],
        type=Payload(),
        default="100",
        show_default=True,
        metavar="SIZE[-SIZE]",
        help="Bytes of each job, or the least and the most of a range.",
    ),
    click.Option(
        ["--priorities"],
        type=Shares(),
        default="0:1:0",
        show_default=True,
        metavar="H:N:L",
        help="Shares of jobs with high, normal and low priority.",
    ),
    click.Option(
        ["--unique"],
        type=click.Choice(["none", "random"]),
        default="random",
        show_default=True,
        help="Unique keys; most client libraries make random ones up.",
    ),
    click.Option(
        ["--functions"], type=COUNT, default=1, show_default=True, metavar="N", help="Functions, in turn for each job."
    ),
    click.Option(
        ["--functions-per-worker"],
        type=COUNT,
        metavar="N",
        help="How many of them each worker offers, one worker going on where the one before it ends.  [default: all]",
    ),
    click.Option(
        ["--rate"],
        type=SECONDS,
        metavar="N",
        help="Jobs a second that fall due, whether or not earlier ones are answered. Latencies count from then.  "
        "[default: the next one when one is answered]",
    ),
    click.Option(
        ["--warm-up"],
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        metavar="SECONDS",
        help="A load before the first mode that is not measured.",
    ),
    click.Option(
        ["--rounds"],
        type=COUNT,
        default=1,
        show_default=True,
        metavar="N",
        help="Repeat all modes; the figures are medians.",
    ),
    click.Option(
        ["--compare"],
        metavar="HOST[:PORT]",
        callback=other_server,
        help="Another Gearman server, which gets the same load in turn with the first.",
    ),
    click.Option(
        ["--processes"],
        type=COUNT,
        metavar="N",
        help="Processes that the load comes from.  [default: one for two processors]",
    ),
    click.Option(["--json", "style"], flag_value="json", help="Print JSON, for programs."),
    click.Option(["--csv", "style"], flag_value="csv", help="Print CSV, for spreadsheets."),
    click.Option(
        ["--plot"],
        type=click.Path(path_type=Path, dir_okay=False),
        callback=picture_file,
        metavar="FILE",
        help="Draw the latencies into a .svg or .png file. It takes matplotlib: pip install 'gearmand-py[plot]'.",
    ),
    click.Option(
        ["--start"],
        is_flag=True,
        help="Start a server for it, with the options before the command, and stop it in the end. Without --database "
        "its jobs are in a throw-away SQLite file.",
    ),
    click.Option(["--despite-jobs"], is_flag=True, help="With --start: although the --database has jobs in it."),
]


# ---- the command


@click.command(cls=ClientCommand, params=[*OPTIONS, *database_options()])
@server_option
@click.pass_context
def bench(ctx: click.Context, /, style: str | None, plot: Path | None, **given: Any) -> None:
    """Measure how fast a server is: jobs a second, latencies, and that no job is lost or doubled.

    A MODE is one of: "submit", background jobs while nobody works; "work", these jobs to workers; "both", at the same
    time; "foreground", jobs whose clients wait for the results. Without any, all four run, one after the other.

    \b
    gearmand-py bench
    gearmand-py bench --start both --seconds 10
    gearmand-py bench foreground --clients 1 --workers 1 --in-flight 1
    gearmand-py bench --rate 5000 both --plot latencies.svg
    gearmand-py bench --compare 127.0.0.1:4731 --rounds 5

    It uses functions of its own, with a random part in their names, and takes its jobs out of the queue again. Ctrl-C
    ends the measuring and prints what there is; a second one leaves the jobs where they are. The status is 1 as well
    when a job was lost, doubled or refused.
    """  # noqa: D301 (the backspace character is click's mark for lines to leave alone)
    from gearmand_py.server.bench.run import Benchmark
    from gearmand_py.server.bench.watch import Interrupts

    with Interrupts() as interrupts, measured_server(ctx, given) as server:
        plan = plan_of(given, server)
        benchmark = Benchmark(plan, interrupts)
        benchmark.run()
    tell(benchmark, plan, style, plot, interrupted=interrupts.count > 0)
    end(benchmark, interrupts)


def plan_of(given: dict[str, Any], server: Address) -> "Plan":
    """What the options ask for. Raises click.UsageError for what no single option can tell."""
    from gearmand_py.server.bench.run import Plan

    load = load_of(given)
    compare = given["compare"]
    if compare and compare[:2] == server[:2]:
        raise click.UsageError(f"--compare {compare} is the server itself")
    processes = min(given["processes"] or max((os.cpu_count() or 2) // 2, 1), load.clients + load.workers)
    allow_connections(load, processes)
    servers = (server, compare) if compare else (server,)
    return Plan(servers, given["modes"] or MODES, load, given["rounds"], given["warm_up"], processes)


def load_of(given: dict[str, Any]) -> "Load":
    """The load of each mode. Raises click.UsageError."""
    from gearmand_py.server.bench.load import Load

    if given["jobs"] and given["seconds"]:
        raise click.UsageError("--jobs and --seconds exclude each other")
    functions, workers = given["functions"], given["workers"]
    each = min(given["functions_per_worker"] or functions, functions)
    if each * workers < functions:
        raise click.UsageError(f"{workers} workers with {each} functions each leave some of {functions} without any")
    jobs = None if given["seconds"] else given["jobs"] or DEFAULT_JOBS
    same = {name: given[name] for name in ("seconds", "clients", "in_flight", "payload", "priorities", "rate")}
    unique = given["unique"] == "random"
    return Load(jobs=jobs, workers=workers, unique=unique, functions=functions, functions_per_worker=each, **same)


def allow_connections(load: "Load", processes: int) -> None:
    """Raise the limit of open files as far as it goes. Raises click.UsageError when that does not do."""
    allowed = allow_files(0)
    if load.clients + load.workers > (allowed - OTHER_FILES) * processes:
        raise click.UsageError(
            f"{load.clients} clients and {load.workers} workers are more connections than the system's limit of "
            f"{allowed} open files allows: raise it with ulimit -n, or give more --processes"
        )


# ---- which server


@contextmanager
def measured_server(ctx: click.Context, given: dict[str, Any]) -> Iterator[Address]:
    """The server of --server, or the one that is started, from when it serves until it has stopped."""
    if not given["start"]:
        wrong = [name for name in (*DATABASE_NAMES, "despite_jobs") if given[name]]
        if wrong:
            raise click.UsageError(f"--{wrong[0].replace('_', '-')} is for a server of its own: give --start too")
        yield given["server"]
        return
    if ctx.get_parameter_source("server") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--start and --server exclude each other")
    from gearmand_py.server.bench.own_server import own_server

    with TemporaryDirectory(prefix="gearmand-py-bench-") as directory:
        found = settings(ctx, given, directory)
        try:
            with own_server(found) as started:
                yield started._replace(secret=given["server"].secret)
        except StartError as error:
            raise Failed(str(error)) from error


def settings(ctx: click.Context, given: dict[str, Any], directory: str) -> Settings:
    """Those of the server that is started. Raises Failed when its database has jobs."""
    own = {name: given[name] for name in DATABASE_NAMES}
    if throw_away := not database_was_typed(ctx, given):
        own["database"] = f"sqlite:///{directory}/queue.db"
    found = replace(settings_of_command(ctx, own), verbose="WARNING")
    if not throw_away and not given["despite_jobs"]:
        refuse_jobs(found)
    return found


def database_was_typed(ctx: click.Context, given: dict[str, Any]) -> bool:
    """Whether the command line names a database. The environment's, or a file's, is one that is in use."""
    assert ctx.parent is not None
    before = (ctx.parent.get_parameter_source(name) for name in ("database", "queue_type"))
    return bool(given["database"]) or ParameterSource.COMMANDLINE in before


def refuse_jobs(found: Settings) -> None:
    """Raises Failed when there are jobs in the database."""
    from gearmand_py.server.bench.own_server import has_jobs
    from gearmand_py.storage.base import StorageError

    try:
        if has_jobs(found):
            where = without_password(found.database)
            raise Failed(
                f"{where} has jobs in it: give another --database, or --despite-jobs to leave them as they are"
            )
    except StorageError as error:
        raise Failed(str(error)) from error


# ---- what came of it


def tell(benchmark: "Benchmark", plan: "Plan", style: str | None, plot: Path | None, *, interrupted: bool) -> None:
    """Print the results to standard output, and what is to be said about them to standard error."""
    from gearmand_py.server.bench import report

    results = benchmark.results
    measured = any(result.rounds for result in results)
    if style == "json":
        say(report.as_json(plan.load, results, plan.processes, interrupted=interrupted))
    elif style == "csv":
        say(report.as_csv(results).rstrip("\n"))
    else:
        say(report.heading(plan.load, results, plan.processes) + "\n")
        say((report.as_table(results) + "\n") if measured else "nothing was measured\n")
        say("\n".join(map(report.verdict, results)))
    for line in [*benchmark.left, *([report.caution(results)] if report.caution(results) else [])]:
        note(line)
    if plot and measured:
        from gearmand_py.server.bench.plot import draw

        draw(results, plot)


def end(benchmark: "Benchmark", interrupts: "Interrupts") -> None:
    """End as the benchmark did."""
    if benchmark.failure:
        raise benchmark.failure
    if interrupts.count:
        signal.signal(interrupts.last, signal.SIG_DFL)
        signal.raise_signal(interrupts.last)
    if not all(result.counts.all_well for result in benchmark.results):
        raise Failed("not every job was taken and ran once")
