"""What the sections share: how often they do something, small images, and a line of progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_stack

if TYPE_CHECKING:
    from pathlib import Path

SIZE, SMALL_SIZE = 256, 64
"""Height and width of the images, in pixels, and of those in their place where there is little time."""

QUICK = {"preset": "lite", "patch_size": 16, "batch_size": 2, "validation_patches": 2}
"""Settings of trainings of which many are begun."""


def scaled(count: int, scale: float) -> int:
    """Return how often to do what is done `count` times at full scale; once at least."""
    return max(1, round(count * scale))


def size_of_images(scale: float) -> int:
    """Return the height and width of the images at a scale."""
    return SIZE if scale >= 0.1 else SMALL_SIZE


def images(count: int, size: int = SIZE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a low and a high exposure of smooth structure, uint16 arrays (N, Y, X)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    waves = rng.uniform(0.05, 0.3, (count, 4, 2))
    phases = rng.uniform(0, 6, (count, 4))
    signal = np.zeros((count, size, size))
    for field in range(count):
        for (along, across), phase in zip(waves[field], phases[field], strict=True):
            signal[field] += np.clip(np.sin(along * rows + across * columns + phase), 0, 1)
    return tuple((100 + rng.poisson(light * signal + 1)).astype(np.uint16) for light in (10, 400))


def write_images(folder: Path, count: int, size: int = SIZE, *, seed: int = 0) -> tuple[Path, Path]:
    """Write such images into a folder, as low.tif and high.tif; return their paths."""
    paths = folder / "low.tif", folder / "high.tif"
    for path, stack in zip(paths, images(count, size, seed=seed), strict=True):
        save_stack(path, Frames(stack, "TYX"))
    return paths


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, flush=True)
