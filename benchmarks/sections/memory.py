"""Memory of the `restore` command: the same for a short stack and for a long one, with neighbouring frames too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from rows import Row

from napari_care_losses.models.architecture import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

    from context import Context
    from numpy.typing import NDArray

TITLE = "Memory"

MOST_BYTES = 0.8e9
MOST_DIFFERENCE = 0.05
MODEL = "lite"
NEIGHBOURS = 4


def write_stack(path: Path, frame: NDArray[Any], length: int) -> None:
    """Write a stack of frames that differ a little, one at a time."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index in range(length):
            tiff.write(np.roll(frame, 7 * index, axis=1), contiguous=True)


def measure(context: Context) -> dict[str, Any]:
    """Restore a short and a long stack from file to file, the long one with neighbouring frames too."""
    settings = context.settings
    image = context.image(settings.memory_width)
    frame, model = np.load(image), context.random_model(MODEL)
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
        engine = "openvino" if "openvino" in engines else "torch"
        compute = ours.ask("predict", model=model, engine=engine, image=image, frames=4)["further"]
    shape = replace(PRESETS[MODEL], neighbours=NEIGHBOURS)
    around = context.random_model(f"{MODEL}-{NEIGHBOURS}-neighbours", shape)
    runs = {}
    source, out = context.work / "stack.tif", context.work / "stack-restored.tif"
    try:
        for length in settings.memory_frames:
            write_stack(source, frame, length)
            runs[str(length)] = context.restore_file(model, source, out, engine)
            out.unlink()
        with_neighbours = context.restore_file(around, source, out, engine)
    finally:
        source.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
    found = {"width": settings.memory_width, "engine": engine, "compute": compute, "runs": runs}
    return {**found, "neighbours": with_neighbours}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    runs, width = results["runs"], results["width"]
    short, long = (runs[length]["peak_bytes"] for length in runs)
    named = [(f"{MODEL}, {length} frames", run) for length, run in runs.items()]
    named.append((f"{MODEL} with {NEIGHBOURS} neighbours, {list(runs)[-1]} frames", results["neighbours"]))
    lines = [
        Row(
            what=f"peak memory of `restore`, {name} of {width} px",
            ours=f"{run['peak_bytes'] / 1e9:.3f} GB",
            target=f"under {MOST_BYTES / 1e9:g} GB",
            reached=run["peak_bytes"] < MOST_BYTES,
        )
        for name, run in named
    ]
    lines.append(
        Row(
            what=f"peak memory, {' against '.join(reversed(runs))} frames",
            ours=f"{long / 1e9:.3f} GB",
            peer=f"{short / 1e9:.3f} GB",
            ratio=long / short,
            target="within 5 %",
            reached=abs(long / short - 1) <= MOST_DIFFERENCE,
        )
    )
    frame = _seconds_a_frame(results)
    lines.append(
        Row(
            what=f"`restore`, {MODEL}, each further frame from TIFF to TIFF, against computing it alone",
            ours=f"{frame:.3g} s",
            peer=f"{results['compute']:.3g} s",
            ratio=frame / results["compute"],
        )
    )
    return lines


def _seconds_a_frame(results: dict[str, Any]) -> float:
    (short, first), (long, last) = results["runs"].items()
    return (last["seconds"] - first["seconds"]) / (int(long) - int(short))


def notes(results: dict[str, Any]) -> str:
    """Return the wall times and what reading and writing cost."""
    frame = _seconds_a_frame(results)
    share = max(0.0, 1 - results["compute"] / frame)
    walls = ", ".join(f"{length} frames {run['seconds']:.1f} s" for length, run in results["runs"].items())
    return (
        f"Engine {results['engine']}; whole process: {walls}, with neighbours "
        f"{results['neighbours']['seconds']:.1f} s. A further frame takes {frame:.3g} s from file to file, "
        f"of which computing takes {results['compute']:.3g} s: reading and writing cost {share:.0%}.\n"
    )
