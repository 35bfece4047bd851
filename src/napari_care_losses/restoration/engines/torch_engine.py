"""Running tiles with torch, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_care_losses.compute.devices import compute_threads
from napari_care_losses.compute.precision import FLOAT32, computing_in
from napari_care_losses.restoration.engines.base import Engine, Restored, as_batch
from napari_care_losses.restoration.engines.graphics_card import Card, Recorded, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_care_losses.models.model import Model
    from napari_care_losses.models.unet import CareNetwork
    from napari_care_losses.restoration.engines.base import Pixels


class TorchEngine(Engine):
    """Runs tiles with torch: channels last, without gradients, in full float32 on every device.

    On CUDA neither half precision nor TensorFloat-32 is used: their rounding is larger than tiles may differ by.
    """

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        # it may have been loaded since they were set
        torch.set_num_threads(compute_threads())
        self._network = self._made(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._card = Card(torch.device(device)) if device == "cuda" else None
        self._recorded = Recorded(self._computed, record) if self._card else None
        self.gains_together, self.copies = device != "cpu", self._card is not None

    def _made(self, model: Model) -> CareNetwork:
        """Return the network."""
        return model.network()

    def placed(self, image: NDArray[np.float32]) -> Pixels:
        """Return a copy of an image (..., Y, X) on the graphics card; the image without a card, or room on it."""
        if self._card is None or image.nbytes > self.memory():
            return image
        try:
            return self._card.upload(np.ascontiguousarray(image))
        except RuntimeError:
            # tile by tile then, which may become smaller
            return image

    def _run(self, tile: Pixels) -> Restored:
        return self._run_together([tile])[0]

    def _run_together(self, tiles: Sequence[Pixels]) -> list[Restored]:
        return as_restored(self._results_in(FLOAT32, tiles))

    def _results_in(self, precision: str, tiles: Sequence[Pixels]) -> list[NDArray[np.float32]]:
        """Return what the network gives for tiles of one shape, in a precision."""
        with torch.inference_mode():
            images = [self._as_batch(tile) for tile in tiles]
            batch = images[0] if len(images) == 1 else torch.cat(images)
            results = (self._recorded or self._computed)(precision, batch)
            return self._card.download(results) if self._card else [result.cpu().numpy() for result in results]

    def _as_batch(self, tile: Pixels) -> Tensor:
        if isinstance(tile, torch.Tensor):
            return tile.reshape(1, -1, *tile.shape[-2:])
        return torch.from_numpy(as_batch(tile)).to(self.device)

    def _computed(self, precision: str, batch: Tensor) -> tuple[Tensor, ...]:
        """Return what the network gives for a batch, in float32: mean and, if it has one, scale."""
        with computing_in(precision, torch.device(self.device)):
            prediction = self._network(batch)
        return tuple(cast("Tensor", result).float() for result in prediction if result is not None)

    def close(self) -> None:
        """Release the memory that torch keeps on a graphics card for later."""
        if self._recorded:
            self._recorded.clear()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()


def as_restored(results: Sequence[NDArray[np.float32]]) -> list[Restored]:
    """Return by tile what a network gave for several: mean and, if it has one, scale, each (N, 1, Y, X)."""
    mean, *scale = results
    return [(image[0], scale[0][number, 0] if scale else None) for number, image in enumerate(mean)]
