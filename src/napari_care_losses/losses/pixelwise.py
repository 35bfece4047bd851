"""Losses that compare pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses.base import Loss
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.models.unet import Prediction


@dataclass(frozen=True, kw_only=True)
class Laplace(Loss):
    r"""Negative log-likelihood of a Laplace distribution at every pixel, CARE's own loss.

    .. math:: L = \frac{1}{N} \sum_i \frac{|t_i - \mu_i|}{s_i} + \log s_i

    with restored mean :math:`\mu`, predicted scale :math:`s` and target :math:`t`. (CSBDeep adds the constant log 2.)
    Source: Weigert et al. 2018; Nguyen, Hagen, Ventura, section "Method".

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> mean, scale, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> Laplace()(Prediction(mean, scale), target).item()
    0.5
    """

    name = "laplace"
    title = "Laplace"
    is_pixelwise = True
    predicts_scale = True

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        if prediction.scale is None:
            raise ParameterError("The Laplace loss needs a network that predicts the scale; this one does not.")
        return ((target - prediction.mean).abs() / prediction.scale + prediction.scale.log()).mean()


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(Loss):
    r"""Mean absolute error, CSBDeep's default without the probabilistic head.

    .. math:: L = \frac{1}{N} \sum_i |t_i - r_i|

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(MeanAbsoluteError()(Prediction(restored, None), target).item(), 4)
    0.5
    """

    name = "mae"
    title = "Mean absolute error"
    is_pixelwise = True

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return (target - prediction.mean).abs().mean()


@dataclass(frozen=True, kw_only=True)
class MeanSquaredError(Loss):
    r"""Mean squared error.

    .. math:: L = \frac{1}{N} \sum_i (t_i - r_i)^2

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(MeanSquaredError()(Prediction(restored, None), target).item(), 4)
    0.25
    """

    name = "mse"
    title = "Mean squared error"
    is_pixelwise = True
    gives_mean = True

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return (target - prediction.mean).square().mean()


@dataclass(frozen=True, kw_only=True)
class Charbonnier(Loss):
    r"""Absolute error with a smooth minimum.

    .. math:: L = \frac{1}{N} \sum_i ((t_i - r_i)^2 + \epsilon^2)^{1/2}

    with restored :math:`r` and target :math:`t`. Errors much smaller than :math:`\epsilon` count by their square,
    larger ones by their size. The loss of a perfect restoration is :math:`\epsilon`.
    Source: Charbonnier, Blanc-Féraud, Aubert, Barlaud 1994, doi:10.1109/ICIP.1994.413553; in this form, with epsilon
    0.001, Lai, Huang, Ahuja, Yang 2017, arXiv:1704.03915.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.3)
    >>> round(Charbonnier(epsilon=0.4)(Prediction(restored, None), target).item(), 4)
    0.5
    """

    name = "charbonnier"
    title = "Charbonnier"
    is_pixelwise = True

    epsilon: float = parameter(
        1e-3,
        "Epsilon",
        "Error, in normalised units, below which errors count by their square, like in the mean squared error.",
        low=1e-6,
        high=10,
    )

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        return ((target - prediction.mean).square() + self.epsilon**2).sqrt().mean()
