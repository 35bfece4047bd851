"""Restoring a plate of OME-Zarr into a plate: the same wells, whose fields are the restored ones."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import InputError, OutputError, UnreadableError
from napari_care_losses.io.ome_zarr_plates import check_rules, read_plate, write_plate
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.ome_zarr_writer import MARK, put_in_place, read_mark
from napari_care_losses.io.stack_writer import clear_remains, put_back
from napari_care_losses.io.stacks import identity_of, is_ome_zarr_name, read_stack
from napari_care_losses.io.whole_files import check_folder, locked, overlap, patiently
from napari_care_losses.io.written_frames import Journal, job_mark, partial_path
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.ome_zarr_plates import Plate
    from napari_care_losses.models.model import Model


class PlateProgress(NamedTuple):
    """A step of the restoration of a plate."""

    done: float
    """Fields restored so far, a part of the next included."""
    total: int
    field: str
    """The field that is being restored (A/1/0)."""


class RestoredPlate(NamedTuple):
    """What became of a plate."""

    fields: int
    """Number of restored fields."""
    clipped: int
    """Pixels clipped to fit an integer type."""
    notes: list[str]
    """What is to be known of it."""


def restore_plate(
    path: Path,
    model: Model,
    out: Path,
    parameters: RestorationParameters | None = None,
    run: RunOptions | None = None,
    *,
    selection: Sequence[tuple[int, int]] | None = None,
    incomplete: bool = False,
) -> Generator[PlateProgress, None, RestoredPlate]:
    """Restore a plate into a plate with the same rows, columns, wells, fields and acquisitions; a well into a well.

    The fields are written into ``OUT.partial``, which no program takes for a plate. A field that fails does not stop
    the others, but the plate.

    Parameters
    ----------
    path : Path
        The plate.
    model, parameters
        As in `napari_care_losses.restoration.to_file.restore_to_file`.
    out : Path
        The plate to make, which ends in ``.zarr``; an existing one is replaced once the new one is whole.
    run : RunOptions, optional
        Where it runs and how results are stored; by default in the version of OME-Zarr that the plate has.
    selection : sequence of (int, int), optional
        Of every field, only the frames of these ranges.
    incomplete : bool
        Whether wells and fields that are missing or cannot be read are left out.

    Yields
    ------
    PlateProgress
        After every tile.

    Returns
    -------
    RestoredPlate
        How many fields it has, and what is to be known of it.

    Raises
    ------
    InputError
        If the plate, the model or `out` cannot be used.
    UnreadableError
        If wells or fields are missing or cannot be read; those that are restored stay for a later run.
    ResumeError
        If the stopped run beside `out` was another one.
    ComputeError, OutputError
        If the device or the disk fails; restored fields stay for a later run.
    """
    run = run or RunOptions()
    plate = read_plate(path, incomplete=incomplete)
    check_rules(plate)
    version = run.zarr_version or plate.version
    _check_output(path, out, "well" if plate.is_well else "plate")
    parameters = parameters or RestorationParameters()
    job: dict[str, Any] = {
        "input": _identity(path),
        "model": model.digest(),
        # what is done about shared noise is chosen for each field
        "parameters": {**parameters.identity(), "correlated_noise": parameters.correlated_noise},
        "dtype": run.dtype,
        "ome_zarr": version,
        "fields": plate.fields,
        "frames": [list(one) for one in selection or ()],
    }
    with locked(out):
        if run.resume and not partial_path(out).exists() and read_mark(out) == job_mark(job):
            clear_remains(out)
            return RestoredPlate(len(plate.fields), 0, [plate.missing] if plate.missing else [])
        journal = _begun(out, job, resume=run.resume)
        work = _Fields(plate, model, out, parameters, replace(run, resume=True, zarr_version=version), journal)
        notes = yield from work.restored(selection, incomplete=incomplete)
        fields = [plate.fields[number] for number in sorted(journal.done)]
        try:
            write_plate(partial_path(out), plate, fields, version, {MARK: job_mark(job)})
            put_in_place(partial_path(out), out)
            journal.remove()
        except OSError as error:
            raise OutputError(f"{out} cannot be put in place: {error.strerror or error}.") from error
    return RestoredPlate(len(fields), work.clipped, notes)


class _Fields:
    """The fields of a plate being restored."""

    def __init__(
        self,
        plate: Plate,
        model: Model,
        out: Path,
        parameters: RestorationParameters,
        run: RunOptions,
        journal: Journal,
    ) -> None:
        self._plate, self._model, self._out, self._journal = plate, model, out, journal
        self._parameters, self._run, self.clipped = parameters, run, 0

    def restored(
        self, selection: Sequence[tuple[int, int]] | None, *, incomplete: bool
    ) -> Generator[PlateProgress, None, list[str]]:
        """Restore the fields that are not done; return what is to be known of them."""
        fields, notes, problems = self._plate.fields, [self._plate.missing], list[str]()
        for number, field in enumerate(fields):
            if number in self._journal.done:
                continue
            try:
                whole = read_stack(self._plate.path / field, incomplete=incomplete)
                frames = whole if selection is None else whole.select_ranges(selection)
                with closing(self._restored(field, frames)) as work:
                    steps = Steps(work)
                    for share in steps:
                        yield PlateProgress(number + share, len(fields), field)
                note = f"{whole.note} {steps.result}".strip()
                notes += [f"{field}: {note}"] if note else []
            except InputError as error:
                problems.append(f"{field}: {error}")
                if incomplete:
                    self._remove(field)
            else:
                self._journal.note(number)
        if problems and not self._journal.done:
            self._journal.remove()
            shutil.rmtree(partial_path(self._out), ignore_errors=True)
            raise InputError(f"No field of {self._plate.path} can be restored. {problems[0]}")
        if problems and not incomplete:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise UnreadableError(
                f"{len(problems)} of {len(fields)} fields of {self._plate.path} cannot be restored "
                f"({problems[0]}{more}). The others stay beside {self._out}: resume it."
            )
        return [note for note in (*notes, *(f"Left out: {problem}" for problem in problems)) if note]

    def _remove(self, field: str) -> None:
        """Remove what is there of a field that is left out."""
        place = partial_path(self._out) / field
        shutil.rmtree(partial_path(place.with_name(f"{place.name}.zarr")), ignore_errors=True)
        clear_remains(place.with_name(f"{place.name}.zarr"))

    def _restored(self, field: str, frames: Frames) -> Generator[float, None, str]:
        """Restore a field; yields the share that is done, and returns what is to be known of its frames."""
        # torch takes seconds to load
        from napari_care_losses.restoration.to_file import restore_to_file

        place = partial_path(self._out) / field
        # what writes it goes by its name
        written = place.with_name(f"{place.name}.zarr")
        place.parent.mkdir(parents=True, exist_ok=True)
        source = self._plate.path / field
        note = ""
        with closing(restore_to_file(frames, self._model, written, self._parameters, self._run, source=source)) as work:
            steps = Steps(work)
            for progress in steps:
                note = progress.note
                yield min(progress.done / max(progress.total, 1), 0.999)
        self.clipped += steps.result
        # left by a run that was killed before it noted the field
        if place.exists():
            shutil.rmtree(place)
        patiently(os.replace, written, place)
        return note


def _check_output(path: Path, out: Path, kind: str) -> None:
    check_folder(out)
    if not is_ome_zarr_name(out):
        raise InputError(
            f"{path} is a {kind}, which is restored into a {kind}: name it *.ome.zarr, found {out}; or restore its "
            "fields into a folder with --series all."
        )
    if out.exists() and not is_zarr(out):
        raise InputError(f"{out} exists and is no OME-Zarr: choose another name.")
    if overlap(path, out):
        raise InputError(f"The result would overwrite its input {path}: choose another file.")


def _identity(path: Path) -> dict[str, Any]:
    try:
        return identity_of(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _begun(out: Path, job: dict[str, Any], *, resume: bool) -> Journal:
    """Return the journal of a partial plate, which is made unless a stopped run of the same job left one."""
    journal, partial = Journal(out, job), partial_path(out)
    try:
        put_back(out)
        if not (resume and partial.is_dir() and journal.reopen() is not None):
            # the journal first: without it, what is left is not taken for done
            journal.remove()
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            journal.begin({})
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}.") from error
    return journal
