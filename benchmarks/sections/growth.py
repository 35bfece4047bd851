"""How cost grows with frame size, number of frames, neighbouring frames and workers."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.models.architecture import PRESETS

if TYPE_CHECKING:
    from context import Context
    from rows import Row
    from workers.wire import Worker

TITLE = "Growth"

COUNTED = 512
"""Width of the frames whose number, neighbours or workers grow, in pixels."""
STEADY = 1024
"""Width of the largest frames of which several are timed, in pixels: the larger ones take long enough to be steady."""
MOST_WORKERS = 4
SCALING = Path(__file__).parents[1] / "scaling.py"


def measure(context: Context) -> dict[str, Any]:
    """Restore ever larger frames, longer stacks, with more neighbours, and by more workers."""
    settings = context.settings
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {"width": {}, "count": {}, "neighbours": {}, "workers": {}}
    counted = min(COUNTED, settings.frame)
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
        if "openvino" in engines:
            engines.remove("torch")
        image = context.image(counted)
        for engine in engines:
            for preset, widths in settings.widths:
                name, model = f"{preset}, {engine}", context.random_model(preset)
                panels["width"][name] = [
                    (size, _further(ours, model, engine, context.image(size), 3 if size <= STEADY else 1))
                    for size in widths
                ]
                panels["count"][name] = [
                    (n, ours.ask("predict", model=model, engine=engine, image=image, frames=n)["total"])
                    for n in settings.counts
                ]
                panels["neighbours"][name] = []
                for around in settings.neighbours:
                    shape = replace(PRESETS[preset], neighbours=around)
                    reading = context.random_model(f"{preset}-{around}-neighbours", shape)
                    panels["neighbours"][name].append((around, _further(ours, reading, engine, image, 3)))
    if importlib.util.find_spec("distributed") is not None:
        panels["workers"] = _by_workers(context, counted)
    return {**panels, "counted": counted, "worker_frames": settings.worker_frames}


def _further(ours: Worker, model: Path, engine: str, image: Path, timed: int) -> float:
    """Return the seconds of a further frame, the mean of so many."""
    return ours.ask("predict", model=model, engine=engine, image=image, frames=timed + 2)["further"]


def _by_workers(context: Context, width: int) -> dict[str, list[tuple[int, float]]]:
    """Return the seconds of a stack shared by one worker and more, of one thread each, once they have started."""
    out, most = context.folder / "scaling.json", min(MOST_WORKERS, os.cpu_count() or 1)
    options = {"frames": context.settings.worker_frames, "size": width, "rounds": 1, "most": most, "out": out}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    context.run([sys.executable, SCALING, "--jobs", "restore", *arguments], "scaling")
    return {"lite, auto": [(row["processes"], row["seconds"]) for row in json.loads(out.read_text())]}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return no line: growth is a plot."""
    return []


def notes(results: dict[str, Any]) -> str:
    """Return the plot's legend."""
    width = results["counted"]
    return (
        "![Seconds against frame width, number of frames, neighbouring frames and workers]"
        "(images/benchmark_growth.png)\n\n"
        "From left to right: seconds of a further frame against its width; of a whole stack of "
        f"{width} px frames against their number, the calibration of 8-bit integers included; of a further {width} px "
        "frame against the number of neighbouring frames the network reads; and of a stack of "
        f"{results['worker_frames']} such frames against the number of Dask workers of one thread each. Grey lines: "
        "what grows with the number of pixels, what shrinks with the number of workers. Weights are random, but for "
        "the workers.\n"
    )
