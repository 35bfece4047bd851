"""What an engine that rounds costs: its difference to float32 on the part of an image with most structure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.evaluation.metrics import HIGH_PERCENTILE, LOW_PERCENTILE
from napari_care_losses.evaluation.structural_similarity import SMALLEST, ssim
from napari_care_losses.images.normalization import percentiles
from napari_care_losses.images.regions import best_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 512
"""Width in pixels of the part of an image on which engines are calibrated and compared with float32."""


def richest_part(image: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """Return the window of a padded image with the largest standard deviation, its size a multiple of `block`."""
    height, width = (min(WIDTH, size) // block * block for size in image.shape[-2:])
    steps = (height // 2, width // 2)
    window = best_window(
        image.shape[-2:], (height, width), steps, lambda region: float(image[..., *region.slices].std())
    )
    return image[..., *window.slices]


def error_of(restored: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the mean squared error of a restored part (Y, X) against that of float32."""
    return float(np.mean(np.square(restored - expected, dtype=np.float64)))


def similarity_of(restored: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the SSIM of a restored part (Y, X) to that of float32, scaled as a ground truth is; 0 for none."""
    if min(expected.shape) < SMALLEST:
        return 0.0
    low, high = percentiles(expected, LOW_PERCENTILE, HIGH_PERCENTILE)
    return ssim((restored - low) / (high - low), (expected - low) / (high - low)) if high > low else 0.0


def against_float32(engine: str, error: float, similarity: float, *, times_as_fast: float, device: str) -> str:
    """Return what the user should know of an engine.

    Given is what `error_of` and `similarity_of` gave, of normalised images.

    Examples
    --------
    >>> against_float32("bfloat16", 1e-6, 0.99996, times_as_fast=1.94, device="cuda")
    'bfloat16: 1.9x as fast as float32 on this graphics card, PSNR 60.0 dB, SSIM 1.0000 against float32 on this image.'
    """
    fidelity = -10 * math.log10(error) if error > 0 else math.inf
    compared = f", SSIM {similarity:.4f}" if similarity else ""
    return (
        f"{engine}: {times_as_fast:.1f}x as fast as float32 on this {'CPU' if device == 'cpu' else 'graphics card'}, "
        f"PSNR {fidelity:.1f} dB{compared} against float32 on this image."
    )
