"""Calibrating 8-bit convolutions on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture

EQUALIZATIONS = (0.65, 0.75, 0.85, 1.0)
"""How much of the difference between channels may be moved from the activations into the weights (see `quantize`).

No one serves all networks best: 0.75 on average, 1 or 0.65 with half its loss on some.
"""

RANGE = 1.0
"""Largest value of every 8-bit activation once the weights are equalised."""

DIMMEST = 1e-4
"""Channels whose largest value is a smaller part of the brightest's are treated as if it were this part."""


class Quantization(NamedTuple):
    """What an 8-bit graph is built from.

    Attributes
    ----------
    weights : dict of str to Tensor
        The network's parameters, equalised: in float32 they give the same network.
    ranges : dict of str to float
        By the name of a convolution, the largest value after its ReLU.
    """

    weights: dict[str, Tensor]
    ranges: dict[str, float]


def quantize(
    architecture: Architecture, weights: Mapping[str, Tensor], largest: Mapping[str, Tensor], *, equalization: float
) -> Quantization:
    r"""Return weights and ranges for 8-bit convolutions.

    Eight bits serve a channel well whose values fill the range of its tensor. ReLU commutes with positive factors, so
    channel c of an activation is divided by

    .. math:: s_c = m_c^{\alpha} / w_c^{1 - \alpha}

    with its largest value :math:`m_c` and the largest weight :math:`w_c` that any later convolution gives it, by
    dividing the weights that make it, and what reads it is multiplied by as much. Weights have a range for each
    filter, so they can bear the larger part of the difference.
    Source: Nagel et al. 2019, arXiv:1906.04721 (equalisation); Xiao et al. 2023, arXiv:2211.10438 (the exponent).

    Parameters
    ----------
    architecture : Architecture
        Shape of the network.
    weights : dict of str to Tensor
        Its parameters.
    largest : dict of str to Tensor, (channels,)
        By the name of a convolution, the largest value of every channel after its ReLU on the calibration image.
    equalization : float
        The exponent alpha, 0 to 1; one of `EQUALIZATIONS`.
    """
    equalized = {name: values.clone() for name, values in weights.items()}
    ranges = {}
    for name, readers in _readers(architecture, equalized).items():
        values = largest[name]
        channels = len(values)
        seen = _at_least(values)
        heard = _at_least(
            torch.stack(
                [equalized[f"{r}.weight"][:, at : at + channels].abs().amax((0, 2, 3)) for r, at in readers]
            ).amax(0)
        )
        scale = seen**equalization / heard ** (1 - equalization)
        # One range for all: what is upsampled and what skips a level meet without being rounded again.
        scale *= float((seen / scale).max()) / RANGE
        equalized[f"{name}.weight"] /= scale[:, None, None, None]
        equalized[f"{name}.bias"] /= scale
        for reader, at in readers:
            equalized[f"{reader}.weight"][:, at : at + channels] *= scale[None, :, None, None]
        ranges[name] = RANGE
    return Quantization(equalized, ranges)


def _readers(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, list[tuple[str, int]]]:
    """Return by convolution those that read its result in 8 bits, each with the first of its inputs that does."""
    depth = architecture.depth
    readers = {}
    for level in range(depth):
        below = f"down.{level + 1}.0" if level + 1 < depth else "middle.0"
        across = f"up.{depth - 1 - level}.0"
        upsampled = weights[f"{across}.weight"].shape[1] - weights[f"down.{level}.1.weight"].shape[0]
        readers[f"down.{level}.0"] = [(f"down.{level}.1", 0)]
        readers[f"down.{level}.1"] = [(below, 0), (across, upsampled)]
    readers["middle.0"], readers["middle.1"] = [("middle.1", 0)], [("up.0.0", 0)]
    for level in range(depth):
        readers[f"up.{level}.0"] = [(f"up.{level}.1", 0)]
        if level + 1 < depth:
            readers[f"up.{level}.1"] = [(f"up.{level + 1}.0", 0)]
    return readers


def _at_least(values: Tensor) -> Tensor:
    """Return positive values, none much smaller than the largest."""
    largest = float(values.max())
    return values.clamp_min(DIMMEST * largest if largest > 0 else 1.0)
