"""The CARE network: a U-Net equal to CSBDeep's, to the weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture

SCALE_FLOOR = 1e-3
"""Smallest Laplace scale the probabilistic head can give (CSBDeep's epsilon), in normalised units."""

WIDE = 32
"""First filters from which a network trains faster in the plain memory layout on processors without AVX-512.

With AVX-512 the care network trained 1.22 times as fast with channels last as in the plain layout.
"""


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
    Glorot-uniform kernels and zero biases as in CSBDeep. Upsampling and the convolution after it are one operation,
    exact but for rounding.

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
        for block in cast("Iterable[list[nn.Conv2d]]", self.down):
            features = _activated(block, features)
            skips.append(features)
            features = functional.max_pool2d(features, 2)
        features = _activated(self.middle, features)
        for merging, *rest in cast("Iterable[list[nn.Conv2d]]", self.up):
            features = _activated(rest, _merged(merging, features, skips.pop()))
        mean = self.mean(features)
        if self.architecture.residual:
            mean = mean + x
        scale = None if self.scale is None else functional.softplus(self.scale(features)) + SCALE_FLOOR
        return Prediction(mean, scale)


def training_layout(architecture: Architecture, device: torch.device) -> torch.memory_format:
    """Return the memory layout in which the network trains fastest."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    is_plain = device.type == "cpu" and architecture.filters >= WIDE and not has_avx512
    return torch.contiguous_format if is_plain else torch.channels_last


def upsampled_kernel(weight: Tensor) -> Tensor:
    """Return the kernel that does on the coarse grid what `weight` does after nearest-neighbour 2 x 2 upsampling.

    Both offsets 2a - p and 2a - p + 1 of a fine pixel of parity p lie in coarse pixel a, so their weights add up: a
    convolution with k' = (k + 1) / 2 taps a side and four outputs a filter, one for each pixel of the 2 x 2 block,
    in the order of ``pixel_shuffle``::

        conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, padding=k // 2)
        == pixel_shuffle(conv2d(x, upsampled_kernel(weight), padding=k' // 2), 2)

    where k' is even (k = 3, 7), without the outermost pixel on every side of the right-hand side. For an engine
    without a fast transposed convolution, which is how `CareNetwork` itself uses these sums.

    Parameters
    ----------
    weight : Tensor, (O, I, k, k)
        Odd k.

    Returns
    -------
    Tensor, (4 O, I, k', k')
    """
    outputs, inputs, size, _ = weight.shape
    sums = _pair_sums(weight)
    rows = torch.stack([sums[:, :, 1::2], sums[:, :, 0::2]], dim=1)
    both = torch.stack([rows[..., 1::2], rows[..., 0::2]], dim=2)
    return both.reshape(4 * outputs, inputs, (size + 1) // 2, (size + 1) // 2)


def _pair_sums(weight: Tensor) -> Tensor:
    """Add up neighbouring weights, (O, I, k, k) to (O, I, k + 1, k + 1): those that meet the same upsampled pixel."""
    rows = functional.pad(weight, (0, 0, 0, 1)) + functional.pad(weight, (0, 0, 1, 0))
    return functional.pad(rows, (0, 1)) + functional.pad(rows, (1, 0))


def _merged(layer: nn.Conv2d, coarse: Tensor, skip: Tensor) -> Tensor:
    """Convolve ``cat([upsampled, skip])`` without making it.

    Upsampling by repetition followed by k x k taps is a transposed convolution of stride 2 with (k + 1) x (k + 1)
    taps, of which a quarter meets a pixel: 9 multiply-adds where the plain form takes 25, 4 where it takes 9, and
    no enlarged copy in memory.
    """
    own, padding = coarse.shape[1], layer.kernel_size[0] // 2
    kernel = _pair_sums(layer.weight[:, :own]).flip(2, 3).transpose(0, 1)
    features = functional.conv_transpose2d(coarse, kernel, stride=2, padding=padding)
    features += functional.conv2d(skip, layer.weight[:, own:], layer.bias, padding=padding)
    return functional.relu(features, inplace=True)


def _activated(layers: Iterable[nn.Module], features: Tensor) -> Tensor:
    for layer in layers:
        features = functional.relu(layer(features), inplace=True)
    return features


def copied_weights(network: CareNetwork) -> dict[str, Tensor]:
    """Return copies of a network's weights on the processor, in the usual layout."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
