"""Running tiles with OpenVINO on the CPU, in float32 or with 8-bit convolutions calibrated on the image."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import openvino

from napari_care_losses.compute.cores import threads_now
from napari_care_losses.compute.devices import compute_threads
from napari_care_losses.restoration.engines.base import Engine, Restored, as_batch
from napari_care_losses.restoration.engines.fidelity import against_float32, error_of, richest_part, similarity_of
from napari_care_losses.restoration.engines.int8 import EQUALIZATIONS, float_readings, quantize
from napari_care_losses.restoration.engines.openvino_graph import build_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.int8 import Reading

LEAST_SSIM = 0.998
"""Structural similarity to float32 that 8 bits keep on the part that is calibrated on; where they do not, less is
computed in 8 bits."""

WORTHWHILE = 1.8
"""So many times as fast as float32, 8 bits are worth what they cost."""

_TURNS = 3


@dataclass(frozen=True)
class OnnxGraph:
    """An ONNX graph of one input, a key of the cache."""

    data: bytes

    def build(self, shape: tuple[int, ...]) -> openvino.Model:
        """Return the graph for an input of one shape."""
        graph = openvino.Core().read_model(self.data)
        graph.reshape(list(shape))
        return graph


class _Graph:
    """A CARE network, equal to another one if model and calibration (`Quantization`) are, as a key of the cache."""

    def __init__(
        self,
        model: Model,
        ranges: dict[Reading, float] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        # Every calibration has the same ranges, but other weights.
        calibrated = model if weights is None else replace(model, arrays=weights)
        self._architecture, self._weights, self._ranges = model.card.care, calibrated.arrays, ranges
        self._key = (calibrated.digest(), tuple(sorted((ranges or {}).items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Graph) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def build(self, shape: tuple[int, ...], *, is_watched: bool = False) -> openvino.Model:
        """Return the graph for tiles of one shape."""
        return build_graph(self._architecture, self._weights, shape, ranges=self._ranges, is_watched=is_watched)


class OpenVinoEngine(Engine):
    """Runs tiles with OpenVINO in float32."""

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(model, device)
        self._graph = _Graph(model)
        # The compiled networks are shared by all engines of the process, requests must not be.
        self._requests: dict[tuple[int, ...], openvino.InferRequest] = {}
        self._threads = 0

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        shape, threads = tile.shape[-2:], threads_now(compute_threads())
        if threads != self._threads:
            # the results of the layers need memory only once
            self.close()
            self._threads = threads
        if shape not in self._requests:
            self._requests[shape] = make_request(self._graph, shape, threads)
        return _infer(self._requests[shape], tile)

    def close(self) -> None:
        """Release the memory of the layers' results; the compiled network stays in the cache."""
        for request in self._requests.values():
            # OpenVINO refuses while another engine runs this network, which then releases the memory itself.
            with suppress(RuntimeError):
                request.get_compiled_model().release_memory()
        self._requests.clear()


class Int8Engine(OpenVinoEngine):
    """Runs tiles with 8-bit convolutions, calibrated on the images; in float32 where rounding to 8 bits would hurt."""

    samples = 3

    def _prepare(self, images: Iterable[NDArray[np.float32]]) -> None:
        """Calibrate on the part of each image with most structure; note speed and loss on that of the first image.

        Of what may be read in 8 bits (`float_readings`), as much is as that part keeps `LEAST_SSIM` with; then the
        equalisation is chosen that restores it with the smallest error against float32.
        """
        card, weights = self.model.card, self.model.weights
        parts = [richest_part(image, card.care.block) for image in images]
        if not parts:
            return
        exact, part = self._graph, parts[0]
        largest = _largest_activations(exact, parts)
        expected = _Request(exact, part).restored()
        choices = []
        for in_float in float_readings(card.care):
            tried = []
            for equalization in EQUALIZATIONS:
                quantization = quantize(card.care, weights, largest, equalization=equalization, in_float=in_float)
                graph = _Graph(self.model, quantization.ranges, quantization.weights)
                restored = _Request(graph, part).restored()
                tried.append(_Calibrated(graph, restored, error_of(restored, expected)))
            best = min(tried, key=lambda each: each.error)
            choices.append((similarity_of(best.restored, expected), best))
            if choices[-1][0] >= LEAST_SSIM:
                break
        similarity, chosen = max(choices, key=lambda each: each[0])
        self._graph = chosen.graph
        self.note = _note(chosen.error, similarity, _speed_up(_Request(exact, part), _Request(chosen.graph, part)))


class _Request:
    """A network that restores one image again and again; not cached: most calibrations are tried once and dropped."""

    def __init__(self, graph: _Graph, image: NDArray[np.float32]) -> None:
        self._image = image
        compiled = _compile(graph.build(image.shape[-2:]), compute_threads())
        self._request = compiled.create_infer_request()

    def restored(self) -> NDArray[np.float32]:
        """Return the restored image."""
        return _infer(self._request, self._image)[0]

    def seconds(self) -> float:
        """Return how long restoring it takes now."""
        begun = time.perf_counter()
        _infer(self._request, self._image)
        return time.perf_counter() - begun


class _Calibrated(NamedTuple):
    """A calibration that was tried."""

    graph: _Graph
    restored: NDArray[np.float32]
    error: float
    """Mean squared error against float32, in normalised units."""


def _speed_up(exact: _Request, fast: _Request) -> float:
    """Return how many times as fast one is as the other; by turns, so that other load meets both."""
    times = [(exact.seconds(), fast.seconds()) for _ in range(_TURNS)]
    # the first turn takes memory
    slow, quick = (min(column) for column in zip(*times[1:], strict=True))
    return float(slow / quick)


def _note(error: float, similarity: float, speed_up: float) -> str:
    text = against_float32("8-bit engine", error, similarity, times_as_fast=speed_up, device="cpu")
    if speed_up < WORTHWHILE:
        text += " That is little for what it costs: the engine auto computes in float32."
    return text


@lru_cache(maxsize=8)
def _compiled(graph: _Graph | OnnxGraph, shape: tuple[int, ...], threads: int) -> openvino.CompiledModel:
    return _compile(graph.build(shape), threads)


def _compile(graph: openvino.Model, threads: int) -> openvino.CompiledModel:
    # float32 by name: on some CPUs the default is bfloat16. Threads stay unpinned: OpenVINO pins those of every process
    # to the same first cores, which several workers on one machine would then share.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(graph, "CPU", settings)


def make_request(
    graph: _Graph | OnnxGraph, shape: tuple[int, ...], threads: int | None = None
) -> openvino.InferRequest:
    """Return a new request to a compiled network, by default with as many threads as torch has."""
    return _compiled(graph, shape, threads or compute_threads()).create_infer_request()


def _infer(request: openvino.InferRequest, tile: NDArray[np.float32]) -> Restored:
    results = request.infer([as_batch(tile)], share_inputs=True)
    mean, *scale = (results[output][0, 0] for output in request.model_outputs)
    return mean, scale[0] if scale else None


def _largest_activations(graph: _Graph, images: list[NDArray[np.float32]]) -> dict[str, Tensor]:
    """Return by layer the largest value of every channel after its ReLU, over images of one shape."""
    # imported here: float32 needs no torch
    import torch

    watched = _compile(graph.build(images[0].shape[-2:], is_watched=True), compute_threads())
    found = [watched([as_batch(image)]) for image in images]
    return {
        output.any_name: torch.from_numpy(np.maximum.reduce([values[output] for values in found]))
        for output in watched.outputs
    }
