"""Coverage-guided fuzzing: `python -m tests.fuzz.run codec --minutes 10`. What it finds is in build/fuzz.

Each target takes so many minutes of this process; a crash is shown with its input, and saved.
"""

import argparse
import gc
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).with_name("corpus")
FOUND: Final = Path("build/fuzz")
LONGEST_INPUT: Final = 1024
MEGABYTES: Final = 2048
SECONDS_AN_INPUT: Final = 300  # a hang, also on a machine that is stopped for a while
INPUTS_A_COLLECTION: Final = 100  # brokers are full of circles


def main() -> int:
    """Fuzz the targets that are named, or all; the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="all, if none is named")
    parser.add_argument("--minutes", type=float, default=10, help="for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: make fuzz does it, on Linux with Python 3.11 to 3.14")
    if given.inside:
        fuzz(given.targets[0], given.minutes)
    from tests.fuzz.targets import TARGETS

    chosen = given.targets or list(TARGETS)
    if unknown := set(chosen) - set(TARGETS):
        parser.error(f"there is no target {', '.join(unknown)}: {', '.join(TARGETS)}")
    command = [sys.executable, "-m", "tests.fuzz.run", "--inside", "--minutes", str(given.minutes)]
    failed = [target for target in chosen if subprocess.run([*command, target], check=False).returncode]
    print(f"{len(chosen) - len(failed)} targets held" + (f"; failed: {', '.join(failed)}" if failed else ""))  # noqa: T201
    return len(failed)


def fuzz(target: str, minutes: float) -> None:
    """Does not return: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["gearmand_py", "tomllib", "click.parser", "sqlalchemy.engine.url"]):
        from tests.fuzz.dictionary import DICTIONARY, for_libfuzzer
        from tests.fuzz.targets import TARGETS
    gc.freeze()
    inputs = count(1)

    def run(data: bytes) -> None:
        TARGETS[target](data)
        if next(inputs) % INPUTS_A_COLLECTION == 0:
            gc.collect()

    new = FOUND / target
    new.mkdir(parents=True, exist_ok=True)
    words = FOUND / f"{target}.dict"
    words.write_text(for_libfuzzer(DICTIONARY[target]))
    options = [
        f"-max_total_time={minutes * 60:.0f}",
        f"-max_len={LONGEST_INPUT}",
        f"-dict={words}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-artifact_prefix={FOUND}/{target}-",
        "-print_final_stats=1",
    ]
    # New inputs go to the first directory.
    atheris.Setup([target, *options, str(new), *filter(os.path.isdir, [str(CORPUS / target)])], run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
