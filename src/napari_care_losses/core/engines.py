"""How a tile is run through a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_care_losses.core.errors import ComputeError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.core.model import Model

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    InputError
        If the name is unknown or this machine has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available.get(name, False):
        usable = ", ".join(device for device, is_there in available.items() if is_there)
        raise InputError(f"There is no device {name!r} here; choose auto or one of: {usable}.")
    return torch.device(name)


class TorchEngine:
    """Runs tiles through a model with torch: channels last, without gradients, half precision on CUDA.

    Parameters
    ----------
    model : Model
        The model.
    device : str
        One of `DEVICES`.
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        self.device = choose_device(device)
        self._half = self.device.type == "cuda"
        self._network = model.network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, tile: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Restore one tile.

        Parameters
        ----------
        tile : float32 array (Y, X)
            Normalised; Y and X multiples of the network's block.

        Returns
        -------
        mean, scale : float32 array (Y, X)
            Restored tile and its Laplace scale, the latter None for models without one.

        Raises
        ------
        ComputeError
            If the device runs out of memory or fails.
        """
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.float16, enabled=self._half):
                batch = torch.from_numpy(np.ascontiguousarray(tile))[None, None].to(self.device)
                prediction = self._network(batch)
                return _to_numpy(prediction.mean), None if prediction.scale is None else _to_numpy(prediction.scale)
        except (RuntimeError, MemoryError) as error:
            raise ComputeError(
                f"The {self.device.type} device failed on a tile of {tile.shape[0]} x {tile.shape[1]} px: {error} "
                "If memory ran out, choose a smaller tile size."
            ) from error


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor[0, 0].float().cpu().numpy()
    return array
