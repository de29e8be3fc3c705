"""Where a server's time goes: py-spy on one that `gearmand-py bench` keeps busy.

    make profile
    make profile ARGS="--seconds 20 --mode foreground --out build/foreground"

Writes flame.svg, to be looked at in a browser, and top.txt, the functions that were running most often, into a
directory. `own` is the part of the samples in which a function itself was running, `total` that in which it was on
the stack. C code counts as the function that called it: uvloop's loop is `Runner.run`, the wait of the database's
thread for its next call `_connection_worker_thread`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.server import COMMAND, HOST, Server

SHOWN = 40
DENIED = """\
profile: py-spy may not look into the server's process. Any of these allows it:
  run as root; sudo sysctl kernel.yama.ptrace_scope=0; in a container --cap-add SYS_PTRACE"""


@contextmanager
def load(server: Server, mode: str) -> Iterator[None]:
    """Jobs without end."""
    words = ["bench", "--server", f"{HOST}:{server.port}", "--warm-up", "0", "--seconds", "86400", mode]
    running = subprocess.Popen([COMMAND, *words], stdout=subprocess.DEVNULL)
    try:
        wait_for_jobs(server)
        yield
    finally:
        running.terminate()
        running.wait()


def wait_for_jobs(server: Server) -> None:
    """Until the first are there."""
    with server.connect() as client:
        while not any(int(line.split(b"\t")[1]) for line in client.text("status")):
            pass


def record(server: Server, form: str, path: Path, seconds: int) -> None:
    """Sample its stacks; idle threads are left out."""
    command = [Path(sys.executable).with_name("py-spy"), "record", "--pid", str(server.pid), "--nolineno"]
    command += ["--format", form, "--output", path, "--duration", str(seconds), "--rate", "250"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ermission" in done.stderr:
        sys.exit(DENIED)
    if done.returncode or not path.exists():
        sys.exit(f"profile: py-spy failed: {done.stderr.strip()}")


def top(collapsed: str) -> Iterator[str]:
    """Lines of a table, from lines of stacks: frames with semicolons between them, and a count."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        total.update(dict.fromkeys(frames, int(count)))
    samples = max(own.total(), 1)
    yield f"{samples:,} samples\n\n   own  total  function"
    for frame, count in own.most_common(SHOWN):
        yield f"{count / samples:6.1%} {total[frame] / samples:6.1%}  {frame}"


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10, help="of each of two recordings")
    parser.add_argument("--mode", choices=["submit", "both", "foreground"], default="both")
    parser.add_argument("--out", type=Path, default=Path("build/profile"))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "queue.db") as server,
        load(server, chosen.mode),
    ):
        record(server, "flamegraph", chosen.out / "flame.svg", chosen.seconds)
        record(server, "raw", chosen.out / "stacks.txt", chosen.seconds)
    table = "\n".join(top((chosen.out / "stacks.txt").read_text()))
    (chosen.out / "top.txt").write_text(table + "\n")
    print(f"{table}\n\n{chosen.out}/flame.svg, {chosen.out}/top.txt")


if __name__ == "__main__":
    main()
