"""The growth plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"care": "#c44e52", "lite": "#4c72b0", "live": "#55a868"}
LINES = {"torch": "-", "openvino": "-", "auto": "-", "openvino-int8": "--"}
PANELS = (
    ("width", "Frame width (px)", "Seconds a frame"),
    ("count", "Frames of a stack", "Seconds a stack"),
    ("neighbours", "Neighbouring frames", "Seconds a frame"),
    ("workers", "Workers", "Seconds a stack"),
)
GROWS = {"width": (2, "number of pixels"), "workers": (-1, "number of workers")}
"""Power of what lies across by which the grey line grows, and its name."""


def draw_growth(growth: dict[str, Any], path: Path) -> None:
    """Draw cost against frame width, number of frames, neighbouring frames and workers, side by side."""
    mpl.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(15, 4), layout="constrained")
    for axis, (panel, across, up) in zip(axes, PANELS, strict=True):
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        if not growth[panel]:
            axis.set_axis_off()
            continue
        for name, points in growth[panel].items():
            preset, engine = name.split(", ")
            values, seconds = zip(*points, strict=True)
            axis.plot(values, seconds, LINES[engine], color=COLOURS[preset], marker="o", markersize=4, label=name)
        ticks = sorted({point[0] for points in growth[panel].values() for point in points})
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""))
        if ticks[0]:
            axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.grid(alpha=0.3, which="both")
        if panel in GROWS:
            _draw_power(axis, growth[panel], *GROWS[panel])
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_power(axis: Any, lines: dict[str, list[tuple[int, float]]], power: int, name: str) -> None:
    """Draw what grows just with a power of what lies across, through the end of the first line that took longest."""
    points = next(iter(lines.values()))
    value, seconds = max(points, key=lambda point: point[1])
    ends = points[0][0], points[-1][0]
    axis.plot(ends, [seconds * (end / value) ** power for end in ends], color="0.7", zorder=0, label=name)
