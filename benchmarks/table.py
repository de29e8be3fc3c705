"""The results of `make microbench` as a Markdown table: the medians.

python benchmarks/table.py build/microbench.json
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print the machine, then a line for each benchmark."""
    found = json.loads(Path(sys.argv[1]).read_text())
    machine = found["machine_info"]
    print(f"{machine['cpu'].get('brand_raw', machine['machine'])}, Python {machine['python_version']}\n")
    print("| | items a round | microseconds an item | items/s |\n|---|---|---|---|")
    for benchmark in found["benchmarks"]:
        items = benchmark["extra_info"]["items"]
        seconds = benchmark["stats"]["median"] / items
        part = Path(benchmark["fullname"].partition("::")[0]).stem.removeprefix("test_")
        name = benchmark["name"].removeprefix("test_").replace("_", " ")
        print(f"| {part}: {name} | {items:,} | {1e6 * seconds:,.2f} | {1 / seconds:,.0f} |")


if __name__ == "__main__":
    main()
