"""Restoring a TIFF file into another by the command: what every further frame of it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from context import multiply_adds
from rows import Row, rate, summary

from napari_care_losses.models.architecture import PRESETS
from sections.memory import write_stack

if TYPE_CHECKING:
    from context import Context

TITLE = "The `restore` command"


def measure(context: Context) -> dict[str, Any]:
    """Restore a file of one frame and one of several in turns."""
    settings = context.settings
    frame, model = np.load(context.image(settings.frame)), context.random_model("care")
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
    engine = "openvino" if "openvino" in engines else "torch"
    lengths = 1, settings.command_frames
    taken: dict[int, list[float]] = {length: [] for length in lengths}
    source, out = context.work / "command.tif", context.work / "command-restored.tif"
    try:
        for _ in range(settings.command_rounds):
            for length in lengths:
                write_stack(source, frame, length)
                taken[length].append(context.restore_file(model, source, out, engine)["seconds"])
    finally:
        source.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
    one, several = (min(taken[length]) for length in lengths)
    further = [(b - a) / (lengths[1] - 1) for a, b in zip(taken[1], taken[lengths[1]], strict=True)]
    return {
        "width": settings.frame,
        "engine": engine,
        "lengths": lengths,
        "seconds": {str(length): summary(values) for length, values in taken.items()},
        "further": {**summary(further), "best": (several - one) / (lengths[1] - 1)},
    }


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the line of the table."""
    gigaflops = 2 * multiply_adds(PRESETS["care"]) * results["width"] ** 2 / 1e9
    best, median = (gigaflops / results["further"][which] / matmul for which in ("best", "median"))
    return [
        Row(
            what=f"care, float32, `restore` from TIFF to TIFF, each further {results['width']} px frame, "
            "of the matrix-multiply rate",
            ours=rate(results["further"], gigaflops, "GFLOP/s"),
            peer=f"matrix product {matmul:.0f} GFLOP/s",
            ratio=best,
            median_ratio=median,
            target="at least 0.75",
            reached=best >= 0.75,
            profile=f"care {results['engine']}",
        )
    ]


def notes(results: dict[str, Any]) -> str:
    """Return what the table cannot say."""
    one, several = (results["seconds"][str(length)]["best"] for length in results["lengths"])
    return (
        f"From the start of the process to its end: {results['lengths'][0]} frame {one:.1f} s, "
        f"{results['lengths'][1]} frames {several:.1f} s.\n"
    )
