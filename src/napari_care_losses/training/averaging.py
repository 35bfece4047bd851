"""A moving average of a network's weights, which generalises better than the last step's."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from napari_care_losses.models.unet import CareNetwork

DECAY = 0.999
"""Share of the average that a step leaves, once there were enough steps."""


class WeightAverage:
    r"""The exponential moving average of a network's weights over its training.

    .. math:: \bar w \leftarrow d \bar w + (1 - d) w, \quad d = \min(0.999, (1 + n) / (10 + n))

    after step n, so that the first steps are soon forgotten.
    Source: Polyak and Juditsky 1992, doi:10.1137/0330046 (averaging); Tarvainen and Valpola 2017, arXiv:1703.01780.

    Parameters
    ----------
    network : CareNetwork
        The network that is trained; the average starts with its weights.

    Attributes
    ----------
    network : CareNetwork
        A network with the averaged weights.
    """

    def __init__(self, network: CareNetwork) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._averaged = cast("list[torch.Tensor]", list(self.network.parameters()))
        self._trained = list(network.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after step `step`, counted from 1, into the average."""
        decay = min(DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, cast("list[torch.Tensor]", self._trained), 1 - decay)
