"""`gearmand-py bench` as its users run it, against real servers."""

import csv
import io
import json
import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from gearmand_py.server import packets
from tests.bench.meddler import Meddle, Meddler, add_foreign, double, lose, refuse, swallow
from tests.command.running import Ended, GearmandPy, rows
from tests.command.test_submit_and_work import ON_A_TERMINAL
from tests.conftest import StartServer
from tests.databases.ports import free_port
from tests.harness.process import DEADLINE, Process
from tests.harness.server import Server

FAILED: Final = 1
USAGE: Final = 2
NO_SERVER: Final = 3
BRIEF: Final = ("--warm-up", "0", "--jobs", "300", "--in-flight", "4")
MODES: Final = ("submit", "work", "both", "foreground")
LATENCIES: Final = {
    "submit": {"ack"},
    "work": set(),
    "both": {"ack", "start"},
    "foreground": {"ack", "start", "round_trip"},
}
PERCENTILES: Final = ["p50", "p90", "p99", "p99.9", "max"]


def bench(command: GearmandPy, port: int, *words: str) -> Ended:
    return command.run("bench", "--server", f"127.0.0.1:{port}", *BRIEF, *words)


def result(ended: Ended) -> Any:
    """What it says in JSON."""
    return json.loads(ended.stdout)


def functions(server: Server) -> dict[str, int]:
    """The server's functions, and how many jobs they have."""
    with server.connect() as client:
        lines = [line.decode().split("\t") for line in client.text("status")]
    return {name: int(total) for name, total, *_ in lines}


def wait_for_load(server: Server, jobs: int = 1) -> None:
    """Until a benchmark has so many jobs on the server."""
    until = time.monotonic() + DEADLINE
    while not any(total >= jobs for total in functions(server).values()):
        assert time.monotonic() < until, functions(server)


# ---- what it measures


def test_all_modes_run_when_none_is_named(gearmand_py: GearmandPy, server: Server) -> None:
    ended = bench(gearmand_py, server.port, "--json")
    assert (ended.status, ended.stderr) == (0, "")
    (found,) = result(ended)["servers"]
    assert tuple(found["modes"]) == MODES
    for mode, figures in found["modes"].items():
        assert figures["jobs"] == 300
        assert figures["jobs_per_second"] > 0
        assert set(figures["latency_ms"]) == LATENCIES[mode]
        for latency in figures["latency_ms"].values():
            values = [latency[name] for name in PERCENTILES]
            assert values == sorted(values)
            assert values[0] > 0
    assert found["jobs"] == expected_counts(submitted=900, acknowledged=900, run=900)


def expected_counts(**counts: Any) -> dict[str, Any]:
    none: dict[str, Any] = dict.fromkeys(("submitted", "acknowledged", "run"), 0)
    none |= dict.fromkeys(("lost", "doubled", "foreign", "failed", "unanswered", "left"), 0)
    return none | {"refused": {}, "unexpected": {}} | counts


def test_json_has_its_keys(gearmand_py: GearmandPy, server: Server) -> None:
    found = result(bench(gearmand_py, server.port, "--json", "both"))
    assert set(found) == {"load", "processes", "interrupted", "servers", "ratios"}
    assert set(found["load"]) == {
        *("jobs", "seconds", "clients", "workers", "in_flight", "payload", "priorities", "unique"),
        *("functions", "functions_per_worker", "rate"),
    }
    (server_found,) = found["servers"]
    assert set(server_found) == {"server", "version", "modes", "jobs"}
    assert set(server_found["modes"]["both"]) == {
        *("jobs", "jobs_per_second", "jobs_per_second_of_rounds", "latency_ms", "generator_busy")
    }
    assert list(server_found["modes"]["both"]["latency_ms"]["ack"]) == PERCENTILES


def test_latencies_include_those_before_them(gearmand_py: GearmandPy, server: Server) -> None:
    one = ("--clients", "1", "--workers", "1", "--in-flight", "1", "--processes", "2")
    (found,) = result(bench(gearmand_py, server.port, "--json", *one, "foreground"))["servers"]
    latency = found["modes"]["foreground"]["latency_ms"]
    assert latency["ack"]["p50"] < latency["round_trip"]["p50"]
    assert latency["start"]["p50"] < latency["round_trip"]["p50"]


def test_work_alone_makes_its_own_jobs(gearmand_py: GearmandPy, server: Server) -> None:
    (found,) = result(bench(gearmand_py, server.port, "--json", "work"))["servers"]
    assert list(found["modes"]) == ["work"]
    assert found["jobs"]["run"] == 300


def test_seconds_instead_of_jobs(gearmand_py: GearmandPy, server: Server) -> None:
    words = ("--server", f"127.0.0.1:{server.port}", "--warm-up", "0.1", "--seconds", "2", "--json", *MODES)
    (found,) = result(gearmand_py.run("bench", *words))["servers"]
    assert found["jobs"]["lost"] == found["jobs"]["doubled"] == 0
    assert all(figures["jobs"] for figures in found["modes"].values())


def test_the_rate_is_that_of_the_jobs_that_fall_due(gearmand_py: GearmandPy, server: Server) -> None:
    (found,) = result(bench(gearmand_py, server.port, "--json", "--rate", "200", "both", "foreground"))["servers"]
    for figures in found["modes"].values():
        assert figures["jobs"] == 300
        assert figures["jobs_per_second"] <= 201  # the last of 300 is due after 1.495 s


def test_latency_with_a_rate_counts_the_time_that_the_server_did_not_take_jobs(
    gearmand_py: GearmandPy, server: Server
) -> None:
    words = ("--rate", "100", "--clients", "1", "--workers", "1", "--in-flight", "1", "--seconds", "4")
    at = f"127.0.0.1:{server.port}"
    running = gearmand_py.start("bench", "--server", at, "--warm-up", "0", "--json", *words, "foreground")
    until = time.monotonic() + DEADLINE
    while not functions(server):
        assert time.monotonic() < until
    time.sleep(0.5)  # what is measured is time
    signal_to(server, signal.SIGSTOP)
    time.sleep(1)
    signal_to(server, signal.SIGCONT)
    (found,) = json.loads(running.result())["servers"]
    # One client with one job in flight: a generator that waits would have met the pause with one job of 400.
    assert found["modes"]["foreground"]["latency_ms"]["round_trip"]["p90"] > 300
    assert found["modes"]["foreground"]["jobs"] == 400


def signal_to(server: Server, number: signal.Signals) -> None:
    os.kill(server.pid, number)


def test_large_payloads(gearmand_py: GearmandPy, server: Server) -> None:
    few = ("--jobs", "10", "--payload", "4M", "--clients", "2", "--workers", "2")
    (found,) = result(bench(gearmand_py, server.port, "--json", *few, "both", "foreground"))["servers"]
    assert found["jobs"] == expected_counts(submitted=20, acknowledged=20, run=20)


def test_every_kind_of_load(gearmand_py: GearmandPy, server: Server) -> None:
    kinds = ("--payload", "24-5000", "--priorities", "1:2:1", "--unique", "none", "--processes", "3")
    many = ("--functions", "40", "--functions-per-worker", "10", "--workers", "5", "--clients", "4")
    (found,) = result(bench(gearmand_py, server.port, "--json", *kinds, *many))["servers"]
    assert found["jobs"] == expected_counts(submitted=900, acknowledged=900, run=900)


# ---- what it leaves


def test_nothing_is_left_and_others_are_left_alone(gearmand_py: GearmandPy, server: Server) -> None:
    gearmand_py.at(server.port).output("submit", "--background", "mail", "to: ann")
    assert bench(gearmand_py, server.port, "submit", "--functions", "3").status == 0
    assert functions(server) == {"mail": 1}
    assert rows(server.database, "SELECT count(*) FROM gearman_job") == [(1,)]


def test_ctrl_c_prints_what_there_is_and_leaves_nothing(gearmand_py: GearmandPy, server: Server) -> None:
    at = f"127.0.0.1:{server.port}"
    running = gearmand_py.start("bench", "--server", at, "--json", "--seconds", "1000", "submit", "work")
    wait_for_load(server, jobs=500)
    running.send_signal(signal.SIGINT)  # to the whole group, as a terminal does
    assert running.wait() == -signal.SIGINT
    found = json.loads(running.stdout)
    assert found["interrupted"]
    (mine,) = found["servers"]
    assert mine["jobs"]["submitted"] >= 500
    assert (mine["jobs"]["lost"], mine["jobs"]["doubled"], mine["jobs"]["left"]) == (0, 0, 0)
    assert functions(server) == {}


def test_a_second_ctrl_c_leaves_the_jobs_and_says_where(gearmand_py: GearmandPy, server: Server) -> None:
    running = start_and_fill(gearmand_py, server)
    signal_to(server, signal.SIGSTOP)  # it cannot be emptied meanwhile
    running.send_signal(signal.SIGINT)
    wait_until_taken(running, signal.SIGINT)  # two that come together are one
    time.sleep(0.5)  # for the interpreter, which keeps it for its next step
    running.send_signal(signal.SIGINT)
    signal_to(server, signal.SIGCONT)
    assert running.wait() == -signal.SIGINT
    found = re.search(r"([\d,]+) jobs are left on .* in functions from (\S+) on", running.stderr)
    assert found
    assert functions(server) == {found[2]: int(found[1].replace(",", ""))}


def wait_until_taken(process: Process, number: signal.Signals) -> None:
    """Until a signal is not pending any more."""
    until = time.monotonic() + DEADLINE
    while is_pending(process, number):
        assert time.monotonic() < until


def is_pending(process: Process, number: signal.Signals) -> bool:
    found = re.search(r"^ShdPnd:\t(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return bool(int(found[1], 16) >> (number - 1) & 1)


def start_and_fill(gearmand_py: GearmandPy, server: Server) -> Process:
    at = f"127.0.0.1:{server.port}"
    running = gearmand_py.start("bench", "--server", at, "--warm-up", "0", "--seconds", "1000", "submit")
    wait_for_load(server, jobs=500)
    return running


def test_a_server_that_goes_away_ends_it_and_what_was_measured_is_told(gearmand_py: GearmandPy, server: Server) -> None:
    running = start_and_fill(gearmand_py, server)
    server.kill()
    assert running.wait() == NO_SERVER
    assert b"submit to ack" in running.stdout
    assert "lost the connection to 127.0.0.1" in running.stderr
    assert "jobs are left on" in running.stderr


# ---- that it notices


@pytest.mark.parametrize(
    ("mode", "kind", "meddle", "counts"),
    [
        ("both", packets.JOB_ASSIGN, lose, {"lost": 1, "run": 299}),
        ("work", packets.JOB_ASSIGN, lose, {"lost": 1, "run": 299}),
        ("foreground", packets.JOB_ASSIGN, lose, {"lost": 1, "run": 299}),
        ("foreground", packets.WORK_COMPLETE, swallow, {"lost": 1, "run": 300}),
        ("submit", packets.JOB_ASSIGN, lose, {"lost": 1, "run": 299}),
        ("both", packets.JOB_ASSIGN, double, {"doubled": 1, "unexpected": {"ERROR JOB_NOT_FOUND": 1}}),
        ("foreground", packets.WORK_COMPLETE, double, {"doubled": 1}),
        ("both", packets.JOB_ASSIGN, add_foreign, {"foreign": 1}),
        ("submit", packets.JOB_CREATED, refuse, {"acknowledged": 299, "refused": {"ERROR QUEUE_ERROR": 1}}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_a_server_does_wrong_is_noticed(
    gearmand_py: GearmandPy, server: Server, mode: str, kind: int, meddle: Meddle, counts: dict[str, Any]
) -> None:
    with Meddler(server.port, kind, meddle) as meddler:
        ended = bench(gearmand_py, meddler.port, "--json", mode)
        assert meddler.has_meddled
    assert ended.status == FAILED, ended
    assert ended.stderr == "Error: not every job was taken and ran once\n"
    (found,) = result(ended)["servers"]
    assert found["jobs"] == expected_counts(**({"submitted": 300, "acknowledged": 300, "run": 300} | counts))


# ---- two servers, rounds


def test_two_servers_are_compared(gearmand_py: GearmandPy, server: Server, start_server: StartServer) -> None:
    other = start_server(name="other.db")
    ended = bench(gearmand_py, server.port, "--json", "--compare", f"127.0.0.1:{other.port}", "--rounds", "2")
    assert ended.status == 0, ended
    found = result(ended)
    one, two = found["servers"]
    assert (one["server"], two["server"]) == (f"127.0.0.1:{server.port}", f"127.0.0.1:{other.port}")
    assert one["jobs"] == two["jobs"] == expected_counts(submitted=1800, acknowledged=1800, run=1800)
    assert list(found["ratios"]) == list(MODES)
    for mode, ratios in found["ratios"].items():
        rates = [its["modes"][mode]["jobs_per_second"] for its in (one, two)]
        assert ratios["jobs_per_second"] == pytest.approx(rates[0] / rates[1])
        assert set(ratios["latency"]) == LATENCIES[mode]
    of_rounds = one["modes"]["both"]["jobs_per_second_of_rounds"]
    assert one["modes"]["both"]["jobs_per_second"] == pytest.approx(sum(of_rounds) / 2)
    assert functions(server) == functions(other) == {}


def test_the_table_has_a_line_for_each_server_and_their_ratio(
    gearmand_py: GearmandPy, server: Server, start_server: StartServer
) -> None:
    other = start_server(name="other.db")
    ended = bench(gearmand_py, server.port, "--compare", f"127.0.0.1:{other.port}", "submit", "work")
    table = ended.stdout.decode().split("\n\n")[1].splitlines()
    here, there = f"127.0.0.1:{server.port}", f"127.0.0.1:{other.port}"
    assert [line.split()[0] for line in table] == ["mode", "submit", there, "ratio", "work", there, "ratio"]
    assert table[1].split()[1:5] == ["submit", "to", "ack", here]


def test_the_table_for_people(gearmand_py: GearmandPy, server: Server) -> None:
    heading, table, verdict = bench(gearmand_py, server.port).stdout.decode().rstrip().split("\n\n")
    assert heading.startswith(f"127.0.0.1:{server.port} (version ")
    assert "300 jobs of 100 bytes a mode, 8 clients with 4 in flight, 8 workers" in heading
    assert len(table.splitlines()) == 1 + sum(max(len(names), 1) for names in LATENCIES.values())
    assert verdict == f"127.0.0.1:{server.port}: 900 jobs acknowledged, 900 run, 0 lost, 0 doubled"


def test_csv(gearmand_py: GearmandPy, server: Server) -> None:
    lines = list(csv.DictReader(io.StringIO(bench(gearmand_py, server.port, "--csv", "both").stdout.decode())))
    assert [(line["mode"], line["latency in ms"]) for line in lines] == [
        ("both", "submit to ack"),
        ("both", "submit to start"),
    ]
    assert all(float(line["jobs/s"]) > 0 and float(line["p99"]) > 0 for line in lines)


# ---- pictures


def test_a_png_is_a_picture(gearmand_py: GearmandPy, server: Server, tmp_path: Path) -> None:
    assert bench(gearmand_py, server.port, "--plot", str(tmp_path / "p.png"), "both", "work").status == 0
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colours
    assert len(colours) > 10


def test_an_svg_tells_both_servers_apart(
    gearmand_py: GearmandPy, server: Server, start_server: StartServer, tmp_path: Path
) -> None:
    other = f"127.0.0.1:{start_server(name='other.db').port}"
    ended = bench(gearmand_py, server.port, "--plot", str(tmp_path / "p.svg"), "--compare", other, "submit")
    assert ended.status == 0, ended
    drawn = (tmp_path / "p.svg").read_text()
    for words in ("submit: submit to ack", f"127.0.0.1:{server.port}", other):
        assert f"<!-- {words} -->" in drawn


def test_without_matplotlib_plot_says_what_to_install(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    ended = gearmand_py.run("bench", "--plot", "p.svg", environment={"PYTHONPATH": f"{tmp_path}:{own_path()}"})
    assert ended.status == USAGE
    assert "--plot needs matplotlib: pip install 'gearmand-py[plot]'" in ended.stderr


def own_path() -> str:
    return os.environ.get("PYTHONPATH", "")


# ---- a server of its own


def test_it_starts_a_server_of_its_own(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    ended = gearmand_py.run("bench", "--start", *BRIEF, "--json", environment={"TMPDIR": str(tmp_path)})
    assert (ended.status, ended.stderr) == (0, "")
    assert result(ended)["servers"][0]["jobs"]["run"] == 900
    assert list(tmp_path.iterdir()) == []


def test_the_database_of_its_server_can_be_given(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    ended = gearmand_py.run("bench", "--start", "--database", f"sqlite:///{database}", *BRIEF, "submit")
    assert (ended.status, ended.stderr) == (0, "")
    assert rows(database, "SELECT count(*) FROM gearman_job") == [(0,)]


def test_a_database_that_is_in_use_otherwise_is_not_taken_unasked(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    environment = {"GEARMAND_DATABASE": f"sqlite:///{database}"}
    assert gearmand_py.run("bench", "--start", *BRIEF, "submit", environment=environment).status == 0
    assert not database.exists()


def test_a_database_with_jobs_is_refused_unless_told(gearmand_py: GearmandPy, server: Server, tmp_path: Path) -> None:
    gearmand_py.at(server.port).output("submit", "--background", "mail", "to: ann")
    server.kill()
    words = ("bench", "--start", "--database", f"sqlite:///{server.database}", *BRIEF, "both")
    ended = gearmand_py.run(*words)
    assert (ended.status, ended.stdout) == (FAILED, b"")
    assert "has jobs in it" in ended.stderr
    assert gearmand_py.run(*words, "--despite-jobs").status == 0
    with closing(sqlite3.connect(server.database)) as connection:
        assert list(connection.execute("SELECT function_name, data FROM gearman_job")) == [(b"mail", b"to: ann")]


def test_a_server_of_its_own_that_does_not_start(gearmand_py: GearmandPy, tmp_path: Path) -> None:
    words = ("bench", "--start", "--database", f"sqlite:///{tmp_path}/not/there.db", *BRIEF)
    ended = gearmand_py.run(*words)
    assert ended.status == FAILED
    why, end = ended.stderr.splitlines()
    assert why.startswith(f"gearmand-py: the directory {tmp_path}/not for the database does not exist")
    assert end == "Error: the server that was to be measured did not start"


# ---- while it runs


def test_a_terminal_shows_how_far_it_is(gearmand_py: GearmandPy, server: Server) -> None:
    at = f"127.0.0.1:{server.port}"
    running = gearmand_py.start("bench", "--server", at, *BRIEF, "both", prefix=ON_A_TERMINAL)
    assert running.wait() == 0
    shown = running.stdout.decode()
    assert f"both on {at}" in shown
    assert "100%" in shown
    assert "300 run, 0 lost, 0 doubled" in shown


# ---- wrong usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("everything",), "'everything' is not one of"),
        (("--jobs", "0"), "0 is not in the range x>=1"),
        (("--jobs", "5", "--seconds", "1"), "--jobs and --seconds exclude each other"),
        (("--payload", "23"), "a payload has at least 24 bytes"),
        (("--payload", "200-100"), "'200-100' goes from more to less"),
        (("--payload", "big"), "'big' is not a size"),
        (("--priorities", "0:0:0"), "are no shares of high, normal and low: write 1:8:1"),
        (("--rate", "0"), "0.0 is not in the range x>0"),
        (("--functions", "10", "--functions-per-worker", "1"), "8 workers with 1 functions each leave some of 10"),
        (("--compare", "nowhere:0"), "0 is not a port"),
        (("--server", "127.0.0.1:1", "--compare", "127.0.0.1:1"), "--compare 127.0.0.1:1 is the server itself"),
        (("--plot", "picture.bmp"), "its name must end with .svg or .png"),
        (("--plot", "/not/there/picture.svg"), "its directory is not there, or not writable"),
        (("--database", "sqlite:////tmp/x.db"), "--database is for a server of its own: give --start too"),
        (("--despite-jobs",), "--despite-jobs is for a server of its own: give --start too"),
        (("--start", "--server", "127.0.0.1:1"), "--start and --server exclude each other"),
        (("--clients", "100000000"), "than the system's limit of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_told(gearmand_py: GearmandPy, words: tuple[str, ...], message: str) -> None:
    ended = gearmand_py.run("bench", *words)
    assert (ended.status, ended.stdout) == (USAGE, b"")
    assert message in " ".join(ended.stderr.split())


def test_no_server(gearmand_py: GearmandPy) -> None:
    port = free_port()
    ended = bench(gearmand_py, port)
    assert (ended.status, ended.stdout) == (NO_SERVER, b"")
    assert ended.stderr.startswith(f"Error: cannot reach 127.0.0.1:{port}: Connection refused.")


def test_the_other_server_is_not_there(gearmand_py: GearmandPy, server: Server) -> None:
    port = free_port()
    ended = bench(gearmand_py, server.port, "--compare", f"127.0.0.1:{port}")
    assert (ended.status, ended.stdout) == (NO_SERVER, b"")
    assert f"cannot reach 127.0.0.1:{port}" in ended.stderr
    assert functions(server) == {}
