"""The log of a training as a CSV file beside the model: a line for every epoch."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import CareError
from napari_care_losses.io.whole_files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_care_losses.training.progress import Epoch

LOG_SUFFIX = ".training.csv"


class LogRow(NamedTuple):
    """A line of the log; what is not known is empty."""

    epoch: int
    step: int
    seconds: float
    """Of training and validation, since the training began; those of earlier parts of it are in it."""
    training_loss: float
    validation_loss: float
    learning_rate: float
    psnr: float
    """Of the validation image, in dB; estimated where there is no clean image."""
    is_best: bool
    """Whether the validation loss was the lowest so far."""


def log_path(path: Path) -> Path:
    """Return where the log of the training of the model file `path` lies: beside it.

    Examples
    --------
    >>> from pathlib import Path
    >>> log_path(Path("actin.safetensors")).name
    'actin.training.csv'
    """
    return path.with_suffix(LOG_SUFFIX)


def row_of(epoch: Epoch, seconds: float = math.nan, psnr: float = math.nan) -> LogRow:
    """Return the line of an epoch."""
    losses = epoch.training_loss, epoch.validation_loss
    return LogRow(epoch.epoch, epoch.step, seconds, *losses, epoch.learning_rate, psnr, epoch.is_best)


class CsvLog:
    """Writes the log of a training, a line at the end of every epoch, each at once onto the disk.

    The file is open only while a line is written. Where it cannot be, as while a spreadsheet has it open on Windows,
    the line is written with the next one: a log never ends a training.

    Parameters
    ----------
    path : Path
        The model file.
    history : sequence of Epoch
        The epochs of the training that is resumed, whose lines stay, each once; empty for a new training, whose first
        line replaces the log of an earlier one.
    """

    def __init__(self, path: Path, history: Sequence[Epoch] = ()) -> None:
        self._path = log_path(path)
        self._is_begun = False
        self._waiting = self._known_rows(history)

    def add(self, row: LogRow) -> None:
        """Write a line."""
        self._waiting.append(row)
        self.flush()

    def flush(self) -> None:
        """Write the lines that are waiting, where that is possible now."""
        if not self._waiting:
            return
        try:
            self._append() if self._is_begun else self._begin()
        except (CareError, OSError):
            return
        self._is_begun, self._waiting = True, []

    def _begin(self) -> None:
        with replacing(self._path) as temporary:
            temporary.write_bytes(_text([LogRow._fields, *map(_shown, self._waiting)]))

    def _append(self) -> None:
        # without it, the lines before would be missing: it was deleted, and begins anew
        with self._path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(_text(map(_shown, self._waiting)))
            file.flush()
            os.fsync(file.fileno())

    def _known_rows(self, history: Sequence[Epoch]) -> list[LogRow]:
        """Return the lines of the epochs before, as the file has them where it has."""
        there = {(row.epoch, row.step): row for row in read_log(self._path)} if history else {}
        return [there.get((epoch.epoch, epoch.step), row_of(epoch)) for epoch in history]


def read_log(path: Path) -> list[LogRow]:
    """Return the lines of a log that are whole, in order; none where there is no log.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from napari_care_losses.training.progress import Epoch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CsvLog(Path(folder) / "m.safetensors")
    ...     log.add(row_of(Epoch(1, 100, 0.5, 0.25, 1e-3, True), seconds=2.5))
    ...     (row,) = read_log(Path(folder) / "m.training.csv")
    >>> row.step, row.validation_loss, row.seconds, row.psnr
    (100, 0.25, 2.5, nan)
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError:
        return []
    rows = []
    for line in lines:
        fields = next(csv.reader([line]), []) if line.endswith("\n") else []
        try:
            epoch, step, *numbers, best = fields
            values = [float(number) if number else math.nan for number in numbers]
            seconds, training, validation, rate, psnr = values
            rows.append(LogRow(int(epoch), int(step), seconds, training, validation, rate, psnr, best == "yes"))
        except ValueError:
            # the heading, or a line that a crash has cut short
            continue
    return rows


def _shown(row: LogRow) -> list[str]:
    words = {True: "yes", False: "no"}
    numbers = ("" if math.isnan(value) else f"{value:.8g}" for value in row[2:-1])
    return [str(row.epoch), str(row.step), *numbers, words[row.is_best]]


def _text(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
