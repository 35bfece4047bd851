"""The loss of a Laplacian pyramid: bands of an octave each, and what is coarser than all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.losses.base import Loss
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

    from napari_care_losses.models.unet import Prediction

_KERNEL = np.array([1, 4, 6, 4, 1]) / 16
"""Burt and Adelson's weights with a = 3/8."""


@dataclass(frozen=True, kw_only=True)
class LaplacianPyramid(Loss):
    r"""Mean absolute error of each level of a Laplacian pyramid, summed over the levels.

    .. math:: L = \sum_k \frac{1}{N_k} \sum_i |B_k(t - r)_i|

    with restored :math:`r` and target :math:`t`. Level :math:`B_k` is :math:`G_k` less the next, :math:`G_{k+1}`,
    enlarged to its size; the coarsest, the fourth by default, is its :math:`G_k` itself. :math:`G_0` is the image, and
    :math:`G_{k+1}` every second pixel of :math:`G_k` after a blur by the weights 1, 4, 6, 4, 1 (of 16) along each axis;
    the same weights enlarge. Images of any size are mirrored about the pixel at their edge (``d c b | a b c d``). Each
    level counts by the mean over its own :math:`N_k` pixels, so that coarse structure counts as much as fine detail.
    The coarsest level is not a band but all that is coarser, frequency zero included: the loss determines brightness
    and slow background, and the restoration takes no low band from the input.
    Source: the pyramid of Burt, Adelson 1983, doi:10.1109/TCOM.1983.1095851; as a loss Bojanowski, Joulin, Lopez-Paz,
    Szlam 2018, arXiv:1707.05776. That the levels count alike is our choice.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    >>> round(LaplacianPyramid()(Prediction(restored, None), target).item(), 4)  # in the coarsest level only
    0.5
    """

    name = "laplacian-pyramid"
    title = "Laplacian pyramid"

    levels: int = parameter(
        4,
        "Levels",
        "Levels of the Laplacian pyramid, the coarsest included; each has half the resolution.",
        low=2,
        high=8,
    )

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        total: Tensor = sum(level.abs().mean() for level in _levels(target - prediction.mean, self.levels))  # type: ignore[assignment]
        return total


def _levels(images: Tensor, count: int) -> Iterator[Tensor]:
    """Yield the levels of the pyramid of images (N, 1, Y, X), the finest first."""
    for _ in range(count - 1):
        matrices = [_resampling(size, images.dtype, images.device) for size in images.shape[-2:]]
        (reduce_rows, expand_rows), (reduce_columns, expand_columns) = matrices
        coarser = reduce_rows @ images @ reduce_columns.mT
        yield images - expand_rows @ coarser @ expand_columns.mT
        images = coarser
    yield images


@lru_cache(maxsize=64)
def _resampling(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the matrices that halve an axis of so many pixels, and that enlarge it to that size again."""
    import torch
    from scipy.ndimage import correlate1d

    blur = correlate1d(np.eye(size), _KERNEL, axis=0, mode="mirror")
    # every second pixel is a zero before the blur: each pixel is divided by the weights that fell on the others
    expand = blur[:, ::2] / blur[:, ::2].sum(axis=1, keepdims=True)
    # Matrices made in validation would be inference tensors, which the next training steps cannot use.
    with torch.inference_mode(mode=False):
        return tuple(torch.as_tensor(matrix, dtype=dtype, device=device) for matrix in (blur[::2], expand))  # type: ignore[return-value]
