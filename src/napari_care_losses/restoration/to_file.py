"""The two long jobs from file to file: train to a model file, restore to TIFF or OME-Zarr; both can be resumed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError, OutputError, UnreadableError
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.stack_writer import clear_remains
from napari_care_losses.io.stacks import (
    cast_pixels,
    is_ome_zarr_name,
    size_and_time,
    writer_for,
)
from napari_care_losses.io.whole_files import locked
from napari_care_losses.restoration.cluster.scheduler import restore_on_cluster
from napari_care_losses.restoration.restore_stack import Progress, RestorationParameters, restore_frames

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from distributed import Client

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stack_writer import StackWriter
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.restore_frame import RestoredFrame


def restore_to_file(
    frames: Frames,
    model: Model,
    out: Path,
    parameters: RestorationParameters | None = None,
    *,
    source: Path | None = None,
    scale_out: Path | None = None,
    dtype: str = "float32",
    resume: bool = False,
    device: str = "auto",
    zarr_version: str = VERSIONS[0],
    cluster: Client | None = None,
) -> Generator[Progress, None, int]:
    """Restore a stack into a TIFF file or an OME-Zarr image, frame by frame.

    Parameters
    ----------
    frames : Frames
        The stack.
    model : Model
        The trained model.
    out : Path
        The file to make, OME-Zarr where it ends in ``.zarr``; an existing one is replaced once the new one is whole.
    parameters : RestorationParameters, optional
        How to normalise, tile and put together.
    source : Path, optional
        The file the stack was read from: it is not overwritten, and a run is only resumed on the same file.
    scale_out : Path, optional
        A second file for the Laplace scale.
    dtype : str
        One of `napari_care_losses.io.stacks.OUTPUT_TYPES`; integers are rounded and clipped.
    resume : bool
        Do only the frames a stopped run of the same job left out.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    zarr_version : str
        One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`, for OME-Zarr.
    cluster : Client, optional
        Of a Dask cluster (`napari_care_losses.restoration.cluster.scheduler.connected`) whose workers restore the
        frames; the results must be OME-Zarr then.

    Yields
    ------
    Progress
        As `restore_frames` gives it.

    Returns
    -------
    int
        Number of pixels clipped to fit an integer type.

    Raises
    ------
    InputError
        If input, model or paths cannot be used, or another run makes the same file; nothing is left behind then.
    UnreadableError, ComputeError, OutputError
        If a frame cannot be read or the device or the disk fails; what is done stays for a later run.
    """
    parameters = parameters or RestorationParameters()
    outputs = [out] if scale_out is None else [out, scale_out]
    for path in outputs:
        if source is not None and _overwrites(path.resolve(), source.resolve()):
            raise InputError(f"The result would overwrite its input {source}: choose another file.")
    if scale_out is not None and not model.card.architecture.predicts_scale:
        raise InputError(f"A model trained with the {model.card.loss} loss predicts no scale: leave it out.")
    if scale_out is not None and scale_out.resolve() == out.resolve():
        raise InputError("The restored stack and its scale need two different files.")
    if cluster is not None and (source is None or not all(is_ome_zarr_name(path) for path in outputs)):
        raise InputError("Several machines write side by side into OME-Zarr only: name the result *.ome.zarr.")
    job = {
        "input": _identity(frames, source),
        "model": model.digest(),
        "parameters": parameters.to_dict(),
        "dtype": dtype,
    }
    if any(is_ome_zarr_name(path) for path in outputs):
        job["ome_zarr"] = zarr_version
    stacks: list[StackWriter] = []
    claims = ExitStack()
    try:
        for path in outputs:
            claims.enter_context(locked(path))
        if resume and all(writer_for(path).is_result_of(path, job) for path in outputs):
            for path in outputs:
                clear_remains(path)
            return 0
        for path in outputs:
            kind = dtype if path == out else "float32"
            stacks.append(writer_for(path)(path, frames, dtype=kind, job=job, resume=resume, zarr_version=zarr_version))
        done = set.intersection(*(stack.done for stack in stacks))
        missing = [index for index in range(len(frames)) if index not in done]
        if cluster is None:
            work = restore_frames(frames, model, parameters, indices=missing, device=device)
            clipped = yield from _write_behind(work, stacks, dtype)
        else:
            assert source is not None
            clipped = yield from restore_on_cluster(
                frames,
                model,
                stacks,
                parameters,
                client=cluster,
                source=source,
                indices=missing,
                dtype=dtype,
                device=device,
            )
        for stack in stacks:
            stack.close()
        return clipped
    except UnreadableError as error:
        if stacks and all(stack.done for stack in stacks):
            raise UnreadableError(f"{error} What is done stays beside {out}: resume it.") from error
        _discard(stacks)
        raise
    except InputError:
        _discard(stacks)
        raise
    finally:
        for stack in stacks:
            stack.suspend()
        claims.close()


def _discard(stacks: list[StackWriter]) -> None:
    for stack in stacks:
        stack.discard()


def _write_behind(
    work: Generator[Progress, None, None], stacks: list[StackWriter], dtype: str
) -> Generator[Progress, None, int]:
    """Write every frame in a background thread while the next one is restored; return the number of pixels clipped."""

    def write(frame: RestoredFrame) -> int:
        pixels, outside = cast_pixels(frame.image, dtype)
        stacks[0].write(frame.index, pixels)
        if frame.scale is not None and len(stacks) > 1:
            stacks[1].write(frame.index, frame.scale)
        return outside

    clipped = 0
    # Leaving it, by whatever way, waits for the frame being written.
    with closing(work), ThreadPoolExecutor(max_workers=1, thread_name_prefix="write") as thread:
        writing: Future[int] | None = None
        for progress in work:
            if progress.frame is not None:
                clipped += 0 if writing is None else writing.result()
                writing = thread.submit(write, progress.frame)
            yield progress
        return clipped + (0 if writing is None else writing.result())


def _overwrites(path: Path, source: Path) -> bool:
    """Return whether writing `path` would change `source`: the same file, or a folder of Zarr around it or in it."""
    return path == source or path in source.parents or source in path.parents


def _identity(frames: Frames, source: Path | None) -> dict[str, Any]:
    identity: dict[str, Any] = {
        "shape": frames.shape,
        "axes": frames.axes,
        "dtype": frames.dtype.str,
        "start": frames.start,
    }
    if source is not None:
        try:
            size, modified = size_and_time(source)
        except OSError as error:
            raise OutputError(f"{source} cannot be read: {error.strerror or error}.") from error
        identity |= {"path": str(source.resolve()), "size": size, "modified": modified}
    return identity
