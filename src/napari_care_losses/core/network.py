"""The CARE network: a U-Net equal to CSBDeep's, to the weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.core.architecture import Architecture

SCALE_FLOOR = 1e-3
"""Smallest Laplace scale the probabilistic head can give (CSBDeep's epsilon), in normalised units."""


class Prediction(NamedTuple):
    """What the network says of a batch.

    Attributes
    ----------
    mean : Tensor, (N, 1, Y, X)
        Restored image in normalised units.
    scale : Tensor, (N, 1, Y, X), or None
        Laplace scale of each pixel in the same units; None without the probabilistic head.
    """

    mean: Tensor
    scale: Tensor | None


class CareNetwork(nn.Module):
    """U-Net with a residual connection from input to output.

    Zero "same" padding, ReLU, 2 x 2 max pooling, nearest-neighbour upsampling, no normalisation layers;
    Glorot-uniform kernels and zero biases as in CSBDeep.

    Parameters
    ----------
    architecture : Architecture
        Depth, kernel size, filters and heads.
    generator : torch.Generator, optional
        Source of the initial weights, for repeatable trainings.

    References
    ----------
    Weigert et al. 2018, doi:10.1038/s41592-018-0216-7; CSBDeep 0.8.2, ``csbdeep.internals.nets``.
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        first, kernel, depth = architecture.filters, architecture.kernel_size, architecture.depth

        def convolutions(channels: int, *widths: int) -> nn.ModuleList:
            layers = nn.ModuleList()
            for width in widths:
                layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
                channels = width
            return layers

        self.down = nn.ModuleList()
        channels = 1
        for level in range(depth):
            width = first * 2**level
            self.down.append(convolutions(channels, width, width))
            channels = width
        channels_out = first * 2 ** max(0, depth - 1)
        self.middle = convolutions(channels, first * 2**depth, channels_out)
        self.up = nn.ModuleList()
        for level in reversed(range(depth)):
            width = first * 2**level
            channels = channels_out + width
            channels_out = first * 2 ** max(0, level - 1)
            self.up.append(convolutions(channels, width, channels_out))
        self.mean = nn.Conv2d(channels_out, 1, 1)
        self.scale = nn.Conv2d(channels_out, 1, 1) if architecture.predicts_scale else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Prediction:
        """Restore a batch of normalised images.

        Parameters
        ----------
        x : Tensor, (N, 1, Y, X)
            Y and X are multiples of ``architecture.block``.
        """
        features, skips = x, []
        for block in self.down:
            features = _activated(block, features)
            skips.append(features)
            features = functional.max_pool2d(features, 2)
        features = _activated(self.middle, features)
        for block in self.up:
            upsampled = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = _activated(block, torch.cat([upsampled, skips.pop()], dim=1))
        mean = self.mean(features)
        if self.architecture.residual:
            mean = mean + x
        scale = None if self.scale is None else functional.softplus(self.scale(features)) + SCALE_FLOOR
        return Prediction(mean, scale)


def upsampled_kernel(weight: Tensor) -> Tensor:
    """Return the kernel that does on the coarse grid what `weight` does after nearest-neighbour 2 x 2 upsampling.

    Both offsets 2a - p and 2a - p + 1 of a fine pixel of parity p lie in coarse pixel a, so their weights add up: a
    convolution with k' = (k + 1) / 2 taps a side and four outputs a filter, one for each pixel of the 2 x 2 block,
    in the order of ``pixel_shuffle``::

        conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, padding=k // 2)
        == pixel_shuffle(conv2d(x, upsampled_kernel(weight), padding=k' // 2), 2)

    where k' is even (k = 3, 7), without the outermost pixel on every side of the right-hand side.

    Parameters
    ----------
    weight : Tensor, (O, I, k, k)
        Odd k.

    Returns
    -------
    Tensor, (4 O, I, k', k')
    """
    outputs, inputs, size, _ = weight.shape
    rows = functional.pad(weight, (0, 0, 0, 1)) + functional.pad(weight, (0, 0, 1, 0))
    rows = torch.stack([rows[:, :, 1::2], rows[:, :, 0::2]], dim=1)
    both = functional.pad(rows, (0, 1)) + functional.pad(rows, (1, 0))
    both = torch.stack([both[..., 1::2], both[..., 0::2]], dim=2)
    return both.reshape(4 * outputs, inputs, (size + 1) // 2, (size + 1) // 2)


def _activated(layers: nn.Module, features: Tensor) -> Tensor:
    for layer in layers.children():
        features = functional.relu(layer(features), inplace=True)
    return features
