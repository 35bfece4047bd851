"""Calibrating 8-bit convolutions on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.models.architecture import HEAD, UNPACKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture, Layer

EQUALIZATIONS = (0.75, 1.0)
"""Exponents of `quantize` that are tried: how much of the difference between channels moves into the weights.

None is best for all networks.
"""

Reading = tuple[str, str]
"""The name of a layer, and of one whose result it reads."""

RANGE = 1.0
"""Largest value of every 8-bit activation once the weights are equalised."""

DIMMEST = 1e-4
"""Smallest largest value of a channel, relative to that of the brightest channel; smaller ones are taken for it."""


class Quantization(NamedTuple):
    """What an 8-bit graph is built from."""

    weights: dict[str, Tensor]
    """The network's parameters, equalised: in float32 they give the same network."""
    ranges: dict[Reading, float]
    """The largest value of what is read in 8 bits."""


def float_readings(architecture: Architecture) -> tuple[frozenset[Reading], ...]:
    """Return what is read in float32 in place of 8 bits, the fastest choice first, the closest to float32 last.

    Rounding hurts at full resolution, where it goes into the result pixel by pixel: what is coarser is averaged on its
    way. First all is read in 8 bits; then what the encoder makes at full resolution is not; then what the decoder makes
    there is not, either.

    Examples
    --------
    >>> from napari_care_losses.models.architecture import PRESETS
    >>> for readings in float_readings(PRESETS["lite"]):
    ...     print(sorted(readings))
    []
    [('down.0.1', 'down.0.0'), ('up.1.0', 'down.0.1')]
    [('down.0.1', 'down.0.0'), ('up.1.0', 'down.0.1'), ('up.1.1', 'up.1.0')]
    """
    last = architecture.depth - 1
    encoder = frozenset({("down.0.1", "down.0.0"), (f"up.{last}.0", "down.0.1")})
    return frozenset(), encoder, encoder | {(f"up.{last}.1", f"up.{last}.0")}


def quantize(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    largest: Mapping[str, Tensor],
    *,
    equalization: float,
    in_float: Collection[Reading] = (),
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
    in_float : collection of Reading
        What is not read in 8 bits; one of `float_readings`.
    """
    # imported here: other engines need no torch
    import torch

    equalized = {name: values.clone() for name, values in weights.items()}
    ranges: dict[Reading, float] = {}
    for name, readers in readers_of(architecture).items():
        in_8_bits = [reader for reader, _ in readers if (reader, name) not in in_float]
        if not in_8_bits:
            continue
        channels = len(largest[name])
        read = [
            equalized[f"{reader}.weight"][:, at : at + channels].abs().amax((0, 2, 3))
            for reader, at in readers
            if reader in in_8_bits
        ]
        activation, weight = _at_least(largest[name]), _at_least(torch.stack(read).amax(0))
        scale = activation**equalization / weight ** (1 - equalization)
        # One range for all: upsampled and skipped channels are then joined without being rounded again.
        scale *= float((activation / scale).max()) / RANGE
        equalized[f"{name}.weight"] /= scale[:, None, None, None]
        equalized[f"{name}.bias"] /= scale
        for reader, at in readers:
            equalized[f"{reader}.weight"][:, at : at + channels] *= scale[None, :, None, None]
        ranges |= {(reader, name): RANGE for reader in in_8_bits}
    return Quantization(equalized, ranges)


def may_read_8_bits(layer: Layer) -> bool:
    """Return whether a layer may compute in 8 bits: not the heads, nor what refines them at full resolution."""
    return layer.kind not in (HEAD, UNPACKING)


def readers_of(architecture: Architecture) -> dict[str, list[tuple[str, int]]]:
    """Return by layer those that may read its result in 8 bits, each with the first of its input channels that does."""
    readers: dict[str, list[tuple[str, int]]] = {layer.name: [] for layer in architecture.layers()}
    for layer in architecture.layers():
        for source, at in ((layer.source, 0), (layer.skip, layer.channels_in - layer.skip_channels)):
            if source in readers and may_read_8_bits(layer):
                readers[source].append((layer.name, at))
    return {name: found for name, found in readers.items() if found}


def _at_least(values: Tensor) -> Tensor:
    """Return positive values, none much smaller than the largest."""
    largest = float(values.max())
    return values.clamp_min(DIMMEST * largest if largest > 0 else 1.0)
