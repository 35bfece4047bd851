"""Running tiles with torch, on any device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from napari_care_losses.compute.devices import compute_threads
from napari_care_losses.restoration.engines.base import Engine, Restored, as_batch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model


class TorchEngine(Engine):
    """Runs tiles with torch: channels last, without gradients, in full float32 on every device.

    On CUDA neither half precision nor TensorFloat-32 is used: their rounding is larger than tiles may differ by.
    """

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        # it may have been loaded since they were set
        torch.set_num_threads(compute_threads())
        self._network = model.network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        with torch.inference_mode(), _exact(self.device):
            batch = torch.from_numpy(as_batch(tile)).to(self.device)
            prediction = self._network(batch)
            return _to_numpy(prediction.mean), None if prediction.scale is None else _to_numpy(prediction.scale)

    def close(self) -> None:
        """Release the memory that torch keeps on a graphics card for later."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()


def _exact(device: str) -> AbstractContextManager[None]:
    """Return a context in which convolutions on CUDA multiply in float32."""
    if device != "cuda":
        return nullcontext()
    cudnn = torch.backends.cudnn
    exact: AbstractContextManager[None] = cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )
    return exact


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor[0, 0].float().cpu().numpy()
    return array
