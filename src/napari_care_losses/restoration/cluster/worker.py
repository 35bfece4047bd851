"""The work of a Dask cluster's worker: it gets the model once, then reads, restores and writes frames."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from distributed import WorkerPlugin, get_worker

from napari_care_losses.compute.interrupts import interrupts
from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError
from napari_care_losses.io.ome_zarr_writer import FrameWriter
from napari_care_losses.io.pixel_types import cast_pixels
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.restoration.restore_frame import FrameRestorer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.engines.treatment import Treatment
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import Ranges
    from napari_care_losses.restoration.remarks import Remarks
    from napari_care_losses.restoration.restore_frame import Beside


@dataclass(frozen=True)
class ClusterJob:
    """Everything that a worker needs to restore any frame of a stack."""

    source: Path
    """The file, under the same path on every machine."""
    layout: Frames
    """The stack without its pixels."""
    model: Model
    parameters: RestorationParameters
    treatment: Treatment
    ranges: Ranges
    outputs: list[Path]
    """The OME-Zarr images being written: restored, and what is asked for beside."""
    dtype: str
    device: str
    beside: Beside


class Done(NamedTuple):
    """The pixels of a frame clipped to fit an integer type, a note of the engine, and remarks on the frame."""

    clipped: int
    note: str
    remarks: Remarks


class RestoringPlugin(WorkerPlugin):  # type: ignore[misc]
    """Holds a job on every worker, including those that join or restart later, and restores its frames.

    Frames are computed one at a time with all threads that Dask gives the worker; if there are several, the next frame
    is read and the last one written meanwhile. The job has a unique name. A worker that shares the terminal with the
    command, which closes it, ignores Ctrl+C there, and Ctrl+Break.
    """

    def __init__(self, job: ClusterJob, name: str, *, ignores_interrupts: bool) -> None:
        self.name = name
        self._job, self._ignores_interrupts = job, ignores_interrupts

    def setup(self, worker: Any) -> None:
        """Prepare the worker; the model is loaded at the first frame."""
        self._threads = worker.state.nthreads
        self._opening, self._computing = Lock(), Lock()
        self._restorer: FrameRestorer | None = None
        if self._ignores_interrupts:
            for number in interrupts():
                with suppress(ValueError):
                    signal.signal(number, signal.SIG_IGN)

    def teardown(self, worker: Any) -> None:
        """Free the working memory."""
        if self._restorer is not None:
            self._restorer.close()

    def restore(self, index: int) -> Done:
        """Read, restore and write one frame.

        Raises `InputError` if the input cannot be read here, or is another one; `ComputeError` or `OutputError` if the
        device or the disk fails.
        """
        with self._opening:
            if self._restorer is None:
                self._open()
        job, restorer = self._job, self._restorer
        assert restorer is not None
        (given,) = restorer.read([index], job.ranges)
        with self._computing:
            torch.set_num_threads(self._threads)
            frame = finish(restorer.restored(given))
        pixels, clipped = cast_pixels(frame.image, job.dtype)
        self._writers[0].write(index, pixels)
        for writer, image in zip(self._writers[1:], job.beside.images(frame, job.model.card), strict=True):
            writer.write(index, image)
        return Done(clipped, restorer.note, frame.remarks)

    def _open(self) -> None:
        job, layout = self._job, self._job.layout
        whole = read_stack(job.source, incomplete=True)
        frames = replace(whole, start=layout.start, stop=layout.stop, steps=layout.steps)
        if (frames.axes, frames.shape, frames.dtype) != (layout.axes, layout.shape, layout.dtype):
            raise InputError(f"{job.source} is another stack on a worker: every machine must see the same files.")
        torch.set_num_threads(self._threads)
        self._frames = frames
        self._writers = [FrameWriter(path, layout.axes, layout.leading_shape) for path in job.outputs]
        restorer = FrameRestorer(frames, job.model, job.parameters, job.treatment, device=job.device)
        restorer.prepare(job.ranges)
        self._restorer = restorer


def restore_frame(name: str, index: int) -> Done:
    """Restore one frame of the job called `name`, in a worker."""
    plugin: RestoringPlugin = get_worker().plugins[name]
    return plugin.restore(index)
