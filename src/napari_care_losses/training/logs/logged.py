"""A training that is logged while it runs, and shows a validation image."""

from __future__ import annotations

import math
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from napari_care_losses.training.logs.csv_log import CsvLog, row_of
from napari_care_losses.training.logs.tensorboard_log import TensorBoardLog
from napari_care_losses.training.progress import Epoch, Step
from napari_care_losses.training.to_file import train_to_file

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.training.logs.parameters import LogParameters
    from napari_care_losses.training.progress import Preview, Report
    from napari_care_losses.training.trainer import Trainer

PREVIEW_SHARE = 0.1
"""Largest part of the training time spent on previews, if epochs are very short."""


def train_and_log(
    trainer: Trainer,
    path: Path,
    *,
    resume: bool = False,
    log: LogParameters | None = None,
    previews: bool = True,
) -> Generator[Report | Preview, None, None]:
    """Train into a model file as `train_to_file`, and write a log beside it.

    Parameters
    ----------
    trainer, path, resume
        As in `train_to_file`.
    log : LogParameters, optional
        What is written besides `napari_care_losses.training.logs.csv_log`.
    previews : bool
        Whether a validation image is restored after the first step and every epoch, less often if epochs are short.

    Yields
    ------
    Preparing, Step, Epoch or Preview
        What the trainer reports, and the previews.

    Raises
    ------
    MissingLibraryError
        If TensorBoard's events are asked for and its package is missing. Else as `train_to_file`, `InputError` also if
        the paths of events would be too long.
    """
    writes = trainer.team.is_first
    shown = _Previews(trainer) if previews and writes else None
    wants_events = log is not None and log.tensorboard and writes
    rows: CsvLog | None = None
    events: TensorBoardLog | None = None
    if wants_events:
        # said before the first step
        TensorBoardLog.check(path)
    try:
        with closing(train_to_file(trainer, path, resume=resume)) as reports:
            for report in reports:
                if writes and rows is None and isinstance(report, Step | Epoch):
                    before = [epoch for epoch in trainer.history if epoch.step < report.step]
                    rows = CsvLog(path, before)
                    events = TensorBoardLog(path, report.step - 1) if wants_events else None
                if events is not None and isinstance(report, Step):
                    events.add_step(report)
                preview = shown.after(report) if shown is not None else None
                if rows is not None and isinstance(report, Epoch):
                    row = row_of(report, trainer.seconds, math.nan if preview is None else preview.restored_psnr)
                    rows.add(row)
                    if events is not None:
                        # a full disk ends the log, not the training
                        with suppress(OSError):
                            events.add_epoch(row, preview)
                yield report
                if preview is not None:
                    yield preview
    finally:
        if rows is not None:
            rows.flush()
        if events is not None:
            with suppress(OSError):
                events.close()


class _Previews:
    """Asks the trainer for previews, so rarely that they do not slow the training down."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._next = 0.0
        self._was_shown = False

    def after(self, report: Report) -> Preview | None:
        """Return a preview if one is due after this report."""
        now = time.perf_counter()
        is_due = not self._was_shown if isinstance(report, Step) else isinstance(report, Epoch)
        if not is_due or (now < self._next and not self._trainer.is_finished):
            return None
        preview = self._trainer.preview()
        taken = time.perf_counter() - now
        self._was_shown, self._next = True, now + taken / PREVIEW_SHARE
        return preview
