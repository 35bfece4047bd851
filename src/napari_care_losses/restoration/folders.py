"""Restoring the files of a folder: finished ones are skipped, and one that fails does not stop the others."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import CareError, InputError, ResumeError
from napari_care_losses.io.file_names import same_file
from napari_care_losses.io.ome_zarr_plates import is_plate
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.stacks import (
    NEW_SUFFIXES,
    READ_SUFFIXES,
    image_files_of,
    image_name,
    read_stack,
    whole_stacks,
)
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.plates import restore_plate

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_care_losses.models.model import Model

RESTORED_MARK = "_restored-"
"""Stands before the model's name in the names of results, which are not restored again."""


class FileProgress(NamedTuple):
    """A step of the restoration of several files."""

    number: int
    """Number of the file, from 0."""
    total: int
    path: Path
    fraction: float
    """Share of the file that is done; 1 when it has ended, by success or by failure."""
    problem: str = ""
    """Why the file could not be restored; empty otherwise."""
    clipped: int = 0
    """Pixels clipped to fit an integer type, once the file has ended."""
    note: str = ""
    """What is to be known of the file and of its frames, once it has ended; often empty."""


def image_files_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted by name, without results of earlier restorations.

    None of them is read. Raises `InputError` if there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: choose one that holds image files.")
    files = [path for path in image_files_of(folder) if RESTORED_MARK not in path.name]
    if not files:
        raise InputError(
            f"There is no image file ({', '.join(READ_SUFFIXES)}) and no OME-Zarr in {folder}: choose another."
        )
    return files


def stacks_in(folder: Path) -> list[Path]:
    """Return the stacks of a folder: its image files, of those that make one stack together only the first.

    Raises as `image_files_in` does.
    """
    return whole_stacks(image_files_in(folder))


def output_path(path: Path, folder: Path, model_name: str, file_format: str = "") -> Path:
    """Return the path of a file's restoration in `folder`; without a format, in that of the file."""
    suffix = NEW_SUFFIXES[file_format or ("ome-zarr" if is_zarr(path) else "tiff")]
    return folder / f"{image_name(path)}{RESTORED_MARK}{model_name}{suffix}"


def restore_files(
    paths: Sequence[Path],
    model: Model,
    folder: Path,
    parameters: RestorationParameters | None = None,
    run: RunOptions | None = None,
    *,
    model_name: str,
    selection: Sequence[tuple[int, int]] | None = None,
    incomplete: bool = False,
    file_format: str = "",
) -> Generator[FileProgress, None, None]:
    """Restore files into another folder.

    Parameters
    ----------
    paths : sequence of Path
        The files, or images in them.
    model, parameters
        As in `napari_care_losses.restoration.to_file.restore_to_file`.
    folder : Path
        Where the results go, as ``NAME_restored-MODEL.tif`` or ``.ome.zarr``; it must exist.
    run : RunOptions, optional
        Where it runs and how results are stored; by default a stopped run is resumed.
    model_name : str
        Name of the model in the names of the results.
    selection : sequence of (int, int), optional
        Of every file, only the frames of these ranges, each from its first number up to, not including, its second.
    incomplete : bool
        As in `napari_care_losses.io.stacks.read_stack`.
    file_format : str
        One of `napari_care_losses.io.stacks.NEW_SUFFIXES`; by default that of each file.

    Yields
    ------
    FileProgress
        After every tile, and at the end of every file. A file that fails ends with its problem; the others continue.

    Raises
    ------
    InputError
        If two files would be restored into one, or a range over all files is needed, which each has for itself here.
    """
    parameters, run = parameters or RestorationParameters(), run or RunOptions(resume=True)
    outputs = [output_path(path, folder, model_name, file_format) for path in paths]
    names = [same_file(out.name) for out in outputs]
    for number, out in enumerate(outputs):
        if names[number] in names[:number]:
            first = paths[names.index(names[number])]
            raise InputError(
                f"{first.name} and {paths[number].name} would both be restored into {out.name}: rename one of them."
            )
    needs_all = parameters.normalization == "auto" and model.card.normalization.of_dataset
    if needs_all and (len(paths) > 1 or any(map(is_plate, paths))):
        raise InputError(
            "This model normalises by the statistics of a whole dataset, and of several files or fields each has its "
            'own: make one stack of them, or choose the range "of the whole stack" (--normalization stack) for one '
            "range each."
        )
    for number, (path, out) in enumerate(zip(paths, outputs, strict=True)):
        problem, clipped, note = "", 0, ""
        try:
            restored = _restored_plate if is_plate(path) else _restored
            with closing(restored(path, model, out, parameters, run, selection, incomplete=incomplete)) as work:
                steps = Steps(work)
                for share in steps:
                    yield FileProgress(number, len(paths), path, share)
                clipped, note = steps.result
        except CareError as error:
            problem = str(error)
        yield FileProgress(number, len(paths), path, 1.0, problem, clipped, note)


def _restored(
    path: Path,
    model: Model,
    out: Path,
    parameters: RestorationParameters,
    run: RunOptions,
    selection: Sequence[tuple[int, int]] | None,
    *,
    incomplete: bool,
) -> Generator[float, None, tuple[int, str]]:
    """Restore one file, and resume a stopped run of the same job; yields the share that is done, below 1.

    Returns the pixels clipped and what is to be known of the file and its frames.
    """
    # torch takes seconds to load
    from napari_care_losses.restoration.to_file import restore_to_file

    whole = read_stack(path, incomplete=incomplete)
    frames = whole if selection is None else whole.select_ranges(selection)
    for options in (run, replace(run, resume=False)):
        try:
            with closing(restore_to_file(frames, model, out, parameters, options, source=path)) as work:
                steps, note = Steps(work), ""
                for progress in steps:
                    note = progress.note
                    yield min(progress.done / max(progress.total, 1), 0.999)
                return steps.result, f"{whole.note} {note}".strip()
        except ResumeError:
            # The stopped run had other settings: the new ones count.
            if not options.resume:
                raise
    return 0, ""


def _restored_plate(
    path: Path,
    model: Model,
    out: Path,
    parameters: RestorationParameters | None,
    run: RunOptions,
    selection: Sequence[tuple[int, int]] | None,
    *,
    incomplete: bool,
) -> Generator[float, None, tuple[int, str]]:
    """Restore a plate, as `_restored` does a file."""
    for options in (run, replace(run, resume=False)):
        work = restore_plate(path, model, out, parameters, options, selection=selection, incomplete=incomplete)
        try:
            with closing(work):
                steps = Steps(work)
                for progress in steps:
                    yield min(progress.done / progress.total, 0.999)
                return steps.result.clipped, " ".join(steps.result.notes)
        except ResumeError:
            if not options.resume:
                raise
    return 0, ""
