"""The CARE network: a U-Net equal to CSBDeep's, to the weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional

from napari_care_losses.models.architecture import (
    BLENDING,
    HEAD,
    IMAGE,
    PACKING,
    POOLING,
    SCALE_FLOOR,
    UNPACKING,
    run_layers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_care_losses.models.architecture import Architecture, Layer

WIDE = 32
"""First filters from which a network trains faster in the plain memory layout on CPUs without AVX-512."""


class Prediction(NamedTuple):
    """What the network gives for a batch, (N, 1, Y, X) in normalised units."""

    mean: Tensor
    """The restored image."""
    scale: Tensor | None
    """Laplace scale of each pixel; None without the probabilistic head."""


class CareNetwork(nn.Module):
    """U-Net with a residual connection from input to output.

    Zero "same" padding, ReLU, 2 x 2 max pooling, nearest-neighbour upsampling if not bilinear, no normalisation layers;
    Glorot-uniform kernels and zero biases as in CSBDeep. Upsampling and the convolution after it are one operation,
    exact but for rounding.

    Parameters
    ----------
    architecture : Architecture
        Depth, kernel size, filters and heads.
    generator : torch.Generator, optional
        Random generator of the initial weights, for repeatable trainings.

    References
    ----------
    Weigert et al. 2018, doi:10.1038/s41592-018-0216-7; CSBDeep 0.8.2, ``csbdeep.internals.nets``.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.architecture import Architecture
    >>> network = CareNetwork(Architecture(filters=4, predicts_scale=True), torch.Generator().manual_seed(0))
    >>> mean, scale = network(torch.rand(1, 1, 16, 24))
    >>> mean.shape, scale.shape
    (torch.Size([1, 1, 16, 24]), torch.Size([1, 1, 16, 24]))
    >>> sum(weights.numel() for weights in network.parameters())
    14578
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self._layers = architecture.layers()
        self.down = nn.ModuleList(nn.ModuleList() for _ in range(architecture.depth))
        self.middle = nn.ModuleList()
        self.up = nn.ModuleList(nn.ModuleList() for _ in range(architecture.depth))
        for layer in self._layers:
            size = layer.kernel_size
            block, _, place = layer.name.rpartition(".")
            convolution = nn.Conv2d(layer.channels_in, layer.channels_out, size, padding=size // 2)
            self.get_submodule(block).add_module(place, convolution)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Prediction:
        """Restore a batch of normalised images (N, 1, Y, X), Y and X multiples of ``architecture.block``.

        With neighbouring frames these are its channels too, from the first to the last: (N, 1 + neighbours, Y, X).
        """
        own = self.architecture.own_channel
        if self.architecture.is_blind:
            between = (x[:, own - 1 : own] + x[:, own + 1 : own + 2]) / 2
            x = torch.cat([x[:, :own], between, x[:, own + 1 :]], dim=1)
        heads = [layer for layer in self._layers if layer.kind == HEAD]
        results = run_layers([layer for layer in self._layers if layer.kind != HEAD], x, self._convolved)
        mean, *scale = self._given(heads, results[heads[0].source])
        if self.architecture.residual:
            mean = mean + x[:, own : own + 1]
        return Prediction(mean, functional.softplus(scale[0]) + SCALE_FLOOR if scale else None)

    def _given(self, heads: list[Layer], features: Tensor) -> tuple[Tensor, ...]:
        """Return what the heads give, by one convolution: reading the features is most of the work."""
        convolutions = [cast("nn.Conv2d", self.get_submodule(head.name)) for head in heads]
        if len(convolutions) == 1:
            return (convolutions[0](features),)
        weight, bias = (
            torch.cat([getattr(convolution, name) for convolution in convolutions]) for name in ("weight", "bias")
        )
        # each head's pixels side by side, as the losses read them
        both = functional.conv2d(features, weight, bias, padding=heads[0].kernel_size // 2).contiguous()
        return both[:, :1], both[:, 1:]

    def _convolved(self, layer: Layer, features: Tensor, skip: Tensor | None) -> Tensor:
        convolution = cast("nn.Conv2d", self.get_submodule(layer.name))
        if skip is not None:
            if layer.kind == BLENDING:
                features = functional.interpolate(features, scale_factor=2.0, mode="bilinear")
            elif layer.kind == UNPACKING:
                features = functional.pixel_shuffle(features, 2)
            else:
                return _merged(convolution, features, skip)
            features = torch.cat([features, skip], dim=1)
        elif layer.kind == POOLING:
            features = functional.max_pool2d(features, 2)
        elif layer.kind == PACKING:
            features = functional.pixel_unshuffle(features, 2)
        return functional.relu(convolution(features), inplace=True)


def training_layout(architecture: Architecture, device: torch.device) -> torch.memory_format:
    """Return the memory layout in which the network trains fastest."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    is_plain = device.type == "cpu" and architecture.filters >= WIDE and not has_avx512
    return torch.contiguous_format if is_plain else torch.channels_last


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


def widened(weights: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return the weights of a network of one frame as those of one that reads its neighbours too.

    Those of the new channels are 0, so that it restores as before; if it is not to see the frame itself, as before from
    the mean of the two nearest. Weights of a network with as many neighbours are returned as they are.
    """
    made = dict(weights)
    for layer in architecture.layers():
        if IMAGE not in (layer.source, layer.skip):
            continue
        name, pixels = f"{layer.name}.weight", 4 if layer.kind == PACKING else 1
        kernel = weights[name]
        if kernel.shape[1] < layer.channels_in:
            # the channels of the image come last, after those of other layers
            before = layer.channels_in - pixels * architecture.channels_in
            own = before + pixels * architecture.own_channel
            wide = kernel.new_zeros(kernel.shape[0], layer.channels_in, *kernel.shape[2:])
            wide[:, :before] = kernel[:, :before]
            wide[:, own : own + pixels] = kernel[:, before:]
            made[name] = wide
    return made


def copied_weights(network: CareNetwork) -> dict[str, Tensor]:
    """Return copies of a network's weights on the CPU, in the plain layout."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
