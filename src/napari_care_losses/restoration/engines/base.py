"""What runs a tile through a network: torch on any device, OpenVINO on processors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from napari_care_losses.compute.devices import choose_device
from napari_care_losses.compute.memory import free_memory, require_memory
from napari_care_losses.errors import ComputeError, InputError
from napari_care_losses.models.program import Program
from napari_care_losses.restoration.tiles import working_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model

MEMORY_SHARE = 0.25
MEMORY_CAP = {"cpu": 768 << 20, "mps": 2 << 30, "cuda": 4 << 30}
"""Part of the free memory that a tile may take, and the bytes beyond which larger tiles gain nothing."""

Restored = tuple["NDArray[np.float32]", "NDArray[np.float32] | None"]
"""Restored tile and its Laplace scale, float32 arrays (Y, X); no scale from models without one."""


class Engine(ABC):
    """Runs tiles through a model.

    Attributes
    ----------
    model : Model
        The model.
    device : torch.device
        Where it runs.
    note : str
        What the user should know of this engine's work; may be empty.
    samples : int
        Number of images that `prepare` wants to see.
    """

    samples = 0
    _limits: ClassVar[dict[str, int]] = {}

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model, self.device, self.note = model, device, ""
        self._restored: set[tuple[int, ...]] = set()

    def restore(self, tile: NDArray[np.float32]) -> Restored:
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
            If the device runs out of memory or fails, or so little memory is left that it would crash.
        """
        if tile.shape not in self._restored:
            require_memory(0, "restoring", "allow this program more memory")
        with self._failures(f"a tile of {tile.shape[0]} x {tile.shape[1]} px"):
            restored = self._run(tile)
        self._restored.add(tile.shape)
        return restored

    def prepare(self, images: Iterable[NDArray[np.float32]]) -> None:
        """Look at `samples` of the images to be restored, normalised, of shape (Y, X), before the first tile.

        Raises
        ------
        ComputeError
            If the device runs out of memory or fails.
        """
        if self.samples:
            with self._failures("the calibration"):
                self._prepare(images)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Translate the libraries' errors: the viewer's workers drop a `RuntimeError` in silence."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            self.close()
            raise ComputeError(
                f"The {self.device.type} device failed on {what}: {error} "
                "If memory ran out, close other programs or choose a smaller tile size."
            ) from error

    @abstractmethod
    def _run(self, tile: NDArray[np.float32]) -> Restored:
        """Do what `restore` says; errors of the library may escape."""

    def _prepare(self, images: Iterable[NDArray[np.float32]]) -> None:  # noqa: B027 - most need nothing
        """Do what `prepare` says; errors of the library may escape."""

    def close(self) -> None:  # noqa: B027 - nor hold anything
        """Give working memory back; the engine stays usable."""

    def memory(self) -> int:
        """Return the bytes that a tile may take on this device now."""
        kind = self.device.type
        return min(int(MEMORY_SHARE * _free_memory(self.device)), self._limits.get(kind, MEMORY_CAP[kind]))

    def remember_tile(self, width: int) -> None:
        """Take no more memory than square tiles of `width` pixels need, on this device and in this process."""
        kind, needed = self.device.type, working_memory(self.model.card.architecture, width)
        self._limits[kind] = min(needed, self._limits.get(kind, MEMORY_CAP[kind]))


class TorchEngine(Engine):
    """Runs tiles with torch: channels last, without gradients, in full float32 on every device.

    On CUDA neither half precision nor TensorFloat-32 is let in: 4e-4 of the range is more than tiles may differ by.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        super().__init__(model, device)
        self._network = model.network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        with torch.inference_mode(), _exact(self.device):
            batch = torch.from_numpy(np.ascontiguousarray(tile))[None, None].to(self.device)
            prediction = self._network(batch)
            return _to_numpy(prediction.mean), None if prediction.scale is None else _to_numpy(prediction.scale)

    def close(self) -> None:
        """Give the memory torch keeps for later on a graphics card back to other programs."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def open_engine(name: str, model: Model, device: str = "auto") -> Engine:
    """Return an engine for a model.

    Parameters
    ----------
    name : str
        One of `napari_care_losses.restoration.parameters.ENGINES`. OpenVINO runs on processors only; where the
        package is not installed torch stands in, and the engine's note says so if it was asked for by name.
    model : Model
        The model.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.

    Raises
    ------
    InputError
        If the device does not exist or the engine cannot run on it.
    """
    if isinstance(model.card.architecture, Program):
        from napari_care_losses.restoration.engines.programs import open_program

        return open_program(name, model, device)
    on_processor = device == "cpu" or (device == "auto" and choose_device().type == "cpu")
    if name.startswith("openvino") and device not in ("auto", "cpu"):
        raise InputError(
            f"The engine {name} runs on the cpu, not on {device}: choose the engine torch, or that device."
        )
    wants_openvino = name.startswith("openvino") or (name == "auto" and on_processor)
    if wants_openvino and find_spec("openvino") is not None:
        # Installed is not yet usable: a system library that it needs may be missing.
        with suppress(ImportError, OSError):
            from napari_care_losses.restoration.engines.openvino_engine import Int8Engine, OpenVinoEngine

            return Int8Engine(model) if name == "openvino-int8" else OpenVinoEngine(model)
    engine = TorchEngine(model, choose_device(device))
    if name.startswith("openvino"):
        engine.note = "OpenVINO is not usable here, so torch restored instead (pip install openvino)."
    return engine


def _exact(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which convolutions on CUDA multiply in float32."""
    if device.type != "cuda":
        return nullcontext()
    cudnn = torch.backends.cudnn
    exact: AbstractContextManager[None] = cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )
    return exact


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_memory()


def _to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor[0, 0].float().cpu().numpy()
    return array
