"""Recognising CARE networks in state dicts of others by the shapes of their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.errors import ParameterError
from napari_care_losses.models.architecture import NEAREST, Architecture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]


def care_candidates(
    tensors: Mapping[str, NDArray[np.float32]], order: Sequence[str], upsampling: str = NEAREST
) -> Iterator[tuple[Architecture, Weights]]:
    """Yield the CARE networks of one upsampling that a state dict may hold, whatever its names.

    Layers must be in the order in which they compute. Shapes do not show whether the input is added to the output, nor
    whether merging layers read upsampled or skipped features first: all four networks are yielded, and the package's
    test image decides. `order` holds the names in the state dict's own order.
    """
    shapes = [tensors[name].shape for name in order if name in tensors]
    values = [tensors[name] for name in order if name in tensors]
    if len(values) < 14 or any(len(shape) != (4, 1)[number % 2] for number, shape in enumerate(shapes)):
        return
    (filters, _, kernel, _), (depth, rest) = shapes[0], divmod(len(values) // 2 - 3, 4)
    if rest or len(values) % 2:
        return
    for residual in (True, False):
        try:
            architecture = Architecture(
                depth=depth, kernel_size=kernel, filters=filters, residual=residual, upsampling=upsampling
            )
        except ParameterError:
            return
        expected = architecture.weight_shapes()
        if list(expected.values()) != shapes:
            return
        weights = dict(zip(expected, values, strict=True))
        yield architecture, weights
        yield architecture, _skipped_first(architecture, weights)


def _skipped_first(architecture: Architecture, weights: Weights) -> Weights:
    """Return the weights of a network whose merging layers read skipped features first, in the order used here."""
    turned = dict(weights)
    for layer in architecture.layers():
        if layer.skip:
            name = f"{layer.name}.weight"
            skipped, upsampled = np.split(weights[name], [layer.skip_channels], axis=1)
            turned[name] = np.concatenate([upsampled, skipped], axis=1)
    return turned
