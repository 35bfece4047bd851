import math
import platform
import sys

import numpy as np
import pytest
from fixtures.toy_trainings import short as trainer
from fixtures.windows_files import law_of_windows

from napari_care_losses.errors import InputError, MissingLibraryError
from napari_care_losses.io import whole_files
from napari_care_losses.training.logs import tensorboard_log
from napari_care_losses.training.logs.csv_log import log_path, read_log
from napari_care_losses.training.logs.logged import train_and_log
from napari_care_losses.training.logs.parameters import LogParameters
from napari_care_losses.training.logs.tensorboard_log import event_files, events_folder, side_by_side
from napari_care_losses.training.progress import Epoch, Preview

EVENTS = LogParameters(tensorboard=True)


def events_of(path):
    """Read all events by TensorBoard's own reader."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = accumulators.EventAccumulator(str(events_folder(path)), purge_orphaned_data=True)
    return accumulator.Reload()


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("tensorboard")
    return tmp_path / "m.safetensors"


def test_curves_and_the_validation_image_are_there(path):
    list(train_and_log(trainer(), path, log=EVENTS))
    events = events_of(path)
    rows = read_log(log_path(path))
    for name, column in (("loss/training", "training_loss"), ("loss/validation", "validation_loss")):
        points = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row.step, getattr(row, column)) for row in rows]
        np.testing.assert_allclose(points, expected, rtol=1e-5)
    assert [event.step for event in events.Images("validation image")][-1] == 8
    assert math.isfinite(events.Scalars("PSNR of the validation image (dB)")[-1].value)


def test_a_resumed_training_goes_on_and_a_new_one_begins_anew(path):
    work = train_and_log(trainer(), path, log=EVENTS)
    next(report for report in work if isinstance(report, Epoch) and report.epoch == 2)
    work.close()
    list(train_and_log(trainer(), path, log=EVENTS, resume=True))
    assert [event.step for event in events_of(path).Scalars("loss/validation")] == [2, 4, 6, 8]
    list(train_and_log(trainer(amount=4), path, log=EVENTS))
    assert [event.step for event in events_of(path).Scalars("loss/validation")] == [2, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is open")
def test_a_new_training_begins_anew_where_tensorboard_has_the_old_events_open(path):
    list(train_and_log(trainer(), path, log=EVENTS))
    (old,) = events_folder(path).iterdir()
    with law_of_windows(), old.open("rb"):
        list(train_and_log(trainer(amount=4), path, log=EVENTS))
    assert old.is_file()
    assert [event.step for event in events_of(path).Scalars("loss/validation")] == [2, 4]


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard_log, "find_spec", lambda _: None)
    path = tmp_path / "m.safetensors"
    with pytest.raises(MissingLibraryError, match=r'pip install "napari-care-losses\[tensorboard\]"'):
        next(train_and_log(trainer(), path, log=EVENTS))
    assert not list(tmp_path.iterdir())


def test_paths_that_would_be_too_long_are_said_before_the_first_step(path, monkeypatch):
    monkeypatch.setattr(whole_files, "_longest_path", lambda: len(str(path)) + 40)
    with pytest.raises(InputError, match="is too long"):
        next(train_and_log(trainer(), path, log=EVENTS))
    monkeypatch.undo()
    list(train_and_log(trainer(amount=2), path, log=EVENTS))
    (file,) = event_files(path)
    assert len(str(file)) <= len(str(events_folder(path) / f"{tensorboard_log.EVENTS}{platform.node()}")) + 20


def test_the_images_share_their_grey_levels():
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    preview = Preview(ramp * 9, ramp, ramp, 10.0, 20.0)
    low, restored, truth = np.split(side_by_side(preview), 3, axis=1)
    np.testing.assert_array_equal(restored, truth)
    assert low.max() == 255 and (low == 255).mean() > 0.5
