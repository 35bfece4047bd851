"""Score total variation and non-local means, at their default strength, on pairs of stacks.

python benchmarks/baselines.py low.tif high.tif 60:69
"""

import sys
from pathlib import Path

import numpy as np

from napari_care_losses.core.baselines import BASELINES, restore_with
from napari_care_losses.core.metrics import score
from napari_care_losses.core.tiff import read_tiff


def main(low: str, high: str, frames: str) -> None:
    """Print the mean PSNR and SSIM over the frames."""
    start, stop = map(int, frames.split(":"))
    noisy, clean = (read_tiff(Path(path)).select(start, stop) for path in (low, high))
    for name, baseline in BASELINES.items():
        scores = [score(restore_with(name, image), truth) for image, truth in zip(noisy, clean, strict=True)]
        print(f"{baseline.title}: " + ", ".join(f"{key} {np.mean([s[key] for s in scores]):.3f}" for key in scores[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
