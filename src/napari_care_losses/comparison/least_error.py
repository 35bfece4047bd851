"""Chooses the setting of a denoiser by Stein's estimate of its error, on small windows of the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_care_losses.evaluation.without_truth.stein import probe
from napari_care_losses.images.sampling import windows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.images.noise.model import NoiseModel

Setting = TypeVar("Setting")

_WINDOW = 64


def least_error(
    image: NDArray[np.float64],
    noise: NoiseModel,
    across: int,
    denoise: Callable[[NDArray[np.float32]], Iterator[tuple[Setting, NDArray[np.floating]]]],
) -> tuple[float, Setting]:
    """Return the least estimated error, and the setting up to which it falls.

    Parameters
    ----------
    image : (Y, X) float64
        A noisy frame.
    noise : NoiseModel
        Its noise.
    across : int
        Windows of 64 px along each axis that are looked at: many small ones are most like the whole.
    denoise : callable
        From stabilised images (N, Y, X) to settings, from weak to strong, and the images denoised with each.
    """
    rng = np.random.default_rng(0)
    probes = [probe(window, noise, rng) for window in windows_of(image, _WINDOW, across)]
    stable = noise.stabilize([each for asked in probes for each in (asked.image, asked.changed)])
    tried = denoise(stable.astype(np.float32))
    best, least = None, math.inf
    for setting, denoised in tried:
        restored = noise.undo_stabilize(denoised)
        error = sum(
            asked.error(*pair)
            for asked, pair in zip(probes, zip(restored[::2], restored[1::2], strict=True), strict=True)
        )
        if best is not None and error > least:
            break
        best, least = setting, float(error)
    assert best is not None
    return least, best
