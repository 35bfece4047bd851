"""How cost grows with frame size, number of frames and depth of the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_care_losses.models.architecture import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

    from context import Context
    from rows import Row
    from workers.wire import Worker

TITLE = "Growth"

COUNTED = 512
"""Width of the frames whose number or network grows, in pixels."""
STEADY = 1024
"""Width of the largest frames restored twice, in pixels: the larger ones take long enough to be steady."""


def measure(context: Context) -> dict[str, Any]:
    """Restore ever larger frames, longer stacks, and with deeper networks."""
    settings = context.settings
    width: dict[str, list[tuple[int, float]]] = {}
    count: dict[str, list[tuple[int, float]]] = {}
    depth: dict[str, list[tuple[int, float]]] = {}
    counted = min(COUNTED, settings.frame)
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
        if "openvino" in engines:
            engines.remove("torch")
        for engine in engines:
            for preset, widths in settings.widths:
                name, model = f"{preset}, {engine}", context.random_model(preset)
                width[name] = [
                    (size, _further(ours, model, engine, context.image(size), 2 if size <= STEADY else 1))
                    for size in widths
                ]
                image = context.image(counted)
                count[name] = [
                    (n, ours.ask("predict", model=model, engine=engine, image=image, frames=n)["total"])
                    for n in settings.counts
                ]
                depth[name] = []
                for levels in settings.depths:
                    shape = replace(PRESETS[preset], depth=levels)
                    deep = context.random_model(f"{preset}-depth-{levels}", shape)
                    depth[name].append((levels, _further(ours, deep, engine, image, 2)))
    return {"width": width, "count": count, "depth": depth, "counted": counted}


def _further(ours: Worker, model: Path, engine: str, image: Path, turns: int) -> float:
    """Return the seconds of a further frame, the best of some turns."""
    return min(ours.ask("predict", model=model, engine=engine, image=image)["further"] for _ in range(turns))


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return no line: growth is a plot."""
    return []


def notes(results: dict[str, Any]) -> str:
    """Return the plot's legend."""
    width = results["counted"]
    return (
        "![Seconds against frame width, number of frames and depth](images/benchmark_growth.png)\n\n"
        "Left: seconds of a further frame against its width; the grey line grows with the number of pixels. Middle: "
        f"seconds of a whole stack of {width} px frames, the calibration of 8-bit integers included. Right: seconds of "
        f"a further {width} px frame with networks of other depths and random weights.\n"
    )
