"""Calibrating 8-bit convolutions on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.models.architecture import HEAD, UNPACKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture, Layer

EQUALIZATIONS = (0.65, 0.75, 0.85, 1.0)
"""Exponents of `quantize` that are tried: how much of the difference between channels moves into the weights.

None is best for all networks.
"""

RANGE = 1.0
"""Largest value of every 8-bit activation once the weights are equalised."""

DIMMEST = 1e-4
"""Smallest largest value of a channel, relative to that of the brightest channel; smaller ones are taken for it."""


class Quantization(NamedTuple):
    """What an 8-bit graph is built from."""

    weights: dict[str, Tensor]
    """The network's parameters, equalised: in float32 they give the same network."""
    ranges: dict[str, float]
    """By the name of a layer, the largest value after its ReLU."""


def quantize(
    architecture: Architecture, weights: Mapping[str, Tensor], largest: Mapping[str, Tensor], *, equalization: float
) -> Quantization:
    r"""Return weights and ranges for 8-bit convolutions.

    Rounding to 8 bits costs a channel least if its values fill the range of the whole tensor. ReLU commutes with
    positive factors, so channel c of an activation is divided by

    .. math:: s_c = m_c^{\alpha} / w_c^{1 - \alpha}

    with its largest value :math:`m_c` and the largest weight :math:`w_c` by which a later layer multiplies it. The
    weights of the layer that makes the channel are divided by :math:`s_c`, those of the layers that read it are
    multiplied by it. Every filter of a layer has a weight range of its own, so weights lose less by unequal channels.
    Source: Nagel et al. 2019, arXiv:1906.04721 (equalisation); Xiao et al. 2023, arXiv:2211.10438 (the exponent).

    Parameters
    ----------
    architecture, weights
        Shape and parameters of the network.
    largest : dict of str to Tensor, (channels,)
        By the name of a layer, the largest value of every channel after its ReLU on the calibration image.
    equalization : float
        The exponent alpha, 0 to 1; one of `EQUALIZATIONS`.
    """
    # imported here: other engines need no torch
    import torch

    equalized = {name: values.clone() for name, values in weights.items()}
    ranges = {}
    for name, readers in _readers(architecture).items():
        channels = len(largest[name])
        read = [equalized[f"{reader}.weight"][:, at : at + channels].abs().amax((0, 2, 3)) for reader, at in readers]
        activation, weight = _at_least(largest[name]), _at_least(torch.stack(read).amax(0))
        scale = activation**equalization / weight ** (1 - equalization)
        # One range for all: upsampled and skipped channels are then joined without being rounded again.
        scale *= float((activation / scale).max()) / RANGE
        equalized[f"{name}.weight"] /= scale[:, None, None, None]
        equalized[f"{name}.bias"] /= scale
        for reader, at in readers:
            equalized[f"{reader}.weight"][:, at : at + channels] *= scale[None, :, None, None]
        ranges[name] = RANGE
    return Quantization(equalized, ranges)


def in_8_bits(layer: Layer) -> bool:
    """Return whether a layer may compute in 8 bits: not the heads, nor what refines them at full resolution."""
    return layer.kind not in (HEAD, UNPACKING)


def _readers(architecture: Architecture) -> dict[str, list[tuple[str, int]]]:
    """Return by layer those that read its result in 8 bits, each with the first of its input channels that does."""
    readers: dict[str, list[tuple[str, int]]] = {layer.name: [] for layer in architecture.layers()}
    for layer in architecture.layers():
        for source, at in ((layer.source, 0), (layer.skip, layer.channels_in - layer.skip_channels)):
            if source in readers and in_8_bits(layer):
                readers[source].append((layer.name, at))
    return {name: found for name, found in readers.items() if found}


def _at_least(values: Tensor) -> Tensor:
    """Return positive values, none much smaller than the largest."""
    largest = float(values.max())
    return values.clamp_min(DIMMEST * largest if largest > 0 else 1.0)
