"""Restoring a folder of files, one after the other: what is done is skipped, what fails is reported and passed over."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import CareError, InputError, ResumeError
from napari_care_losses.io.ome_zarr_reader import VERSIONS, is_zarr
from napari_care_losses.io.stacks import NEW_SUFFIXES, bare_name, is_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from distributed import Client

    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.restore_stack import Progress

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
    clipped : int
        Of a finished file, the pixels clipped to fit an integer type.
    """

    number: int
    total: int
    path: Path
    fraction: float
    problem: str = ""
    clipped: int = 0


def stacks_in(folder: Path) -> list[Path]:
    """Return the TIFF files and OME-Zarr images of a folder by name, results of an earlier restoration left out.

    Raises
    ------
    InputError
        If there is no such folder, or none of them in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: choose one that holds TIFF files or OME-Zarr images.")
    stacks = [path for path in sorted(folder.iterdir()) if is_stack(path) and RESTORED_MARK not in path.name]
    if not stacks:
        raise InputError(f"There is no TIFF file (.tif, .tiff) and no OME-Zarr in {folder}: choose another folder.")
    return stacks


def output_path(path: Path, folder: Path, model_name: str, file_format: str = "") -> Path:
    """Return where in `folder` the restoration of a file by a model goes; without a format, in that of the file."""
    suffix = NEW_SUFFIXES[file_format or ("ome-zarr" if is_zarr(path) else "tiff")]
    return folder / f"{bare_name(path)}{RESTORED_MARK}{model_name}{suffix}"


def restore_files(
    paths: Sequence[Path],
    model: Model,
    folder: Path,
    parameters: RestorationParameters | None = None,
    *,
    model_name: str,
    dtype: str = "float32",
    device: str = "auto",
    selection: tuple[int, int] | None = None,
    resume: bool = True,
    file_format: str = "",
    zarr_version: str = VERSIONS[0],
    cluster: Client | None = None,
) -> Generator[FileProgress, None, None]:
    """Restore files into another folder; a run that was stopped goes on where it stood when called again.

    Parameters
    ----------
    paths : sequence of Path
        The files, TIFF or OME-Zarr.
    model : Model
        The trained model.
    folder : Path
        Where the results go, as ``NAME_restored-MODEL.tif`` or ``.ome.zarr``; it must exist.
    parameters : RestorationParameters, optional
        How to normalise, tile and put together.
    model_name : str
        What the model is called in the names of the results.
    dtype : str
        One of `napari_care_losses.io.stacks.OUTPUT_TYPES`.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    selection : tuple of int, optional
        Of every file, only the frames from the first number up to, not including, the second.
    resume : bool
        Whether what a stopped run has done is kept.
    file_format : str
        One of `napari_care_losses.io.stacks.NEW_SUFFIXES`; by default that of each file.
    zarr_version : str
        One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`, for OME-Zarr.
    cluster : Client, optional
        Of a Dask cluster that restores the frames.

    Yields
    ------
    FileProgress
        After every tile, and at the end of every file. A file that fails ends with its problem; the others go on.

    Raises
    ------
    InputError
        If two files would be restored into one.
    """
    from napari_care_losses.io.stacks import read_stack
    from napari_care_losses.restoration.to_file import restore_to_file

    outputs = [output_path(path, folder, model_name, file_format) for path in paths]
    for number, out in enumerate(outputs):
        if out in outputs[:number]:
            raise InputError(
                f"{paths[outputs.index(out)].name} and {paths[number].name} would both be restored into {out.name}: "
                "rename one of them."
            )

    def restoration(path: Path, out: Path, *, resume: bool) -> Generator[Progress, None, int]:
        frames = read_stack(path)
        return restore_to_file(
            frames if selection is None else frames.select(*selection),
            model,
            out,
            parameters,
            source=path,
            dtype=dtype,
            resume=resume,
            device=device,
            zarr_version=zarr_version,
            cluster=cluster,
        )

    for number, (path, out) in enumerate(zip(paths, outputs, strict=True)):
        problem, clipped = "", 0
        try:
            with closing(_going_on(partial(restoration, path, out), resume=resume)) as work:
                steps = Steps(work)
                for share in steps:
                    yield FileProgress(number, len(paths), path, share)
                clipped = steps.result
        except CareError as error:
            problem = str(error)
        yield FileProgress(number, len(paths), path, 1.0, problem, clipped)


def _going_on(start: Callable[..., Generator[Progress, None, int]], *, resume: bool) -> Generator[float, None, int]:
    """Restore one file, going on with a stopped run of the same job; yields how much of it is done, below 1."""
    for resumed in (True, False) if resume else (False,):
        try:
            with closing(start(resume=resumed)) as work:
                steps = Steps(work)
                for progress in steps:
                    yield min(progress.done / max(progress.total, 1), 0.999)
                return steps.result
        except ResumeError:
            # the run that was stopped had other settings: it is the one asked for now that counts
            if not resumed:
                raise
    return 0
