"""The noisy images alone: some pixels are hidden from the network, which is to tell what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_care_losses.errors import InputError
from napari_care_losses.images.noise.estimate import estimate_noise
from napari_care_losses.training.targets.base import (
    LEAST_CORRELATED,
    MOST_CORRELATED,
    Exposures,
    Target,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters

SPACING = 8
"""One pixel in each square of so many pixels a side is hidden, or one line in so many."""

RADIUS = 2
"""Pixels to each side of a hidden one whose median takes its place."""


class BlindSpots(Target):
    """The image itself, at pixels that are hidden from the network.

    Of each square of 8 x 8 pixels one, chosen at random, is replaced by the median of the pixels around it, itself left
    out (Krull et al. 2019, arXiv:1811.10980; the median: N2V2, Höck et al. 2022, arXiv:2211.08512). The loss is that of
    the hidden pixels, of which the network sees nothing but what is around them; so it learns their mean, whatever
    their noise is, if that of other pixels tells nothing of it.

    Where noise is shared along rows or columns, whole ones are hidden, so that the rest of a row does not tell its
    noise (after structN2V, Broaddus et al. 2020, doi:10.1109/ISBI45749.2020.9098336, whose masks are shorter).
    """

    name: ClassVar[str] = "blind_spots"

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        lines = parameters.line_noise if parameters.line_noise != "auto" else line_noise(share.pair)
        return HiddenPixels(share, parameters.patch_size, lines)

    def check_loss(self, loss: Loss) -> None:  # noqa: D102
        if not loss.is_pixelwise:
            raise InputError(
                f"Blind spots are single pixels, and the loss {loss.title} mixes pixels: choose the mean squared error "
                "(mse) or another loss that compares pixel by pixel, or the target 'self'."
            )

    def problem(self, pair: Pair) -> str:  # noqa: D102
        along_both = min(estimate_noise(pair.low).neighbour_correlations)
        if along_both <= MOST_CORRELATED:
            return ""
        return (
            f"the noise of neighbouring pixels correlates by {along_both:.1f} along rows and columns, so that pixels "
            "around a hidden one tell its noise. Train on images as the camera gave them, on images binned 2 x 2 or "
            "more, or on two shots of each field (target 'shot')."
        )

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        along_both = min(estimate_noise(pair.low).neighbour_correlations)
        if along_both <= LEAST_CORRELATED:
            return []
        return [
            f"The noise of neighbouring pixels correlates by {along_both:.1f}: some of it may be kept as structure."
        ]


def line_noise(pair: Pair) -> str:
    """Return whether the noise of the low image is shared along rows (horizontal), along columns (vertical) or none."""
    along_y, along_x = estimate_noise(pair.low).neighbour_correlations
    if max(along_y, along_x) <= LEAST_CORRELATED:
        return "none"
    return "horizontal" if along_x > along_y else "vertical"


class HiddenPixels:
    """Hides other pixels of an image in every patch."""

    def __init__(self, share: Share, patch_size: int, lines: str) -> None:
        self._size, self._lines = patch_size, lines
        self._image = share.pair.low[share.region]
        reach = np.arange(-RADIUS, RADIUS + 1)
        down, right = (offsets.ravel() for offsets in np.meshgrid(reach, reach, indexing="ij"))
        is_hidden = {"none": (down == 0) & (right == 0), "horizontal": down == 0, "vertical": right == 0}[lines]
        self._down, self._right = down[~is_hidden], right[~is_hidden]

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return an input patch (Y, X), and the target: NaN where nothing was hidden."""
        own = self._image[top : top + self._size, left : left + self._size].astype(np.float64)
        down, right = self._hidden(rng)
        rows, columns = (
            _reflected(start + places[:, None] + offsets, size)
            for start, places, offsets, size in (
                (top, down, self._down, self._image.shape[0]),
                (left, right, self._right, self._image.shape[1]),
            )
        )
        target = np.full_like(own, np.nan)
        target[down, right] = own[down, right]
        own[down, right] = np.median(self._image[rows, columns], axis=1)
        return own, target

    def _hidden(self, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows and columns of the pixels to hide in a patch."""
        starts = np.arange(0, self._size - SPACING + 1, SPACING)
        if self._lines == "none":
            down, right = np.repeat(starts, starts.size), np.tile(starts, starts.size)
            return down + rng.integers(SPACING, size=down.size), right + rng.integers(SPACING, size=down.size)
        lines, places = starts + rng.integers(SPACING, size=starts.size), np.arange(self._size)
        along, across = np.repeat(lines, self._size), np.tile(places, lines.size)
        return (along, across) if self._lines == "horizontal" else (across, along)


def _reflected(places: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Return places along an axis, those beyond its ends reflected."""
    reflected: NDArray[np.intp] = size - 1 - np.abs(size - 1 - np.abs(places))
    return reflected
