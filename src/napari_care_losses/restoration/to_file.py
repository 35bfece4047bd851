"""Restoring a stack into a TIFF file or an OME-Zarr image; a stopped run can be resumed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError, OutputError, UnreadableError
from napari_care_losses.images.selection import EVERYTHING, Selection, chosen_stack
from napari_care_losses.io.file_names import same_file
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.pixel_types import cast_pixels, check_cast
from napari_care_losses.io.stack_writer import clear_remains
from napari_care_losses.io.stacks import container_of, identity_of, is_ome_zarr_name, writer_for
from napari_care_losses.io.tiff_reader import files_of_set
from napari_care_losses.io.whole_files import is_same, locked, overlap
from napari_care_losses.models.library import model_word
from napari_care_losses.restoration.cluster.scheduler import restore_on_cluster
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.restoration.parameters import IntervalFiles, RestorationParameters, RunOptions
from napari_care_losses.restoration.record import NO_FILE, RestorationRecord, ranges_of
from napari_care_losses.restoration.restore_frame import Beside, calibrated
from napari_care_losses.restoration.restore_stack import Progress, restore_frames

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stack_writer import StackWriter
    from napari_care_losses.models.model import Model, ModelCard
    from napari_care_losses.restoration.restore_frame import RestoredFrame


def restore_to_file(
    frames: Frames,
    model: Model,
    out: Path,
    parameters: RestorationParameters | None = None,
    run: RunOptions | None = None,
    *,
    source: Path | None = None,
    scale_out: Path | None = None,
    selection: Selection = EVERYTHING,
    channel: int | None = None,
    intervals: IntervalFiles | None = None,
) -> Generator[Progress, None, int]:
    """Restore a stack into a TIFF file or an OME-Zarr image, frame by frame.

    The result says how it was made: OME-TIFF in the description of the image, OME-Zarr in an attribute.

    Parameters
    ----------
    frames : Frames
        The stack.
    model : Model
        The trained model.
    out : Path
        The result, OME-Zarr where it ends in ``.zarr``; an existing file is replaced once the new one is whole.
    parameters : RestorationParameters, optional
        How the frames are restored.
    run : RunOptions, optional
        Where it runs and how the result is stored.
    source : Path, optional
        The file the stack was read from: it is not overwritten, and a run is only resumed on the same file.
    scale_out : Path, optional
        A second file, for the Laplace scale.
    selection : Selection
        What of the stack is restored; ranges, noise and neighbouring frames are those of the whole stack.
    channel : int, optional
        Which channel of the source the frames are, where they are one: it is named in how the result was made.
    intervals : IntervalFiles, optional
        Two more files, for the ends of the intervals that the model's card has.

    Yields
    ------
    Progress
        As from `restore_frames`.

    Returns
    -------
    int
        Number of pixels clipped to fit an integer type.

    Raises
    ------
    InputError
        If input, model or paths cannot be used, or another run writes the same file; nothing is left behind then.
    UnreadableError, ComputeError, OutputError
        If a frame cannot be read or the device or the disk fails; finished frames stay for a later run.
    """
    given, run = parameters or RestorationParameters(), run or RunOptions()
    # the range by its own name, as jobs of earlier versions have it
    parameters = given.resolved(model.card.normalization)
    beside = Beside(scale=scale_out is not None, level=None if intervals is None else intervals.level)
    outputs = [out, *([] if scale_out is None else [scale_out]), *([] if intervals is None else intervals[1:])]
    _check_outputs(outputs, beside, model, source, run)
    check_cast(frames, run.dtype)
    if selection != EVERYTHING and run.cluster is not None:
        raise InputError("A cluster restores whole stacks: leave out what chooses a part, or restore without it.")
    chosen = chosen_stack(frames, selection)
    record = _record(model, out, given, run, frames, source, scale_out, selection, channel, intervals)
    like = replace(chosen, metadata=replace(chosen.metadata, provenance=record.texts()))
    places = {index: place for place, index in enumerate(selection.frames or range(len(frames)))}
    order = choose_neighbours(frames, model.card).order(frames)
    treatment = choose_treatment(frames, model.card, parameters)
    zarr_version = run.zarr_version or VERSIONS[0]
    job: dict[str, Any] = {
        "input": _identity(frames, source),
        "model": model.digest(),
        "parameters": {**parameters.identity(), **treatment.identity},
        "dtype": run.dtype,
    }
    if any(is_ome_zarr_name(path) for path in outputs):
        job["ome_zarr"] = zarr_version
    if selection != EVERYTHING:
        job["selection"] = [selection.frames, selection.region]
    if intervals is not None:
        job["intervals"] = {"level": intervals.level, **calibrated(model.card).to_dict()}
    stacks: list[StackWriter] = []
    with ExitStack() as cleanup:
        for path in outputs:
            cleanup.enter_context(locked(path))
        if run.resume and all(writer_for(path).is_result_of(path, job) for path in outputs):
            for path in outputs:
                clear_remains(path)
            return 0
        try:
            for path, dtype in zip(outputs, (run.dtype, *["float32"] * 3), strict=False):
                writer = writer_for(path)
                stacks.append(writer(path, like, dtype=dtype, job=job, resume=run.resume, zarr_version=zarr_version))
                cleanup.callback(stacks[-1].suspend)
            done = set.intersection(*(stack.done for stack in stacks))
            missing = [index for index in order if index in places and places[index] not in done]
            if run.cluster is None:
                work = restore_frames(
                    frames,
                    model,
                    parameters,
                    indices=missing,
                    region=selection.region,
                    device=run.device,
                    treatment=treatment,
                )
                clipped = yield from _write_behind(work, stacks, run.dtype, places, beside, model.card)
            else:
                assert source is not None
                clipped = yield from restore_on_cluster(
                    frames, model, stacks, parameters, run, treatment, beside, source=source, indices=missing
                )
            for stack in stacks:
                stack.close()
        except InputError as error:
            if isinstance(error, UnreadableError) and stacks and all(stack.done for stack in stacks):
                raise UnreadableError(f"{error} The finished frames stay beside {out}: resume it.") from error
            for stack in stacks:
                stack.discard()
            raise
    return clipped


def _record(
    model: Model,
    out: Path,
    parameters: RestorationParameters,
    run: RunOptions,
    frames: Frames,
    source: Path | None,
    scale_out: Path | None,
    selection: Selection,
    channel: int | None,
    intervals: IntervalFiles | None,
) -> RestorationRecord:
    """Return how the result is made, with whole paths."""
    return RestorationRecord(
        model=model_word(model.path),
        source=Path(NO_FILE) if source is None else source.absolute(),
        out=out.absolute(),
        parameters=parameters,
        run=run,
        channel=channel,
        ranges=ranges_of(frames),
        selection=selection,
        incomplete=bool(frames.note),
        scale_out=None if scale_out is None else scale_out.absolute(),
        intervals=None if intervals is None else intervals.absolute(),
    )


def _check_outputs(outputs: Sequence[Path], beside: Beside, model: Model, source: Path | None, run: RunOptions) -> None:
    file = None if source is None else container_of(source)
    parts = files_of_set(file) if file is not None and file.is_file() else set()
    for path in outputs:
        # the same file, or a folder of Zarr around it or in it
        if source is not None and overlap(source, path):
            raise InputError(f"The result would overwrite its input {source}: choose another file.")
        if path.exists() and any(is_same(path, part) for part in parts):
            raise InputError(f"The result would overwrite {path.name}, a file of its input {source}: choose another.")
    if beside.scale and not model.card.architecture.predicts_scale:
        raise InputError(f"A model trained with the {model.card.loss} loss predicts no scale: leave it out.")
    if beside.level is not None:
        calibrated(model.card).check(beside.level)
    if len({same_file(str(path.resolve())) for path in outputs}) < len(outputs):
        raise InputError("The restored stack and what is written beside it need different files.")
    if run.cluster is not None and (source is None or not all(is_ome_zarr_name(path) for path in outputs)):
        raise InputError("Several machines write side by side into OME-Zarr only: name the result *.ome.zarr.")


def _write_behind(
    work: Generator[Progress, None, None],
    stacks: list[StackWriter],
    dtype: str,
    places: Mapping[int, int],
    beside: Beside,
    card: ModelCard,
) -> Generator[Progress, None, int]:
    """Write every frame in a background thread while the next one is restored; return the number of pixels clipped.

    `places` says which frame of the file each frame of the stack is.
    """

    def write(frame: RestoredFrame) -> int:
        pixels, outside = cast_pixels(frame.image, dtype)
        stacks[0].write(places[frame.index], pixels)
        for stack, image in zip(stacks[1:], beside.images(frame, card), strict=True):
            stack.write(places[frame.index], image)
        return outside

    clipped = 0
    # The end of the block, however it comes, waits for the frame being written.
    with closing(work), ThreadPoolExecutor(max_workers=1, thread_name_prefix="write") as thread:
        writing: Future[int] | None = None
        for progress in work:
            if progress.frame is not None:
                clipped += 0 if writing is None else writing.result()
                writing = thread.submit(write, progress.frame)
            yield progress
        return clipped + (0 if writing is None else writing.result())


def _identity(frames: Frames, source: Path | None) -> dict[str, Any]:
    identity: dict[str, Any] = {
        "shape": frames.shape,
        "axes": frames.axes,
        "dtype": frames.dtype.str,
        "start": frames.start,
        **({} if frames.steps is None else {"steps": list(frames.steps)}),
    }
    if source is not None:
        try:
            identity |= identity_of(source)
        except OSError as error:
            raise OutputError(f"{source} cannot be read: {error.strerror or error}.") from error
    return identity
