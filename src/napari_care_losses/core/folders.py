"""Restoring a folder of files, one after the other: what is done is skipped, what fails is reported and passed over."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.core.errors import CareError, InputError, ResumeError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_care_losses.core.model import Model
    from napari_care_losses.core.restoration_parameters import RestorationParameters

SUFFIXES = (".tif", ".tiff")
RESTORED_MARK = "_restored-"
"""In the names of results, before the model's: a folder restored into itself does not restore its results again."""


class FileProgress(NamedTuple):
    """A step of the restoration of several files.

    Attributes
    ----------
    number, total : int
        The file at work, counted from 0, and the number of files.
    path : Path
        The file.
    fraction : float
        How much of the file is done; 1 when it is finished, by success or by failure.
    problem : str
        Why it could not be restored; empty otherwise.
    """

    number: int
    total: int
    path: Path
    fraction: float
    problem: str = ""


def stacks_in(folder: Path) -> list[Path]:
    """Return the TIFF files of a folder by name, results of an earlier restoration left out.

    Raises
    ------
    InputError
        If there is no such folder, or no TIFF file in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: choose one that holds TIFF files.")
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
    stacks = [path for path in files if RESTORED_MARK not in path.name]
    if not stacks:
        raise InputError(f"There is no TIFF file (.tif, .tiff) in {folder}: choose another folder.")
    return stacks


def output_path(path: Path, folder: Path, model_name: str) -> Path:
    """Return where in `folder` the restoration of a file by a model goes."""
    return folder / f"{path.stem}{RESTORED_MARK}{model_name}.tif"


def restore_files(
    paths: Sequence[Path],
    model: Model,
    folder: Path,
    parameters: RestorationParameters | None = None,
    *,
    model_name: str,
    dtype: str = "float32",
    device: str = "auto",
) -> Generator[FileProgress, None, None]:
    """Restore TIFF files into another folder; a run that was stopped goes on where it stood when called again.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    model : Model
        The trained model.
    folder : Path
        Where the results go, as ``NAME_restored-MODEL.tif``; it must exist.
    parameters : RestorationParameters, optional
        How to normalise, tile and put together.
    model_name : str
        What the model is called in the names of the results.
    dtype : str
        One of `napari_care_losses.core.saving.OUTPUT_TYPES`.
    device : str
        One of `napari_care_losses.core.restoration_parameters.DEVICES`.

    Yields
    ------
    FileProgress
        After every tile, and at the end of every file. A file that fails ends with its problem; the others go on.

    Raises
    ------
    InputError
        If two files would be restored into one.
    """
    outputs = [output_path(path, folder, model_name) for path in paths]
    for number, out in enumerate(outputs):
        if out in outputs[:number]:
            raise InputError(
                f"{paths[outputs.index(out)].name} and {paths[number].name} would both be restored into {out.name}: "
                "rename one of them."
            )
    for number, (path, out) in enumerate(zip(paths, outputs, strict=True)):
        problem = ""
        try:
            with closing(_restoration(path, model, out, parameters, dtype=dtype, device=device)) as work:
                for fraction in work:
                    yield FileProgress(number, len(paths), path, fraction)
        except CareError as error:
            problem = str(error)
        yield FileProgress(number, len(paths), path, 1.0, problem)


def _restoration(
    path: Path, model: Model, out: Path, parameters: RestorationParameters | None, *, dtype: str, device: str
) -> Generator[float, None, None]:
    """Restore one file, going on with a stopped run of the same job; yields how much of it is done, below 1."""
    from napari_care_losses.core.jobs import restore_to_file
    from napari_care_losses.core.tiff import read_tiff

    frames = read_tiff(path)
    for resume in (True, False):
        work = restore_to_file(frames, model, out, parameters, source=path, dtype=dtype, resume=resume, device=device)
        try:
            with closing(work):
                for progress in work:
                    yield min(progress.done / max(progress.total, 1), 0.999)
            return
        except ResumeError:
            # the run that was stopped had other settings: it is the one asked for now that counts
            if not resume:
                raise
