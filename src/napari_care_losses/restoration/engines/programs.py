"""Running tiles through the networks of other tools: TorchScript with torch, ONNX with OpenVINO."""

from __future__ import annotations

import io
import warnings
from abc import abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_care_losses.compute.devices import choose_device
from napari_care_losses.errors import ComputeError, InputError, MissingLibraryError
from napari_care_losses.models.program import TORCHSCRIPT, Program
from napari_care_losses.restoration.engines.base import Engine, Restored
from napari_care_losses.restoration.tiles import plan_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model


class ProgramEngine(Engine):
    """Runs tiles through a foreign network; those larger than its only size in parts, with its margin."""

    def __init__(self, model: Model, device: torch.device) -> None:
        super().__init__(model, device)
        assert isinstance(model.card.architecture, Program)
        self._program = model.card.architecture

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        program = self._program
        if not program.size or max(tile.shape) <= program.size:
            return self._whole(tile), None
        made = np.empty_like(tile)
        height, width = tile.shape
        for part in plan_tiles((height, width), program, program.size):
            made[part.target] = self._whole(tile[part.source])[part.inner]
        return made, None

    def _whole(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._program.leaving(self._call(self._program.entering(tile)), tile.shape)

    @abstractmethod
    def _call(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network makes of an array."""


class TorchScriptEngine(ProgramEngine):
    """Runs a TorchScript program, on any device of torch."""

    def __init__(self, model: Model, device: torch.device) -> None:
        super().__init__(model, device)
        with warnings.catch_warnings():
            # deprecated, and what others' packages hold
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            try:
                self._module: Any = torch.jit.load(io.BytesIO(model.program()), map_location=device)  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError) as error:
                raise ComputeError(f"The program is damaged, or not of this version of torch: {error}") from error
        self._module.eval()

    def _call(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            made = self._module(torch.from_numpy(given).to(self.device))
        while isinstance(made, list | tuple) and len(made) == 1:
            (made,) = made
        if not isinstance(made, torch.Tensor):
            raise ComputeError(f"The network gave no tensor but {type(made).__name__}.")
        array: NDArray[np.float32] = made.detach().float().cpu().numpy()
        return array

    def close(self) -> None:
        """Give the memory torch keeps for later on a graphics card back to other programs."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class OnnxEngine(ProgramEngine):
    """Runs an ONNX graph with OpenVINO, on processors."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, torch.device("cpu"))
        from napari_care_losses.restoration.engines.openvino_engine import OnnxGraph

        self._graph = OnnxGraph(self._program.sha256, model.program())
        self._requests: dict[tuple[int, ...], Any] = {}

    def _call(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        from napari_care_losses.restoration.engines.openvino_engine import make_request

        if given.shape not in self._requests:
            self._requests[given.shape] = make_request(self._graph, given.shape)
        request = self._requests[given.shape]
        results = request.infer([given], share_inputs=True)
        if len(request.model_outputs) != 1:
            raise ComputeError(f"The network gives {len(request.model_outputs)} results: only one is understood.")
        return np.array(results[request.model_outputs[0]], np.float32)

    def close(self) -> None:
        """Give the memory between the layers back; the compiled network stays in the cache."""
        self._requests.clear()


def open_program(name: str, model: Model, device: str) -> ProgramEngine:
    """Return an engine for a model that is a foreign program.

    Parameters
    ----------
    name, model, device
        As `napari_care_losses.restoration.engines.base.open_engine` takes them.

    Raises
    ------
    InputError
        If the program cannot be run by that engine or on that device.
    ComputeError
        If it is damaged.
    """
    program = model.card.architecture
    assert isinstance(program, Program)
    is_torch = program.kind == TORCHSCRIPT
    if name not in ("auto", "torch" if is_torch else "openvino"):
        raise InputError(f"This model is a {program.kind} program, which the engine {name} does not run: choose auto.")
    if is_torch:
        return TorchScriptEngine(model, choose_device(device))
    if device not in ("auto", "cpu"):
        raise InputError(f"This model is an ONNX graph, which runs on the cpu, not on {device}: choose auto.")
    if find_spec("openvino") is None:
        raise MissingLibraryError("ONNX graphs are run by OpenVINO, which is not installed: pip install openvino.")
    return OnnxEngine(model)
