"""What is special to NVIDIA's graphics cards: copies in a stream of their own, and networks recorded once a shape."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Run = Callable[[str, Tensor], tuple[Tensor, ...]]
    """Computes a batch in a precision."""
    Replay = Callable[[Tensor], tuple[Tensor, ...]]
    """Computes a batch of one shape in one precision."""

RECORDED_PIXELS = 1 << 20
"""Pixels of a batch up to which starting the kernels one by one takes longer than they compute."""

MOST_RECORDINGS = 2


class Recorded:
    """Runs a network by recordings of it, one for each precision and shape of batches; plainly where that fails.

    The first batch of a shape is computed plainly: a recording takes longer than it saves once. What is returned is
    overwritten by the next call.

    Parameters
    ----------
    run : callable
        Computes a batch.
    record : callable
        Given `run`, a precision and a batch, returns what computes such batches faster. It may raise `RuntimeError`.
    """

    def __init__(self, run: Run, record: Callable[[Run, str, Tensor], Replay]) -> None:
        self._run, self._record = run, record
        self._seen: set[tuple[Any, ...]] = set()
        self._recordings: OrderedDict[tuple[Any, ...], Replay | None] = OrderedDict()

    def __call__(self, precision: str, batch: Tensor) -> tuple[Tensor, ...]:
        """Compute a batch (N, C, Y, X)."""
        if batch.shape[0] * batch.shape[-2] * batch.shape[-1] > RECORDED_PIXELS:
            return self._run(precision, batch)
        key = precision, *batch.shape
        if key not in self._seen:
            self._seen.add(key)
            return self._run(precision, batch)
        if key in self._recordings:
            self._recordings.move_to_end(key)
        else:
            while len(self._recordings) >= MOST_RECORDINGS:
                self._recordings.popitem(last=False)
            try:
                self._recordings[key] = self._record(self._run, precision, batch)
            except RuntimeError:
                # it is not tried again
                self._recordings[key] = None
        replay = self._recordings[key]
        return self._run(precision, batch) if replay is None else replay(batch)

    def clear(self) -> None:
        """Drop the recordings, which hold memory."""
        self._recordings.clear()


class Card:
    """Copies between the host's memory and that of a CUDA device, through pinned memory, in a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, image: NDArray[np.float32]) -> Tensor:
        """Return a copy of an image on the card; in another thread, it is made while the card computes."""
        pinned = torch.from_numpy(image).pin_memory()
        with torch.cuda.stream(self._copies):
            placed = pinned.to(self._device, non_blocking=True)
        self._copies.synchronize()
        return placed

    def download(self, tensors: tuple[Tensor, ...]) -> list[NDArray[np.float32]]:
        """Return copies of float32 tensors in pinned memory of the host, once they are computed."""
        pinned = [torch.empty(tensor.shape, pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(pinned, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return [copy.numpy() for copy in pinned]


def record(run: Run, precision: str, batch: Tensor) -> Replay:
    """Record what a CUDA device does for a batch as a CUDA graph; the arguments are those of `Recorded`.

    Source: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
    """
    given, now = batch.clone(), torch.cuda.current_stream(batch.device)
    beside = torch.cuda.Stream(batch.device)  # type: ignore[no-untyped-call]
    beside.wait_stream(now)
    with torch.cuda.stream(beside):
        run(precision, given)
    now.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # the next frame is copied by another thread meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = run(precision, given)

    def replay(batch: Tensor) -> tuple[Tensor, ...]:
        given.copy_(batch)
        graph.replay()
        return results

    return replay
