"""Growing sources into files: whole or partial, resumed, logged, refused."""

import csv
import threading
from pathlib import Path

import numpy as np
import pytest
from fixtures.growing_source import GrowingSource
from fixtures.random_models import image_of, make_model

from napari_care_losses.errors import InputError, OutputError, ResumeError
from napari_care_losses.following.progress import FollowOptions
from napari_care_losses.following.sources.open_source import open_source
from napari_care_losses.following.to_file import follow_to_file, log_path, order_path
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.restore_stack import restore

pytestmark = pytest.mark.usefixtures("one_torch_thread")

PARAMETERS = RestorationParameters(engine="torch")


def work(source, out, *, model=None, enough=None, parameters=PARAMETERS, resume=False, dtype="float32", **options):
    run = RunOptions(resume=resume, dtype=dtype)
    return follow_to_file(
        source, model or make_model(), out, parameters, run, FollowOptions(device="cpu", **options), enough=enough
    )


def logged(out):
    with log_path(out).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_result_is_that_of_the_whole_stack_with_its_metadata(tmp_path):
    frames, out = image_of((6, 2, 24, 28)), tmp_path / "r.ome.zarr"
    calibration = Calibration(pixel_size=(0.1, 0.2), time_step=3.0)
    source = GrowingSource(frames.reshape(12, 24, 28), "TCYX", (2,), count=8, calibration=calibration)
    for progress in work(source, out, until=6):
        assert not out.exists()
        if progress.restored == 8 and source.count == 8:
            source.push(4)
    result = read_stack(out)
    assert (result.axes, result.shape, result.calibration, result.note) == (
        "TCYX",
        frames.shape,
        calibration,
        "",
    )
    expected = restore(Frames(frames, "TCYX"), make_model(), PARAMETERS, device="cpu")
    np.testing.assert_array_equal(np.stack(list(result)), expected.reshape(12, 24, 28))
    rows = logged(out)
    assert sorted(int(row["frame"]) for row in rows) == list(range(12))
    assert all((row["delay_ms"] == "") == (int(row["frame"]) < 8) for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.ome.zarr", "r_frames.csv"]


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_log_that_another_program_has_open_is_written_after_it(tmp_path, monkeypatch, is_closed):
    frames, out, opened, refused = image_of((6, 24, 28)), tmp_path / "r.ome.zarr", Path.open, []

    def in_use(path, mode="r", *more, **options):
        if path == log_path(out) and mode == "a" and (len(refused) < 3 or not is_closed):
            refused.append(mode)
            raise PermissionError(13, "it is in use")
        return opened(path, mode, *more, **options)

    monkeypatch.setattr(Path, "open", in_use)
    running = work(GrowingSource(frames, count=6), out, until=6)
    if is_closed:
        for _ in running:
            pass
        assert sorted(int(row["frame"]) for row in logged(out)) == list(range(6))
        assert len(refused) == 3
    else:
        with pytest.raises(
            OutputError, match=r"r_frames\.csv cannot be written: it is in use\. Close what has it open"
        ):
            for _ in running:
                pass
    assert read_stack(out).shape == frames.shape


@pytest.mark.parametrize("normalization", ["frame", "stack"])
def test_a_closed_run_is_resumed_without_restoring_a_frame_twice(tmp_path, normalization):
    frames, out = image_of((20, 24, 28)), tmp_path / "r.ome.zarr"
    parameters = RestorationParameters(engine="torch", normalization=normalization)
    source = GrowingSource(frames, count=2)
    first = work(source, out, parameters=parameters)
    for progress in first:
        if progress.restored >= 4:
            break
        if progress.frame is not None and source.count < 12:
            source.push(5)
    first.close()
    assert not out.exists()
    before = [int(row["frame"]) for row in logged(out)]
    again = GrowingSource(frames, count=20)
    for progress in work(again, out, parameters=parameters, resume=True, until=20):
        if progress.frame is not None:
            before.append(progress.frame.index)
    assert sorted(before) == list(range(20))
    assert sorted(int(row["frame"]) for row in logged(out)) == list(range(20))
    # the range is that of as many first frames as the stopped run had
    whole = GrowingSource(frames, count=2)
    for progress in work(whole, tmp_path / "w.ome.zarr", parameters=parameters, until=20):
        if progress.frame is not None and whole.count == 2:
            whole.push(18)
    np.testing.assert_array_equal(np.stack(list(read_stack(out))), np.stack(list(read_stack(tmp_path / "w.ome.zarr"))))


def test_another_acquisition_of_the_same_name_is_not_resumed(tmp_path):
    out = tmp_path / "r.ome.zarr"
    first = work(GrowingSource(image_of((3, 24, 28)), count=3), out)
    assert any(progress.restored == 2 for progress in first)
    first.close()
    other = GrowingSource(image_of((3, 24, 28), seed=1), count=3)
    with pytest.raises(ResumeError, match="had another input"):
        list(work(other, out, resume=True, until=3))


def test_a_finished_result_is_not_followed_further(tmp_path):
    out, source = tmp_path / "r.ome.zarr", GrowingSource(image_of((3, 24, 28)), count=3)
    list(work(source, out, until=2))
    with pytest.raises(InputError, match="is finished"):
        list(work(source, out, resume=True, until=3))
    assert read_stack(out).shape == (2, 24, 28)


def test_a_run_without_a_frame_leaves_nothing(tmp_path):
    list(work(GrowingSource(image_of((3, 24, 28))), tmp_path / "r.ome.zarr", idle=0.05))
    assert list(tmp_path.iterdir()) == []


def test_the_end_restores_what_has_come(tmp_path):
    out, enough, source = tmp_path / "r.ome.zarr", threading.Event(), GrowingSource(image_of((4, 24, 28)), count=4)
    for progress in work(source, out, enough=enough):
        if progress.restored == 1:
            enough.set()
    assert len(read_stack(out)) == 4


def test_integers_are_rounded_and_clipped(tmp_path):
    out, frames = tmp_path / "r.ome.zarr", image_of((2, 24, 28))
    generator = work(GrowingSource(frames, count=2), out, dtype="uint8", until=2)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(generator)
    expected = restore(frames, make_model(), PARAMETERS, device="cpu")
    assert ended.value.value == int(((np.rint(expected) < 0) | (np.rint(expected) > 255)).sum())
    assert read_stack(out).dtype == np.uint8


def test_what_cannot_be_written_so_is_refused(tmp_path):
    source = GrowingSource(image_of((1, 24, 28)), count=1)
    with pytest.raises(InputError, match="only OME-Zarr can grow"):
        next(work(source, tmp_path / "r.tif"))
    live = GrowingSource(image_of((1, 24, 28)), count=1, keeps_frames=False)
    with pytest.raises(InputError, match="no file without gaps"):
        next(work(live, tmp_path / "r.ome.zarr"))
    running = work(source, tmp_path / "r.ome.zarr")
    next(running)
    with pytest.raises(InputError, match="made by another run"):
        next(work(source, tmp_path / "r.ome.zarr"))
    running.close()


def test_a_drive_that_vanishes_ends_it_and_is_not_written_elsewhere(tmp_path):
    (tmp_path / "drive").mkdir()
    out, source = tmp_path / "drive" / "r.ome.zarr", GrowingSource(image_of((3, 24, 28)), count=1)
    with pytest.raises(OutputError, match="cannot be written"):
        for _ in work(source, out, until=3):
            # once the first frame is written
            if source.count == 1 and log_path(out).exists() and logged(out):
                (tmp_path / "drive").rename(tmp_path / "gone")
                source.push(2)
    assert not (tmp_path / "drive").exists()


def test_a_folder_of_results_is_followed_beside_its_own_result(tmp_path):
    frames, out = image_of((3, 24, 28)), tmp_path / "r.ome.zarr"
    for number, frame in enumerate(frames):
        save_stack(tmp_path / f"t{number}.tif", frame)
    source = open_source(tmp_path, order=order_path(out), skipped=[out])
    list(work(source, out, until=3))
    np.testing.assert_array_equal(
        np.stack(list(read_stack(out))), restore(frames, make_model(), PARAMETERS, device="cpu")
    )
    assert not order_path(out).exists()
