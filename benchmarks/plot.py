"""The growth plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

COLOURS = {"care": "#c44e52", "lite": "#4c72b0"}
LINES = {"torch": "-", "openvino": "-", "openvino-int8": "--"}
PANELS = (
    ("width", "Frame width (px)", "Seconds a frame"),
    ("count", "Frames of a stack", "Seconds a stack"),
    ("depth", "Depth of the network", "Seconds a frame"),
)


def draw_growth(growth: dict[str, Any], path: Path) -> None:
    """Draw cost against frame width, number of frames and depth, side by side."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4), layout="constrained")
    for axis, (panel, across, up) in zip(axes, PANELS, strict=True):
        values: list[int] = []
        for name, points in growth[panel].items():
            preset, engine = name.split(", ")
            values, seconds = zip(*points, strict=True)
            axis.plot(values, seconds, LINES[engine], color=COLOURS[preset], marker="o", markersize=4, label=name)
        ticks = sorted({point[0] for points in growth[panel].values() for point in points})
        axis.set_yscale("log")
        axis.set_xscale("linear" if panel == "depth" else "log", **({} if panel == "depth" else {"base": 2}))
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        axis.grid(alpha=0.3)
    _draw_pixels(axes[0], growth["width"])
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_pixels(axis: Any, lines: dict[str, list[tuple[int, float]]]) -> None:
    """Draw what grows just with the number of pixels, through the first line's last point."""
    points = next(iter(lines.values()))
    (size, seconds), smallest = points[-1], points[0][0]
    scaled = [seconds * (width / size) ** 2 for width in (smallest, size)]
    axis.plot((smallest, size), scaled, color="0.7", zorder=0, label="number of pixels")
