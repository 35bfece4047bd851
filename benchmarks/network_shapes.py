"""Which network for live work: quality against cost of networks at half resolution, refined at full, beside `lite`.

    python benchmarks/network_shapes.py FOLDER [--seconds 120] [--only NAME ...] [--out shapes.json]

FOLDER holds the pairs of ``benchmarks/recipe.py`` (W2S). Each network learns from frames 0-59 of each structure for the
same time, by the robust recipe, and is scored on those of them that validate, so that a choice made here has not seen a
test frame. Results are added to the JSON file as they come; what it holds is not done again. At the end all networks
restore a frame in turns, alone in OpenVINO on one thread, and the table goes into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from page import write_part

from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.choose import open_engine
from recipe import ROBUST, STRUCTURES, Recipe, real_pairs, train_and_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.models.architecture import Architecture

LITE, LIVE = PRESETS["lite"], PRESETS["live"]
SHAPES: dict[str, Architecture] = {
    "`lite`": LITE,
    "`live`: 16 filters, refined by 8": LIVE,
    "16 filters, refined by 4": replace(LIVE, refinement=4),
    "16 filters, refined by 16": replace(LIVE, refinement=16),
    "12 filters, refined by 8": replace(LIVE, filters=12),
    "24 filters, refined by 8": replace(LIVE, filters=24),
    "24 filters, one level less, refined by 8": replace(LIVE, filters=24, depth=1),
    "16 filters, one level more, refined by 8": replace(LIVE, depth=3),
}
SIZE, ROUNDS = 512, 12


def main() -> None:
    """Train, score and time every network, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0, help="for each training")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--out", type=Path, default=Path("build/shapes.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    data = {name: real_pairs(options.folder, name) for name in STRUCTURES}
    for name in options.only:
        if name not in found:
            found[name] = trained_and_scored(SHAPES[name], data, options.seconds)
            options.out.write_text(json.dumps(found, indent=1))
            print(name, found[name], flush=True)
    write_part("network_shapes", table(found, frame_seconds([SHAPES[name] for name in found])))


def trained_and_scored(shape: Architecture, data: dict[str, Any], seconds: float) -> dict[str, float]:
    """Train on each structure for a time, and return the means over the validation images of the same structure."""
    recipe = Recipe(settings={**ROBUST, "budget": "minutes"}, network=shape)
    rows = [train_and_score(recipe, name, data, seconds / 60)[f"{name} -> {name}"] for name in STRUCTURES]
    return {of: float(np.mean([row[of] for row in rows])) for of in ("steps", "psnr", "ssim", "step_ms")}


def frame_seconds(shapes: Sequence[Architecture]) -> list[float]:
    """Return the seconds of a frame with each network: the median of turns."""
    image = np.random.default_rng(0).random((SIZE, SIZE), dtype=np.float32)
    engines = []
    for shape in shapes:
        network = CareNetwork(shape, torch.Generator().manual_seed(0))
        card = ModelCard(structure="other", loss="fft", architecture=shape)
        engines.append(open_engine("openvino", Model(card, network.state_dict()), "cpu"))
    taken: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for engine, times in zip(engines, taken, strict=True):
            begun = time.perf_counter()
            engine.restore(image)
            times.append(time.perf_counter() - begun)
    return [float(np.median(times[2:])) for times in taken]


def table(found: dict[str, dict[str, float]], seconds: Sequence[float]) -> str:
    """Return the table, in the order of `SHAPES`."""
    lines = [
        "| network | weights | steps | PSNR (dB) / SSIM | a frame of 512 px | as fast as `lite` |",
        "|---|---|---|---|---|---|",
    ]
    for (name, row), taken in zip(found.items(), seconds, strict=True):
        weights = sum(int(np.prod(shape)) for shape in SHAPES[name].weight_shapes().values())
        cells = [f"{weights:,}", f"{row['steps']:,.0f}", f"{row['psnr']:.2f} / {row['ssim']:.4f}"]
        cells += [f"{1000 * taken:.0f} ms", f"{seconds[0] / taken:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
