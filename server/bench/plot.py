"""A picture of the latencies: how many jobs took how long, on a logarithmic axis, all servers in one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gearmand_py.server.bench.histogram import Histogram
from gearmand_py.server.bench.results import MILLISECOND, NAMES, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: Final = (".svg", ".png")
STEPS: Final = 20  # bars in a factor of ten
PANEL_INCHES: Final = (8.0, 2.4)


class NoMatplotlib(Exception):
    """There is nothing to draw with."""

    def __init__(self) -> None:
        super().__init__("--plot needs matplotlib: pip install 'gearmand-py[plot]'")


def check() -> None:
    """Raises NoMatplotlib, better before the work than after it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise NoMatplotlib from None


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw a panel for each latency of each mode. Raises OSError."""
    from matplotlib.figure import Figure

    figures = list(results[0].figures())
    width, height = PANEL_INCHES
    picture = Figure(figsize=(width, height * max(len(figures), 1)), layout="constrained")
    panels = picture.subplots(max(len(figures), 1), squeeze=False)[:, 0]
    for panel, (mode, name) in zip(panels, figures, strict=False):
        panel.set_title(f"{mode}: {NAMES[name]}", loc="left", fontsize="medium")
        for result in results:
            if mode in result.rounds:
                draw_one(panel, result.histogram(mode, name), result.server)
        panel.set_xscale("log")
        panel.set_xlabel("ms")
        panel.set_ylabel("% of jobs")
        panel.legend(fontsize="small")
    picture.savefig(path)


def draw_one(panel: "Axes", histogram: Histogram, label: str) -> None:
    """A server's, as steps."""
    shares = coarse(histogram)
    if not shares:
        return
    first, last = min(shares), max(shares)
    edges = [10 ** (step / STEPS) / MILLISECOND for step in range(first, last + 2)]
    values = [shares.get(step, 0.0) for step in range(first, last + 1)]
    panel.stairs(values, edges, label=label, fill=True, alpha=0.4)


def coarse(histogram: Histogram) -> dict[int, float]:
    """Percent of all values, by the step of the axis they fall on."""
    shares: dict[int, float] = {}
    for least, _, count in histogram.buckets():
        step = math.floor(math.log10(max(least, 1)) * STEPS)
        shares[step] = shares.get(step, 0.0) + 100 * count / histogram.count
    return shares
