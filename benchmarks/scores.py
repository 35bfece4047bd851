"""Measure what the scores of a frame cost that Restore shows: PSNR and SSIM of input and restored image.

    python benchmarks/scores.py [512 2048]

Times are the CPU's, of all threads together, and those of the clock; each the least of five. Beside them stands what
scikit-image takes for the same values, and how far they differ. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_care_losses.evaluation.metrics import MAIN_METRICS, METRICS, scale_truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROUNDS = 5

Values = list[float]


def images(width: int) -> tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.uint16]]:
    """Return an input, what was restored from it, and its ground truth."""
    rng = np.random.default_rng(0)
    truth = 100 + 20_000 * gaussian_filter(rng.random((width, width), np.float32), 3)
    restored = truth + rng.normal(0, 100, truth.shape)
    return rng.poisson(truth / 50).astype(np.uint16), restored.astype(np.float32), truth.astype(np.uint16)


def ours(width: int) -> Values:
    """Return PSNR and SSIM of input and restored image, as the viewer computes them."""
    low, restored, high = IMAGES[width]
    truth = scale_truth(high)
    matched = [truth.match(image, aligned=True) for image in (low, restored)]
    return [METRICS[name].of_checked(image, truth.image) for image in matched for name in MAIN_METRICS]


def of_scikit_image(width: int) -> Values:
    """Return the same by numpy and scikit-image."""
    low, restored, high = IMAGES[width]
    bottom, top = np.percentile(high, (0.1, 99.9))
    truth = (high - bottom) / (top - bottom)
    found = []
    for image in (low.astype(np.float64), restored.astype(np.float64)):
        slope = np.cov(image.ravel(), truth.ravel(), bias=True)[0, 1] / image.var()
        aligned = slope * (image - image.mean()) + truth.mean()
        found.append(peak_signal_noise_ratio(truth, aligned, data_range=1))
        found.append(
            structural_similarity(
                aligned, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
            )
        )
    return found


def timed(compute: Callable[[int], Values], width: int) -> tuple[float, float, Values]:
    """Return the least CPU and clock time of some calls, in ms, and the values."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time(), time.perf_counter()
        values = compute(width)
        taken.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    of_cpu, of_clock = (1e3 * min(each) for each in zip(*taken, strict=True))
    return of_cpu, of_clock, values


def main(*widths: str) -> None:
    """Measure frames of these widths."""
    found: dict[str, float] = {}
    for width in map(int, widths or ("512", "2048")):
        IMAGES[width] = images(width)
        of_cpu, of_clock, values = timed(ours, width)
        peer_cpu, peer_clock, expected = timed(of_scikit_image, width)
        found |= {
            f"cpu_ms_{width}": round(of_cpu, 1),
            f"ms_{width}": round(of_clock, 1),
            f"times_as_fast_as_scikit_image_{width}": round(peer_clock / of_clock, 1),
            f"share_of_its_cpu_time_{width}": round(of_cpu / peer_cpu, 3),
            f"largest_difference_{width}": float(np.abs(np.subtract(values, expected)).max()),
        }
    print(json.dumps(found))


IMAGES: dict[int, tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.uint16]]] = {}

if __name__ == "__main__":
    main(*sys.argv[1:])
