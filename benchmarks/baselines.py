"""Score total variation and non-local means, as strong as they choose themselves and as is best on the truth.

    python benchmarks/baselines.py FOLDER

FOLDER holds ``w2s/``, whose frames 60-68 are scored, and other folders of pairs, ``NAME_low.tif`` and
``NAME_high.tif``. The table goes into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from page import write_part

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.io.tiff_reader import read_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FRAMES = (60, 69)
STRENGTHS = 2.0 ** np.linspace(-1.5, 1.5, 7)
"""Relative to the strength of least estimated error."""


def main(folder: str) -> None:
    """Score every pair, and write the table."""
    lines = [
        "| pair | input | " + " | ".join(f"{each.title} | best strength" for each in BASELINES.values()) + " |",
        "|---" * (2 + 2 * len(BASELINES)) + "|",
    ]
    for name, pairs in sets(Path(folder)):
        cells = [_shown([score(low, high) for low, high in pairs])]
        furthest = []
        for baseline in BASELINES:
            tried = [[score(restore_with(baseline, low, strength=s), high) for low, high in pairs] for s in STRENGTHS]
            # the best strength of each image, against which its own choice stands
            best = [max(scores, key=lambda one: one["psnr"]) for scores in zip(*tried, strict=True)]
            chosen = tried[len(STRENGTHS) // 2]
            cells += [_shown(chosen), _shown(best)]
            furthest.append(max(b["psnr"] - c["psnr"] for b, c in zip(best, chosen, strict=True)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], "furthest behind the best:", *(f"{gap:.2f} dB" for gap in furthest), flush=True)
    write_part("baselines", "\n".join(lines))


def sets(folder: Path, *, every_frame: bool = False) -> Iterator[tuple[str, list[tuple[NDArray[Any], NDArray[Any]]]]]:
    """Yield the name of each set of pairs, and its pairs; of W2S those of `FRAMES` alone unless all are asked for."""
    for low in sorted(folder.glob("*/*_low.tif"), key=lambda path: (path.parent.name != "w2s", path)):
        stacks = [read_tiff(path) for path in (low, low.with_name(low.name.replace("_low", "_high")))]
        is_w2s = low.parent.name == "w2s" and not every_frame
        images = [stack.select(*FRAMES) if is_w2s else stack for stack in stacks]
        name = low.name.removesuffix("_low.tif")
        label = f"W2S {name}, frames {FRAMES[0]}-{FRAMES[1] - 1}" if is_w2s else f"{low.parent.name}, {name}"
        yield label, list(zip(*images, strict=True))


def _shown(scores: list[dict[str, float]]) -> str:
    psnr, ssim = (np.mean([one[name] for one in scores]) for name in ("psnr", "ssim"))
    return f"{psnr:.2f} / {ssim:.3f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
