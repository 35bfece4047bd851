"""The journal beside a stack being written: which frames are done, so that a run that was killed can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import ResumeError
from napari_care_losses.io.untrusted_files import read_json
from napari_care_losses.io.whole_files import patiently
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """The journal of one file: a line of plain values, then one line for each of the frames that are `done`.

    Parameters
    ----------
    path : Path
        The file to be made; the journal lies beside it as ``NAME.partial.json``.
    job : dict
        What makes the pixels: input, model, settings; plain values.
    """

    def __init__(self, path: Path, job: dict[str, Any]) -> None:
        self._output, self._file, self._digest = path, journal_path(path), job_digest(job)
        self.done: set[int] = set()

    def reopen(self) -> dict[str, Any] | None:
        """Return the values that a stopped run noted and learn what it has done; None where there was none.

        Raises
        ------
        ResumeError
            If it was another job, or the journal is damaged.
        """
        if not self._file.is_file():
            return None
        # a killed run may have cut its last line short: only whole lines count
        noted = self._file.read_bytes()
        whole = noted[: noted.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if not lines:
            return None
        try:
            values: dict[str, Any] = read_json(lines[0])
            digest, done = values.pop("job"), {int(line) for line in lines[1:]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResumeError(
                f"{self._file} is damaged ({error}): leave out --resume to start {self._output.name} afresh."
            ) from error
        if digest != self._digest:
            raise ResumeError(
                f"The stopped run beside {self._output} had another input, model or settings: "
                "give the same ones, or leave out --resume to start afresh."
            )
        self.done = done
        # cut, not written anew: a run killed in between would lose all
        os.truncate(self._file, len(whole))
        return values

    def begin(self, values: dict[str, Any]) -> None:
        """Start afresh, with plain values that `reopen` will give back."""
        self.done = set()
        self._file.write_text(json.dumps({"job": self._digest, **values}) + "\n", encoding="utf-8")

    def note(self, index: int) -> None:
        """Note that frame `index` is written."""
        # not made anew: where the journal is gone, the frames are gone too
        with patiently(self._file.open, "r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(f"{index}\n".encode())
        self.done.add(index)

    def remove(self) -> None:
        """Remove the journal."""
        patiently(self._file.unlink, missing_ok=True)


def partial_path(path: Path) -> Path:
    """Return where the pixels of the file `path` are until it is whole."""
    return path.with_name(path.name + ".partial")


def journal_path(path: Path) -> Path:
    """Return where the journal of the file `path` lies."""
    return path.with_name(path.name + ".partial.json")


def job_digest(job: dict[str, Any]) -> str:
    """Return a short digest of a job's plain values."""
    return hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]


def job_mark(job: dict[str, Any]) -> str:
    """Return the text by which the result of a job is recognised."""
    return f"napari-care-losses {__version__} job {job_digest(job)}"
