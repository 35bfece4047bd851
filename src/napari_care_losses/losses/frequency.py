"""Losses of frequencies: all of them alike, or a band."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses.base import Loss
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_care_losses.models.unet import Prediction


@dataclass(frozen=True, kw_only=True)
class Fourier(Loss):
    r"""Mean modulus of the difference of the two-dimensional Fourier transforms.

    .. math:: L = \frac{1}{M N} \sum_{j,i} |\mathcal{F}(r)_{j,i} - \mathcal{F}(t)_{j,i}|

    over all frequencies, with restored :math:`r` and target :math:`t`. The transform is linear, so that only
    :math:`r - t` is transformed; the half spectrum with the conjugate columns counted twice gives the full mean. The
    transform is orthonormal: the loss of noise-like errors does not depend on the patch size.
    Source: Nguyen, Hagen, Ventura, section "Loss function modification".

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(Fourier()(Prediction(restored, None), target).item(), 4)
    0.125
    """

    name = "fft"
    title = "FFT"
    # the Fourier coefficients of a patch's noise are sums of many pixels': close to normal, of equal mean and median
    gives_mean = True

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        from napari_care_losses.losses.mean_absolute import mean_modulus

        return mean_modulus(prediction.mean - target)


@dataclass(frozen=True, kw_only=True)
class Bandpass(Loss):
    r"""Mean absolute error of the images passed through a difference of Gaussians.

    .. math:: L = \frac{1}{M N} \sum_{j,i} |(G_{\sigma_1} - G_{\sigma_2}) * (t - r)|_{j,i}

    with restored :math:`r` and target :math:`t`. Blurs reflect at the patch's edge (``d c b a | a b c d``). A
    difference of Gaussians does not respond to a constant: the loss leaves brightness and slow background free.
    Source: Nguyen, Hagen, Ventura, section "Loss function modification" (sigma 0.5 and 5 px).

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> target = torch.eye(16)[None, None]
    >>> brighter = Prediction(target + 0.5, None)
    >>> round(Bandpass()(brighter, target).item(), 4)  # a constant makes no difference
    0.0
    >>> Bandpass(sigma_large=8).free_above  # in pixels
    8.0
    """

    name = "bandpass"
    title = "Bandpass"

    sigma_small: float = parameter(
        0.5, "Small sigma", "Blur of the first Gaussian. Finer detail counts less.", unit="px", low=0, high=20
    )
    sigma_large: float = parameter(
        5.0,
        "Large sigma",
        "Blur of the second Gaussian. Coarser structure does not count; the restoration takes it from the input.",
        unit="px",
        low=0.5,
        high=50,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma_small >= self.sigma_large:
            raise ParameterError(
                f"sigma_small must be smaller than sigma_large, found {self.sigma_small:g} and {self.sigma_large:g} px."
            )

    @property
    def free_above(self) -> float | None:  # noqa: D102 - documented by the class
        return self.sigma_large

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return _mean_band(prediction.mean - target, self.sigma_small, self.sigma_large)


@dataclass(frozen=True, kw_only=True)
class FourierBandpass(Loss):
    r"""Weighted sum of the FFT and the bandpass loss.

    .. math:: L = w_{fft} L_{fft} + w_{band} L_{band}

    The FFT loss determines brightness and slow background, which the bandpass loss leaves free.
    Source: Nguyen, Hagen, Ventura, section "Future work", which proposes the combination.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(FourierBandpass()(Prediction(restored, None), target).item(), 4)
    0.125
    """

    name = "fft+bandpass"
    title = "FFT + bandpass"

    fft_weight: float = parameter(1.0, "FFT weight", "Weight of the FFT loss.", low=0.01, high=100)
    bandpass_weight: float = parameter(1.0, "Bandpass weight", "Weight of the bandpass loss.", low=0, high=100)
    sigma_small: float = Bandpass.field("sigma_small")
    sigma_large: float = Bandpass.field("sigma_large")

    def __post_init__(self) -> None:
        super().__post_init__()
        Bandpass(sigma_small=self.sigma_small, sigma_large=self.sigma_large)

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        from napari_care_losses.losses.mean_absolute import mean_modulus

        difference = prediction.mean - target
        band = _mean_band(difference, self.sigma_small, self.sigma_large)
        return self.fft_weight * mean_modulus(difference) + self.bandpass_weight * band


def _mean_band(images: Tensor, sigma_small: float, sigma_large: float) -> Tensor:
    """Return the mean absolute value of the difference of two Gaussian blurs of images (N, 1, Y, X)."""
    import torch

    from napari_care_losses.losses.mean_absolute import mean_absolute

    band = partial(_band, sigma_small=sigma_small, sigma_large=sigma_large)
    # a blur that reflects at the edge is its own transpose
    return mean_absolute(images, band, band, torch.mean)


def _band(images: Tensor, sigma_small: float, sigma_large: float) -> Tensor:
    """Return the difference of two Gaussian blurs of images (N, 1, Y, X)."""
    return _blurred(images, sigma_small) - _blurred(images, sigma_large)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur (..., Y, X) by a Gaussian: one matrix product along each axis, exact at the edges at any patch size."""
    rows, columns = (_blur_matrix(size, sigma, images.dtype, images.device) for size in images.shape[-2:])
    return rows @ images @ columns.mT


@lru_cache(maxsize=32)
def _blur_matrix(size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    import torch
    from scipy.ndimage import gaussian_filter1d

    matrix = gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect")
    # A matrix made in validation would be an inference tensor, which the next training steps cannot use.
    with torch.inference_mode(mode=False):
        return torch.as_tensor(matrix, dtype=dtype, device=device)
