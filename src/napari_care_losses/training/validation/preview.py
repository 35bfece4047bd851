"""The preview: a fixed region of a validation image, restored repeatedly during a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import ScaledTruth, align, psnr, scale_truth
from napari_care_losses.evaluation.without_truth.estimated_psnr import estimate_psnr
from napari_care_losses.images.checks import countable
from napari_care_losses.images.neighbours import among
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.images.regions import best_window, sum_over
from napari_care_losses.restoration.low_band import noise_limited_sigma, tie_low_band
from napari_care_losses.training.progress import Preview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.pairs import Share
    from napari_care_losses.training.targets.base import Target

LARGEST = 256
"""Height and width of the region at most, in pixels."""

STRIDE = 16
"""Distance of the places looked at, in pixels."""


class PreviewRegion(NamedTuple):
    """What a preview shows besides the restoration."""

    low: NDArray[np.float32]
    """(Y, X), normalised as a restoration normalises it; sides are multiples of the network's block."""
    truth: ScaledTruth | None
    """The same region of the high exposure; None where that is noisy, or there is none."""
    around: tuple[NDArray[np.float32], ...] = ()
    """The same region of the neighbouring frames."""

    def given(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network is given for an image in the place of `low`: (Y, X), or (1 + neighbours, Y, X)."""
        return among(self.around, image)


def choose_view(shares: Sequence[Share], block: int, target: Target) -> PreviewRegion | None:
    """Return the region with the most signal of the first image that validates; None if none has contrast.

    Its sides are multiples of `block` pixels. Nothing is drawn at random: the choice is the same after a resumption,
    and does not change the training.
    """
    for share in (share for share in shares if share.validates):
        low, visible = share.pair.low[share.region], target.visible(share.pair)[share.region]
        height, width = (min(LARGEST, size) // block * block for size in low.shape)
        window = best_window(low.shape, (height, width), (STRIDE, STRIDE), sum_over(countable(visible))).slices
        grey_range = frame_range(share.pair.low, PercentileNormalization())
        try:
            truth = None if target.is_noisy else scale_truth(visible[window])
            around = () if share.pair.around is None else share.pair.around.low
            beside = tuple(grey_range.apply(image[share.region][window]) for image in around)
            return PreviewRegion(grey_range.apply(low[window]), truth, beside)
        except InputError:
            # without contrast there is nothing to see or to score
            continue
    return None


def make_preview(
    view: PreviewRegion, network: Callable[[NDArray[np.float32]], NDArray[np.float32]], loss: Loss
) -> Preview | None:
    """Return the preview of what a network makes of the region; None where that is not finite.

    What the loss leaves free is tied to the input, as a restoration does it. Without a truth, the PSNR is estimated.
    """

    def restore(low: NDArray[np.float32]) -> NDArray[np.float32]:
        restored = network(view.given(low))
        if loss.free_above is None or not np.isfinite(restored).all():
            return restored
        return tie_low_band(restored, low, noise_limited_sigma(low, loss.free_above))

    restored = restore(view.low)
    if not np.isfinite(restored).all():
        return None
    if view.truth is None:
        try:
            estimated = estimate_psnr(view.low, restore, estimate_noise(view.low)).psnr
        except InputError:
            estimated = math.nan
        return Preview(view.low, restored, None, math.nan, estimated)
    truth = view.truth.image
    aligned = align(restored, truth)
    return Preview(
        low=view.low,
        restored=aligned.astype(np.float32),
        truth=truth.astype(np.float32),
        low_psnr=psnr(align(view.low, truth), truth),
        restored_psnr=psnr(aligned, truth),
    )
