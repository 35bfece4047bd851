"""Losses of frequencies that weight each frequency by how wrong it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.losses.base import Loss
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.models.unet import Prediction


@dataclass(frozen=True, kw_only=True)
class FocalFrequency(Loss):
    r"""Mean squared difference of the Fourier transforms, weighted by its own size: the worst frequencies count most.

    .. math:: L = \frac{1}{M N} \sum_{j,i} w_{j,i} |\mathcal{F}(r)_{j,i} - \mathcal{F}(t)_{j,i}|^2

    over all frequencies, with restored :math:`r` and target :math:`t`. The weight :math:`w` of a frequency is the
    modulus of its difference, divided by the largest in the patch, to the power :math:`\alpha`; no gradient passes
    through it. The transform is orthonormal: with :math:`\alpha = 0` this is the mean squared error. Frequency zero
    counts like any other, so that the loss determines the brightness.
    Source: Jiang, Dai, Wu, Loy 2021, arXiv:2012.12821, with the defaults of the authors' code.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(FocalFrequency()(Prediction(restored, None), target).item(), 4)
    0.25
    """

    name = "focal-frequency"
    title = "Focal frequency"

    focal_alpha: float = parameter(
        1.0,
        "Focal alpha",
        "How much more the frequencies count that are restored worst. With 0, all count alike.",
        low=0,
        high=10,
    )

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        import torch

        from napari_care_losses.losses.mean_absolute import mean_over_frequencies

        difference = prediction.mean - target
        spectrum = torch.fft.rfft2(difference, norm="ortho")
        squares = spectrum.real.square() + spectrum.imag.square()
        weights = _focal_weights(squares.detach().sqrt(), self.focal_alpha)
        return mean_over_frequencies(weights * squares, difference)


@dataclass(frozen=True, kw_only=True)
class LogFocalFrequency(Loss):
    r"""Logarithm of the difference of the Fourier transforms, weighted by the difference of their logarithms.

    .. math:: L = \frac{1}{M N} \sum_{j,i} w_{j,i} \log(1 + |\mathcal{F}(r)_{j,i} - \mathcal{F}(t)_{j,i}|)

    over all frequencies, with restored :math:`r` and target :math:`t`. Let :math:`C(z) = z \log(1 + |z|) / |z|`, the
    logarithm of the modulus with the phase as it is. The weight :math:`w` of a frequency is the modulus of
    :math:`C(\mathcal{F}(r)) - C(\mathcal{F}(t))`, divided by the largest in the patch, to the power :math:`\alpha`; no
    gradient passes through it. The few strong frequencies of an image outweigh the many weak ones less than in the
    focal frequency loss. Frequency zero counts like any other, so that the loss determines the brightness.
    Source: after "Log Focal Frequency Loss for Bioimage Restoration", 2026, arXiv:2601.20878. Its abstract names the
    two parts, "adaptive spectral weighting from log-space differences" and "log-dampened error measurement". Its
    equations were not at hand, so their form here is our own: the phase is kept, so that a frequency whose phase alone
    is wrong has a weight too.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(LogFocalFrequency()(Prediction(restored, None), target).item(), 4)
    0.0687
    """

    name = "log-focal-frequency"
    title = "Log focal frequency"

    focal_alpha: float = FocalFrequency.field("focal_alpha")

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        import torch

        from napari_care_losses.losses.mean_absolute import mean_over_frequencies

        restored, true = (torch.fft.rfft2(images, norm="ortho") for images in (prediction.mean, target))
        with torch.no_grad():
            weights = _focal_weights((_compressed(restored) - _compressed(true)).abs(), self.focal_alpha)
        return mean_over_frequencies(weights * (restored - true).abs().log1p(), target)


def _focal_weights(sizes: Tensor, alpha: float) -> Tensor:
    """Return weights, at most 1, that grow with the sizes (N, 1, Y, X): each image has its own scale."""
    import torch

    # a perfect restoration has no largest difference to divide by
    largest = sizes.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(sizes.dtype).tiny)
    return (sizes / largest) ** alpha


def _compressed(spectrum: Tensor) -> Tensor:
    """Return a spectrum with the logarithm of 1 plus its modulus, and its phase as it is."""
    import torch

    modulus = spectrum.abs().clamp(min=torch.finfo(spectrum.real.dtype).tiny)
    return spectrum * (modulus.log1p() / modulus)
