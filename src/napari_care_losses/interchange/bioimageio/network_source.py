"""The CARE network as a bioimage.io package holds it: this file needs torch alone.

A U-Net of convolutions with zero "same" padding, ReLU, 2 x 2 max pooling and upsampling, with a residual connection
from input to output (Weigert et al. 2018, doi:10.1038/s41592-018-0216-7; CSBDeep 0.8.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE_FLOOR = 1e-3


class CareUNet(nn.Module):
    """The CARE network.

    Parameters
    ----------
    depth : int
        Number of times the image is halved; sizes must be multiples of ``2**depth``.
    kernel_size : int
        Width of every convolution in pixels, odd.
    filters : int
        Filters of the first convolution.
    residual : bool
        Whether the input is added to the output.
    predicts_scale : bool
        Whether a second head gives the Laplace scale of every pixel.
    upsampling : str
        "nearest" or "bilinear".
    neighbours : int
        Number of frames around the frame that are channels of the input too, half of them before it.
    is_blind : bool
        Whether the mean of the two nearest neighbours takes the place of the frame itself.
    refinement : int
        0, or the filters at full resolution after a network at half resolution; sizes must then be multiples of
        ``2**(depth + 1)``.
    """

    def __init__(
        self,
        depth: int,
        kernel_size: int,
        filters: int,
        residual: bool,
        predicts_scale: bool,
        upsampling: str = "nearest",
        neighbours: int = 0,
        is_blind: bool = False,
        refinement: int = 0,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.upsampling = upsampling
        self.own = neighbours // 2
        self.is_blind = is_blind

        def convolutions(channels: int, *widths: int) -> nn.ModuleList:
            pairs = zip((channels, *widths), widths, strict=False)
            return nn.ModuleList(nn.Conv2d(a, b, kernel_size, padding=kernel_size // 2) for a, b in pairs)

        widths = [filters * 2**level for level in range(depth + 1)]
        after = [filters * 2 ** max(0, level - 1) for level in range(depth + 1)]
        entering = [(4 if refinement else 1) * (1 + neighbours), *widths]
        self.down = nn.ModuleList(convolutions(entering[level], widths[level], widths[level]) for level in range(depth))
        self.middle = convolutions(entering[depth], widths[depth], after[depth])
        self.up = nn.ModuleList(
            convolutions(after[level + 1] + widths[level], widths[level], after[level])
            for level in reversed(range(depth))
        )
        self.refines = refinement > 0
        if self.refines:
            self.features = nn.Conv2d(after[0], 2 * refinement, 1)
            self.refined = nn.Conv2d(refinement // 2 + 1 + neighbours, refinement, 3, padding=1)
        last = (refinement, 1, 3, 1, 1) if self.refines else (after[0], 1, 1)
        self.mean = nn.Conv2d(*last)
        self.scale = nn.Conv2d(*last) if predicts_scale else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Restore normalised images (N, 1 + neighbours, Y, X); return them, and the scale where it is predicted."""
        own = self.own
        if self.is_blind:
            between = (x[:, own - 1 : own] + x[:, own + 1 : own + 2]) / 2
            x = torch.cat([x[:, :own], between, x[:, own + 1 :]], dim=1)
        features, skips = functional.pixel_unshuffle(x, 2) if self.refines else x, []
        for block in self.down:
            features = _activated(block, features)
            skips.append(features)
            features = functional.max_pool2d(features, 2)
        features = _activated(self.middle, features)
        for block in self.up:
            coarse = functional.interpolate(features, scale_factor=2.0, mode=self.upsampling)
            features = _activated(block, torch.cat([coarse, skips.pop()], dim=1))
        if self.refines:
            shuffled = functional.pixel_shuffle(functional.relu(self.features(features)), 2)
            features = functional.relu(self.refined(torch.cat([shuffled, x], dim=1)))
        mean: Tensor = self.mean(features)
        if self.residual:
            mean = mean + x[:, own : own + 1]
        if self.scale is None:
            return mean
        return mean, functional.softplus(self.scale(features)) + SCALE_FLOOR


def _activated(block: nn.Module, features: Tensor) -> Tensor:
    for layer in block.children():
        features = functional.relu(layer(features))
    return features
