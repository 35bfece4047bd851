"""Running tiles through external networks: TorchScript with torch, ONNX with OpenVINO."""

from __future__ import annotations

import io
import warnings
from abc import abstractmethod
from functools import partial
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
    """Runs tiles through an external network; if it takes one size only, larger tiles in parts that overlap."""

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        assert isinstance(model.card.architecture, Program)
        self._program = model.card.architecture

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        program = self._program
        if not program.size or max(tile.shape) <= program.size:
            return self._whole(tile), None
        restored = np.empty_like(tile)
        height, width = tile.shape
        for part in plan_tiles((height, width), program, program.size):
            restored[part.target] = self._whole(tile[part.source])[part.inner]
        return restored, None

    def _whole(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._program.from_result(self._call(self._program.to_input(tile)), tile.shape)

    @abstractmethod
    def _call(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's result for an array."""


class TorchScriptEngine(ProgramEngine):
    """Runs a TorchScript program, on any device of torch."""

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        with warnings.catch_warnings():
            # deprecated, but packages hold such programs
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            try:
                self._module: Any = torch.jit.load(io.BytesIO(model.program()), map_location=device)  # type: ignore[no-untyped-call]
            except (RuntimeError, ValueError) as error:
                raise ComputeError(f"The program is damaged, or not of this version of torch: {error}") from error
        self._module.eval()
        # the author may have saved weights of float64 or float16, which take no float32
        floats = (values.dtype for values in self._module.parameters() if values.is_floating_point())
        self._dtype = next(floats, torch.float32)

    def _call(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result = self._module(torch.from_numpy(array).to(self.device, self._dtype))
        while isinstance(result, list | tuple) and len(result) == 1:
            (result,) = result
        if not isinstance(result, torch.Tensor):
            raise ComputeError(f"The network gave no tensor but {type(result).__name__}.")
        found: NDArray[np.float32] = result.detach().float().cpu().numpy()
        return found

    def close(self) -> None:
        """Release the memory that torch keeps on a graphics card for later."""
        if self.device == "cuda":
            torch.cuda.empty_cache()


class OnnxEngine(ProgramEngine):
    """Runs an ONNX graph with OpenVINO, on the CPU."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, "cpu")
        # loads OpenVINO, which may not be installed
        from napari_care_losses.restoration.engines.openvino_engine import OnnxGraph, make_request

        self._make_request = partial(make_request, OnnxGraph(model.program()))
        self._requests: dict[tuple[int, ...], Any] = {}

    def _call(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        if array.shape not in self._requests:
            self._requests[array.shape] = self._make_request(array.shape)
        request = self._requests[array.shape]
        results = request.infer([array], share_inputs=True)
        if len(request.model_outputs) != 1:
            raise ComputeError(f"The network gives {len(request.model_outputs)} results: expected one.")
        return np.array(results[request.model_outputs[0]], np.float32)

    def close(self) -> None:
        """Release the memory of the layers' results; the compiled network stays in the cache."""
        self._requests.clear()


def open_program(name: str, model: Model, device: str) -> ProgramEngine:
    """Return an engine for a model that is an external network; arguments as of `choose.open_engine`.

    Raises `InputError` if the program cannot be run by that engine or on that device, `ComputeError` if it is damaged.
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
        raise MissingLibraryError("ONNX graphs need OpenVINO, which is not installed: pip install openvino.")
    return OnnxEngine(model)
