"""Running tiles with torch in fewer digits than float32, for graphics cards that multiply so faster."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, cast

import torch

from napari_care_losses.compute.precision import BFLOAT16, FLOAT16, FLOAT32, LARGEST_FLOAT16, TF32, why_not
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.fidelity import against_float32, error_of, richest_part, similarity_of
from napari_care_losses.restoration.engines.torch_engine import TorchEngine, as_restored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_care_losses.models.architecture import Layer
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.base import Pixels, Restored

    Results = list[NDArray[np.float32]]

LARGEST_LAYER = LARGEST_FLOAT16 / 16
"""Largest result of a layer that is trusted in float16: what is added up on the way to it may be several times larger.

What overflows there need not show in the restored image: the ReLU of minus infinity is 0.
"""


class ReducedEngine(TorchEngine):
    """Multiplies in fewer digits, and measures on the images what that costs.

    Where the device has no such numbers, it restores in float32 and its note says why.
    """

    precision: ClassVar[str]

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        reason = why_not(self.precision, torch.device(device))
        self._is_reduced, self._cost, self._repeated = not reason, "", 0
        self.samples = 0 if reason else 1
        if reason:
            self.note = f"{reason}, so it was restored in float32."

    def _prepare(self, images: Iterable[NDArray[np.float32]]) -> None:
        """Note speed and error on the part of the first image with most structure."""
        for image in islice(images, 1):
            part = richest_part(image, self.architecture.block)
            expected, slow = self._tried(FLOAT32, part)
            restored, fast = self._tried(self.precision, part)
            if self._failed(restored):
                self._is_reduced = False
                self.note = f"The numbers of {self.precision} are too small for this image: it was restored in float32."
                return
            mean, exact = restored[0][0, 0], expected[0][0, 0]
            self._cost = self.note = against_float32(
                self.precision,
                error_of(mean, exact),
                similarity_of(mean, exact),
                times_as_fast=slow / fast,
                device=self.device,
            )

    def _tried(self, precision: str, part: NDArray[np.float32]) -> tuple[Results, float]:
        """Return what the network gives for a part of an image, and the seconds it takes."""
        for _ in range(2):
            # what is computed for the first time, or recorded
            self._results_in(precision, [part])
        begun = time.perf_counter()
        return self._results_in(precision, [part]), time.perf_counter() - begun

    def _run_together(self, tiles: Sequence[Pixels]) -> list[Restored]:
        if not self._is_reduced:
            return super()._run_together(tiles)
        results = self._results_in(self.precision, tiles)
        restored, failed = as_restored(results), self._failed(results)
        for number in failed:
            (restored[number],) = super()._run_together([tiles[number]])
        if failed:
            self._repeated += len(failed)
            which = "1 tile was" if self._repeated == 1 else f"{self._repeated} tiles were"
            self.note = f"{self._cost} {which} restored in float32: numbers of {self.precision} end at 65504.".strip()
        return restored

    def _failed(self, results: Results) -> list[int]:
        """Return the numbers of the tiles whose results are not to be trusted."""
        return []


class Tf32Engine(ReducedEngine):
    """Multiplies numbers of 11 binary digits (TensorFloat-32); nothing else changes."""

    precision = TF32


class Bfloat16Engine(ReducedEngine):
    """Multiplies and keeps numbers of 8 binary digits, as large as float32's; the restored image is float32."""

    precision = BFLOAT16


class Float16Engine(ReducedEngine):
    """Multiplies and keeps numbers of 11 binary digits up to 65504; the restored image is float32.

    The result of every layer is watched: where one may have overflowed, the tile is restored again in float32.
    """

    precision = FLOAT16

    def _made(self, model: Model) -> CareNetwork:
        network = _WatchedNetwork(model.card.care)
        network.load_state_dict(model.network().state_dict())
        return network.eval()

    def _computed(self, precision: str, batch: Tensor) -> tuple[Tensor, ...]:
        network = cast("_WatchedNetwork", self._network)
        network.watched = [] if precision == FLOAT16 else None
        results = super()._computed(precision, batch)
        return results if network.watched is None else (*results, torch.stack(network.watched).amax(0).float())

    def _results_in(self, precision: str, tiles: Sequence[Pixels]) -> Results:
        results = super()._results_in(precision, tiles)
        if precision == FLOAT16:
            self._largest = results.pop()
        return results

    def _failed(self, results: Results) -> list[int]:
        # NaN is not below anything
        return [number for number, largest in enumerate(self._largest) if not largest <= LARGEST_LAYER]


class _WatchedNetwork(CareNetwork):
    """The network; `watched` gets of every layer the largest value of each image of the batch."""

    watched: list[Tensor] | None = None

    def _convolved(self, layer: Layer, features: Tensor, skip: Tensor | None) -> Tensor:
        made = super()._convolved(layer, features, skip)
        if self.watched is not None:
            self.watched.append(made.detach().abs().amax((1, 2, 3)))
        return made
