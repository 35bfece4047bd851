"""The training losses: one class a loss, its fields the loss's parameters.

Every loss takes the network's `Prediction` and the clean patches, both normalised, and returns the mean over batch and
pixels. Adding a loss means adding a class here; forms, command line, experiments and contract tests iterate `LOSSES`.
The forms do so before anything is computed: torch is imported where a loss is called, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses.base import Loss, Objective
from napari_care_losses.losses.structural import MsSsimL1, Sobel, Ssim
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.models.unet import Prediction


@dataclass(frozen=True, kw_only=True)
class Laplace(Loss):
    r"""Negative log-likelihood of a Laplace distribution at every pixel, CARE's own loss.

    .. math:: L = \frac{1}{N} \sum_i \frac{|t_i - \mu_i|}{s_i} + \log s_i

    with restored mean :math:`\mu`, predicted scale :math:`s` and target :math:`t`. (CSBDeep adds the constant log 2.)
    Source: Weigert et al. 2018; Nguyen, Hagen, Ventura, section "Method".
    """

    name = "laplace"
    title = "Laplace"
    predicts_scale = True

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        if prediction.scale is None:
            raise ParameterError("The Laplace loss needs a network that predicts the scale; this one does not.")
        return ((target - prediction.mean).abs() / prediction.scale + prediction.scale.log()).mean()


@dataclass(frozen=True, kw_only=True)
class Fourier(Loss):
    r"""Mean modulus of the difference of the two-dimensional Fourier transforms.

    .. math:: L = \frac{1}{M N} \sum_{j,i} |\mathcal{F}(r)_{j,i} - \mathcal{F}(t)_{j,i}|

    over all frequencies, with restored :math:`r` and target :math:`t`. The transform is linear, so that of
    :math:`r - t` serves; its half spectrum with the conjugate columns counted twice equals the full mean. The
    transform is orthonormal, which keeps the size of noise-like errors independent of the patch size.
    Source: Nguyen, Hagen, Ventura, section "Loss function modification".
    """

    name = "fft"
    title = "FFT"

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return _mean_modulus(prediction.mean - target)


@dataclass(frozen=True, kw_only=True)
class Bandpass(Loss):
    r"""Mean absolute error of the images passed through a difference of Gaussians.

    .. math:: L = \frac{1}{M N} \sum_{j,i} |(G_{\sigma_1} - G_{\sigma_2}) * (t - r)|_{j,i}

    with restored :math:`r` and target :math:`t`. Blurs reflect at the patch's edge (``d c b a | a b c d``). A
    difference of Gaussians does not respond to a constant: the loss leaves brightness and slow background free.
    Source: Nguyen, Hagen, Ventura, section "Loss function modification" (sigma 0.5 and 5 px).
    """

    name = "bandpass"
    title = "Bandpass"

    sigma_small: float = parameter(
        0.5, "Small sigma", "Blur of the first Gaussian: detail finer than this counts less.", unit="px", low=0, high=20
    )
    sigma_large: float = parameter(
        5.0,
        "Large sigma",
        "Blur of the second Gaussian: structure coarser than this is free.",
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
        return _band(target - prediction.mean, self.sigma_small, self.sigma_large).abs().mean()


@dataclass(frozen=True, kw_only=True)
class FourierBandpass(Loss):
    r"""Weighted sum of the FFT and the bandpass loss.

    .. math:: L = w_{fft} L_{fft} + w_{band} L_{band}

    The FFT loss fixes brightness and slow background, which the bandpass loss leaves free.
    Source: Nguyen, Hagen, Ventura, section "Future work", which proposes the combination.
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
        difference = target - prediction.mean
        band = _band(difference, self.sigma_small, self.sigma_large).abs().mean()
        return self.fft_weight * _mean_modulus(difference) + self.bandpass_weight * band


@dataclass(frozen=True, kw_only=True)
class Adversarial(Loss):
    r"""The FFT loss, and a discriminator that learns during the training to tell restored from true patches.

    .. math:: L = L_{fft} + \lambda (1 - D(x, r))^2

    with noisy :math:`x`, restored :math:`r` and the discriminator's judgement :math:`D`, 1 for true;
    :math:`\lambda` is such that the second term pulls with a fixed part of the strength of the first. The FFT loss
    alone is reported and validated, and chooses the best weights. It leads because it fixes brightness and detail by
    itself, and of the losses that do it restored best; the discriminator is left with the look of what it averages.
    Restored detail may be plausible and untrue: measure on restorations of another loss.
    Source: Nguyen, Hagen, Ventura, section "Future work" (an adaptive loss); Ledig et al. 2017, arXiv:1609.04802; see
    `napari_care_losses.losses.discriminator`.
    """

    name = "gan"
    title = "FFT + adversarial (GAN)"

    adversarial_weight: float = parameter(
        0.3,
        "Adversarial weight",
        "Strength of the discriminator's pull relative to the FFT loss's: more is sharper and less true.",
        low=0,
        high=1,
    )
    discriminator_rate: float = parameter(
        1e-3, "Discriminator's learning rate", "Rate of the discriminator's own Adam.", low=1e-8, high=1, advanced=True
    )
    discriminator_filters: int = parameter(
        16, "Discriminator's filters", "Of its first convolution; the next have more.", low=4, high=256, advanced=True
    )

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return _mean_modulus(prediction.mean - target)

    def objective(self, *, device: torch.device, seed: int, team: Team | None = None) -> Objective:  # noqa: D102
        from napari_care_losses.losses.discriminator import AdversarialObjective

        return AdversarialObjective(self, device=device, seed=seed, team=team)


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(Loss):
    r"""Mean absolute error, CSBDeep's default without the probabilistic head.

    .. math:: L = \frac{1}{N} \sum_i |t_i - r_i|
    """

    name = "mae"
    title = "Mean absolute error"

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return (target - prediction.mean).abs().mean()


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss):
    r"""Mean squared error.

    .. math:: L = \frac{1}{N} \sum_i (t_i - r_i)^2
    """

    name = "mse"
    title = "Mean squared error"

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return (target - prediction.mean).square().mean()


LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        Laplace,
        Fourier,
        Bandpass,
        FourierBandpass,
        MsSsimL1,
        Ssim,
        Sobel,
        Adversarial,
        MeanAbsoluteError,
        MeanSquaredError,
    )
}
"""Every loss by its name, the paper's three first."""


def loss_class(name: str) -> type[Loss]:
    """Return the loss called `name`.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in LOSSES:
        raise ParameterError(f"There is no loss {name!r}; choose one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def _mean_modulus(difference: Tensor) -> Tensor:
    """Return the mean modulus over all frequencies of images (N, 1, Y, X)."""
    import torch

    columns = torch.fft.rfft2(difference, norm="ortho").abs().sum(dim=-2)
    conjugate = columns[..., 1 : (difference.shape[-1] + 1) // 2]
    total: Tensor = columns.sum() + conjugate.sum()
    return total / difference.numel()


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
    # Made while validating, it would be an inference tensor, of no use to the training steps that follow.
    with torch.inference_mode(mode=False):
        return torch.as_tensor(matrix, dtype=dtype, device=device)
