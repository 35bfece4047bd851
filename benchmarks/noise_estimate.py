"""Estimate noise of known variance and correlation on simulated fields, and that of real pairs; say how far off it is.

    python benchmarks/noise_estimate.py FOLDER

FOLDER holds folders of pairs, ``NAME_low.tif`` and ``NAME_high.tif``. The tables go into ``docs/explanation/noise.md``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from baselines import sets
from page import write_part
from scipy.ndimage import gaussian_filter

from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import draw_structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel

PAGE = Path("docs/explanation/noise.md")
PHOTONS = (1, 3, 10, 30, 100, 300, 1000)
GAIN, OFFSET, READ = 2.0, 100.0, 1.0
SHOTS = 25
"""Shots from which the variance of clipped noise is taken."""


class Image(NamedTuple):
    """A noisy image, and what is true of it."""

    noisy: NDArray[Any]
    brightness: NDArray[np.float64]
    variance: NDArray[np.float64]
    neighbours: float
    pixels: float


def camera(electrons: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Record electrons (Y, X)."""
    rng = np.random.default_rng(seed)
    return GAIN * (rng.poisson(electrons) + rng.normal(0, READ, electrons.shape)) + OFFSET


def shared(electrons: NDArray[np.float64], sigma: tuple[float, float]) -> Image:
    """Blur the image after it was recorded."""
    unit = np.zeros((65, 65))
    unit[32, 32] = 1
    kernel = gaussian_filter(unit, sigma, truncate=6)
    power = float(np.square(kernel).sum())
    axis = int(np.argmax(sigma))
    variance = GAIN**2 * (gaussian_filter(electrons, np.array(sigma) / 2**0.5) + READ**2) * power
    brightness = gaussian_filter(GAIN * electrons + OFFSET, sigma)
    neighbours = float((kernel * np.roll(kernel, 1, axis)).sum() / power)
    noisy = np.rint(gaussian_filter(camera(electrons), sigma, truncate=6))
    return Image(noisy, brightness, variance, neighbours, 1 / power)


def rows(electrons: NDArray[np.float64]) -> Image:
    """Give each row an offset, of half the noise's standard deviation."""
    variance = GAIN**2 * (electrons + READ**2)
    offsets = np.random.default_rng(1).normal(0, 0.5 * variance.mean() ** 0.5, (len(electrons), 1))
    return Image(np.rint(camera(electrons) + offsets), GAIN * electrons + OFFSET, variance + offsets.var(), 0, 1)


def stretched(electrons: NDArray[np.float64], ends: tuple[float, float]) -> Image:
    """Stretch the image to 8 bits between two of its percentiles."""
    low, high = np.percentile(camera(electrons), ends)
    shots = [np.clip(np.rint((camera(electrons, i) - low) / (high - low) * 255), 0, 255) for i in range(SHOTS)]
    return Image(shots[0].astype(np.uint8), np.mean(shots, 0), np.var(shots, 0, ddof=1), 0, 1)


KINDS: dict[str, Callable[[NDArray[np.float64]], Image]] = {
    "white": lambda electrons: shared(electrons, (0, 0)),
    **{
        f"blurred, sigma {sigma} px": lambda electrons, sigma=sigma: shared(electrons, (sigma, sigma))
        for sigma in (0.4, 0.6, 0.8, 1.0, 1.2)
    },
    **{
        f"blurred along x, sigma {sigma} px": lambda electrons, sigma=sigma: shared(electrons, (0, sigma))
        for sigma in (0.5, 0.8)
    },
    "rows with offsets": rows,
    "8 bits, percentiles 0.1 to 99.9": lambda electrons: stretched(electrons, (0.1, 99.9)),
    "8 bits, percentiles 20 to 99": lambda electrons: stretched(electrons, (20, 99)),
}


def main(folder: str) -> None:
    """Measure, and write both tables."""
    lights = {}
    for name in ("actin", "mitochondria", "dendra"):
        light = blur(draw_structure(name, (512, 512), np.random.default_rng(3)), Microscope()).astype(np.float64)
        lights[name] = light / np.percentile(light, 99.9)
    lines = [
        f"| noise | {' | '.join(f'{count:,}' for count in PHOTONS)} | neighbours | pixels that vary as one |",
        "|---" * (len(PHOTONS) + 3) + "|",
    ]
    for kind, make in KINDS.items():
        errors, neighbours, pixels = [], [], []
        for photons in PHOTONS:
            images = [make(photons * light) for light in lights.values()]
            found = [estimate_noise(image.noisy) for image in images]
            errors.append([error(*pair) for pair in zip(found, images, strict=True)])
            neighbours += [noise.correlation[0][1] for noise in found]
            pixels += [noise.correlated_pixels for noise in found]
        cells = [f"{min(each):+.0%} to {max(each):+.0%}" for each in errors]
        correlation = f"{images[0].neighbours:.2f}: {min(neighbours):.2f} to {max(neighbours):.2f}"
        alike = f"{images[0].pixels:.1f}: {min(pixels):.1f} to {max(pixels):.1f}"
        lines.append(f"| {kind} | {' | '.join(cells)} | {correlation} | {alike} |")
        print(lines[-1], flush=True)
    write_part("noise simulated", "\n".join(lines), PAGE)
    lines = [
        "| pair | standard deviation | neighbours along y, x | with the ground truth | seconds |",
        "|---" * 5 + "|",
    ]
    for name, pairs in sets(Path(folder)):
        off, alone, beside, took = [], [], [], []
        for low, high in pairs:
            begun = time.perf_counter()
            alone.append(estimate_noise(low))
            took.append(time.perf_counter() - begun)
            beside.append(estimate_noise(low, high))
            off.append(float(np.sqrt(alone[-1].variance(low).mean() / beside[-1].variance(low).mean())) - 1)
        cells = [", ".join(f"{each:.2f}" for each in correlations(noises)) for noises in (alone, beside)]
        lines.append(f"| {name} | {min(off):+.0%} to {max(off):+.0%} | {' | '.join(cells)} | {np.median(took):.2f} |")
        print(lines[-1], flush=True)
    write_part("noise real", "\n".join(lines), PAGE)


def error(noise: NoiseModel, image: Image) -> float:
    """Return by how much the standard deviation is off, that of the mean variance of the image."""
    return float(np.sqrt(noise.variance(image.brightness).mean() / image.variance.mean())) - 1


def correlations(noises: list[NoiseModel]) -> NDArray[np.float64]:
    """Return the mean correlation of neighbours along y and along x."""
    return np.array([(noise.correlation[1][0], noise.correlation[0][1]) for noise in noises]).mean(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
