"""Memory of the `restore` command: the same for a short stack and for a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from rows import Row

if TYPE_CHECKING:
    from pathlib import Path

    from context import Context
    from numpy.typing import NDArray

TITLE = "Memory"

MOST_BYTES = 1.5e9
MOST_DIFFERENCE = 0.05
MODEL = "lite"


def write_stack(path: Path, frame: NDArray[Any], length: int) -> None:
    """Write a stack of frames that differ a little, one at a time."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index in range(length):
            tiff.write(np.roll(frame, 7 * index, axis=1), contiguous=True)


def measure(context: Context) -> dict[str, Any]:
    """Restore a short and a long stack from file to file."""
    settings = context.settings
    image = context.image(settings.frame)
    frame, model = np.load(image), context.random_model(MODEL)
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
        engine = "openvino" if "openvino" in engines else "torch"
        compute = ours.ask("predict", model=model, engine=engine, image=image, frames=4)["further"]
    runs = {}
    source, out = context.work / "stack.tif", context.work / "stack-restored.tif"
    try:
        for length in settings.memory_frames:
            write_stack(source, frame, length)
            runs[str(length)] = context.restore_file(model, source, out, engine)
            out.unlink()
    finally:
        source.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
    return {"width": settings.frame, "engine": engine, "compute": compute, "runs": runs}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    runs, width = results["runs"], results["width"]
    short, long = (runs[length]["peak_bytes"] for length in runs)
    lines = [
        Row(
            what=f"peak memory of `restore`, {MODEL}, {length} frames of {width} px",
            ours=f"{run['peak_bytes'] / 1e9:.2f} GB",
            target="under 1.5 GB",
            reached=run["peak_bytes"] < MOST_BYTES,
        )
        for length, run in runs.items()
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
        f"Engine {results['engine']}; whole process: {walls}. A further frame takes {frame:.3g} s from file to file, "
        f"of which computing takes {results['compute']:.3g} s: reading and writing cost {share:.0%}.\n"
    )
