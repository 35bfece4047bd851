"""Score total variation and non-local means at their default strength, and the best blur, on pairs of stacks.

    python benchmarks/baselines.py low.tif high.tif 60:69

The strengths were calibrated on every sixth of the frames 0-59 of the W2S stacks and on the High Low pairs; the width
of the Gaussian blur is the one that scores best against the truth.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.io.tiff_reader import read_tiff

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIGMAS = (0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)


def main(low: str, high: str, frames: str) -> None:
    """Print the mean PSNR and SSIM over the frames."""
    start, stop = map(int, frames.split(":"))
    noisy, clean = (list(read_tiff(Path(path)).select(start, stop)) for path in (low, high))

    def mean_scores(restore: Callable[[NDArray[Any]], NDArray[Any]]) -> tuple[float, float]:
        scores = [score(restore(image), truth) for image, truth in zip(noisy, clean, strict=True)]
        return float(np.mean([s["psnr"] for s in scores])), float(np.mean([s["ssim"] for s in scores]))

    rows = {baseline.title: mean_scores(partial(restore_with, name)) for name, baseline in BASELINES.items()}
    blurs = {sigma: mean_scores(partial(blurred, sigma)) for sigma in SIGMAS}
    best = max(blurs, key=lambda sigma: blurs[sigma])
    rows[f"Gaussian blur, sigma {best:g} px"] = blurs[best]
    for title, (psnr, ssim) in rows.items():
        print(f"{title}: PSNR {psnr:.2f} dB, SSIM {ssim:.3f}")


def blurred(sigma: float, image: NDArray[Any]) -> NDArray[Any]:
    """Return the image blurred by a Gaussian of `sigma` pixels."""
    return gaussian_filter(image.astype(np.float32), sigma)


if __name__ == "__main__":
    main(*sys.argv[1:])
