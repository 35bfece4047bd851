"""A growing source restored into an OME-Zarr that grows; a run that was stopped or killed can be resumed."""

from __future__ import annotations

import csv
import hashlib
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.following.follow import follow
from napari_care_losses.following.growing_stack import stack_of
from napari_care_losses.following.growing_zarr import GrowingOmeZarrWriter
from napari_care_losses.following.record import FollowRecord
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.pixel_types import cast_pixels, check_cast
from napari_care_losses.io.stacks import bare_name, is_ome_zarr_name
from napari_care_losses.io.whole_files import locked, patiently
from napari_care_losses.io.written_frames import partial_path
from napari_care_losses.models.library import model_word
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator
    from threading import Event

    from napari_care_losses.following.progress import FollowOptions, FollowProgress
    from napari_care_losses.following.source import Layout, Source
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.restore_frame import RestoredFrame

COLUMNS = ("frame", "arrived", "restored", "delay_ms")
"""Columns of the log."""


def follow_to_file(
    source: Source,
    model: Model,
    out: Path,
    parameters: RestorationParameters | None = None,
    run: RunOptions | None = None,
    options: FollowOptions | None = None,
    *,
    enough: Event | None = None,
) -> Generator[FollowProgress, None, int]:
    """Restore a growing source into an OME-Zarr that grows, and log when each frame came and was restored.

    The result is ``OUT.partial``, which no program takes for an image, until following ends and all that came is
    restored. Closed or killed before, it can be resumed: no frame is restored twice.

    Parameters
    ----------
    source : Source
        Where frames come from, which must keep them; the caller closes it.
    model, parameters, options, enough
        As in `napari_care_losses.following.follow.follow`.
    out : Path
        The result, whose name ends in ``.zarr``.
    run : RunOptions, optional
        How the result is stored, and whether a stopped run is resumed; where it computes is in `options`.

    Yields
    ------
    FollowProgress
        As from `follow`.

    Returns
    -------
    int
        Number of pixels clipped to fit an integer type.

    Raises
    ------
    InputError
        If source, model or result cannot be used so.
    ComputeError, OutputError
        If the device or the disk fails; what is restored stays for a later run.
    """
    parameters, run = parameters or RestorationParameters(), run or RunOptions()
    if not is_ome_zarr_name(out):
        raise InputError(f"While frames come, only OME-Zarr can grow: name the result *.ome.zarr, found {out}.")
    if not source.keeps_frames:
        raise InputError(f"{source.name} holds its newest frame only, of which no file without gaps can be made.")
    with ExitStack() as opened:
        opened.enter_context(locked(out))
        device = RunOptions.device if options is None else options.device
        sink = _FileSink(source, model, out, parameters, replace(run, device=device))
        opened.callback(sink.suspend)
        yield from opened.enter_context(closing(follow(source, model, sink, parameters, options, enough=enough)))
    return sink.clipped


def log_path(out: Path) -> Path:
    """Return where the log of a result lies.

    Examples
    --------
    >>> from pathlib import Path
    >>> log_path(Path("restored.ome.zarr")).name
    'restored_frames.csv'
    """
    return out.with_name(f"{bare_name(out)}_frames.csv")


def order_path(out: Path) -> Path:
    """Return where the order is noted in which files of a folder came, until the result is whole."""
    return out.with_name(f"{partial_path(out).name}.order")


class _FileSink:
    """The file that frames go to, and its log."""

    def __init__(
        self, source: Source, model: Model, out: Path, parameters: RestorationParameters, run: RunOptions
    ) -> None:
        self._source, self._model, self._out, self._parameters, self._run = source, model, out, parameters, run
        self._writer: GrowingOmeZarrWriter | None = None
        self._log = _Log(log_path(out))
        self.clipped = 0

    def begin(self, layout: Layout, opening: int) -> int:
        check_cast(stack_of(self._source, layout, layout.frames_per_time), self._run.dtype)
        version = self._run.zarr_version or VERSIONS[0]
        job: dict[str, Any] = {
            "followed": self._source.name,
            "axes": layout.axes,
            "shape": layout.shape(times=1),
            # another acquisition may have taken the name
            "first": hashlib.sha256(np.ascontiguousarray(self._source.frame(0)).tobytes()).hexdigest()[:16],
            "model": self._model.digest(),
            "parameters": self._parameters.resolved(self._model.card.normalization).identity(),
            "dtype": self._run.dtype,
            "ome_zarr": version,
        }
        if self._run.resume and GrowingOmeZarrWriter.is_result_of(self._out, job):
            raise InputError(
                f"{self._out} is finished, the result of this very run: to restore what came since choose another "
                "name, or leave out --resume to start afresh."
            )
        self._writer = GrowingOmeZarrWriter(
            self._out,
            layout,
            opening=opening,
            dtype=self._run.dtype,
            job=job,
            resume=self._run.resume,
            zarr_version=version,
        )
        if not self._writer.done:
            self._log.begin()
        return self._writer.opening

    @property
    def done(self) -> Collection[int]:
        return set() if self._writer is None else self._writer.done

    def write(self, frame: RestoredFrame, delay: float | None) -> None:
        assert self._writer is not None
        pixels, outside = cast_pixels(frame.image, self._run.dtype)
        self._writer.write(frame.index, pixels)
        self.clipped += outside
        now = time.time()
        arrived = ("", "") if delay is None else (_clock(now - delay), f"{1000 * delay:.1f}")
        self._log.add((frame.index, arrived[0], _clock(now), arrived[1]))

    def finish(self, count: int) -> None:
        assert self._writer is not None
        times = count // self._writer.frames_per_time
        record = FollowRecord(
            model=model_word(self._model.path),
            source=Path(self._source.name).absolute(),
            out=self._out.absolute(),
            parameters=self._parameters,
            run=self._run,
            until=times,
        )
        self._writer.close_at(times, record.texts())
        self._writer = None
        with _named(order_path(self._out)):
            patiently(order_path(self._out).unlink, missing_ok=True)
        self._log.end()

    def suspend(self) -> None:
        """Close the file; without a frame in it nothing is left."""
        if self._writer is None:
            return
        if self._writer.done:
            self._writer.suspend()
            self._log.end()
        else:
            self._writer.discard()
            for left in (log_path(self._out), order_path(self._out)):
                with _named(left):
                    patiently(left.unlink, missing_ok=True)


class _Log:
    """The log of a result, which users look at meanwhile.

    It is not kept open. On Windows a program such as Excel that has it open lets nobody write: lines wait until it is
    closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Collection[Any]] = []

    def begin(self) -> None:
        """Start afresh."""
        self._waiting = [COLUMNS]
        with _named(self._path):
            self._write("w")

    def add(self, row: Collection[Any]) -> None:
        """Write a line, or keep it for later."""
        self._waiting.append(row)
        with _named(self._path), suppress(PermissionError):
            self._write("a")

    def end(self) -> None:
        """Write the lines that wait."""
        if self._waiting:
            with _named(self._path):
                patiently(self._write, "a")

    def _write(self, mode: str) -> None:
        with self._path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self._waiting)
        self._waiting = []


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raise an `OutputError` that names a file beside the result where it fails."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Close what has it open.") from error


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(timespec="milliseconds")
