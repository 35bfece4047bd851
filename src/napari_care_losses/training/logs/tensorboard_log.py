"""TensorBoard's events of a training: curves, and the validation image."""

from __future__ import annotations

import math
import platform
import shutil
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.errors import MissingLibraryError, OutputError
from napari_care_losses.io.whole_files import check_length, patiently

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.training.logs.csv_log import LogRow
    from napari_care_losses.training.progress import Preview, Step

FOLDER = "tensorboard"
"""The folder beside the models; ``tensorboard --logdir`` takes it."""

EVENTS = "events.out.tfevents."
"""What the names of files of events begin with; time, machine, process and a number follow."""
_NUMBERS = len("1700000000..1000000.0")

STEPS_APART = 10
"""Steps between two points of the training loss."""

SHOWN_PERCENTILES = (1.0, 99.8)
"""Grey levels of the validation image that are black and white."""


def events_folder(path: Path) -> Path:
    """Return where the events of the training of a model file lie.

    Examples
    --------
    >>> from pathlib import Path
    >>> events_folder(Path("models/actin.safetensors")).as_posix()
    'models/tensorboard/actin'
    """
    return path.parent / FOLDER / path.stem


def event_files(path: Path) -> list[Path]:
    """Return the files of events of the training of a model file; none where there are none.

    Examples
    --------
    >>> from pathlib import Path
    >>> event_files(Path("models/actin.safetensors"))
    []
    """
    return sorted(file for file in events_folder(path).glob(f"{EVENTS}*") if file.is_file())


def remove_empty_folders(path: Path) -> None:
    """Remove the folder of events of the training of a model file, and that of all trainings, if they are empty."""
    folder = events_folder(path)
    # what is not empty is not removed
    with suppress(OSError):
        patiently(folder.rmdir)
        patiently(folder.parent.rmdir)


class TensorBoardLog:
    """Writes TensorBoard's events; they reach the disk at the end of every epoch.

    Parameters
    ----------
    path : Path
        The model file.
    step : int
        Steps taken before: points beyond them are of a run that was stopped, and are shown no more. With 0, events of
        an earlier training are removed, or shown no more where TensorBoard has them open on Windows.

    Raises
    ------
    MissingLibraryError, InputError
        As `check`.
    OutputError
        If the folder cannot be written to.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.check(path)
        from torch.utils.tensorboard import SummaryWriter

        folder = events_folder(path)
        try:
            hidden_from = step + 1 if step else None
            if not step and folder.is_dir():
                try:
                    patiently(shutil.rmtree, folder)
                except PermissionError:
                    # TensorBoard has them open, on Windows
                    hidden_from = 0
            self._writer: Any = SummaryWriter(str(folder), purge_step=hidden_from)
        except OSError as error:
            raise OutputError(f"TensorBoard's log cannot be written to {folder}: {error.strerror or error}.") from error

    @staticmethod
    def check(path: Path) -> None:
        """Check that events can be written beside a model file, as far as that can be known before the work.

        Raises
        ------
        MissingLibraryError
            If the package tensorboard is not installed.
        InputError
            If their paths would be too long.
        """
        if find_spec("tensorboard") is None:
            raise MissingLibraryError(
                "TensorBoard's log needs the package tensorboard, which is not installed: "
                'pip install "napari-care-losses[tensorboard]". The CSV log is written in any case.'
            )
        check_length(events_folder(path) / f"{EVENTS}{platform.node()}", _NUMBERS)

    def add_step(self, step: Step) -> None:
        """Write the training loss of some steps."""
        if step.step % STEPS_APART == 0:
            self._writer.add_scalar("loss/batch", step.loss, step.step)

    def add_epoch(self, row: LogRow, preview: Preview | None) -> None:
        """Write the curves of an epoch, and the validation image where there is one."""
        scalars = {
            "loss/training": row.training_loss,
            "loss/validation": row.validation_loss,
            "learning rate": row.learning_rate,
            "PSNR of the validation image (dB)": row.psnr,
        }
        for name, value in scalars.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, row.step)
        if preview is not None:
            self._writer.add_image("validation image", side_by_side(preview), row.step, dataformats="HW")
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def side_by_side(preview: Preview) -> NDArray[np.uint8]:
    """Return low exposure, restored and truth, where there is one, beside one another as 8-bit grey levels (Y, X).

    Examples
    --------
    >>> from napari_care_losses.training.progress import Preview
    >>> image = np.arange(64, dtype=np.float32).reshape(8, 8)
    >>> side_by_side(Preview(image, image, None, math.nan, 30.0)).shape
    (8, 16)
    """
    images = [preview.low, preview.restored, *([] if preview.truth is None else [preview.truth])]
    low, high = np.percentile(images[-1], SHOWN_PERCENTILES)
    scaled = (np.concatenate(images, axis=1) - low) / max(float(high - low), 1e-6)
    shown: NDArray[np.uint8] = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
    return shown
