"""The two jobs from file to file: stopped and resumed, refused, failed."""

import os
from itertools import islice

import numpy as np
import pytest
import tifffile
import torch

from napari_care_losses.core.architecture import PRESETS, Architecture
from napari_care_losses.core.engines import Engine
from napari_care_losses.core.errors import (
    ComputeError,
    InputError,
    OutputError,
    ResumeError,
    TrainingDivergedError,
    UnreadableError,
)
from napari_care_losses.core.frames import Calibration, Frames
from napari_care_losses.core.jobs import restore_to_file, state_path, train_to_file
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.model import Model, ModelCard, load_model
from napari_care_losses.core.network import CareNetwork
from napari_care_losses.core.patches import Pair
from napari_care_losses.core.restoration import RestorationParameters, restore
from napari_care_losses.core.saving import OUTPUT_TYPES, cast
from napari_care_losses.core.stacks import read_stack
from napari_care_losses.core.tiff import read_tiff, write_tiff
from napari_care_losses.core.training import Epoch, Trainer, TrainingParameters

TINY = Architecture(kernel_size=3, filters=2, depth=1)
SCALED = Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True)


def make_model(architecture=TINY, seed=0):
    network = CareNetwork(architecture, torch.Generator().manual_seed(seed))
    loss = "laplace" if architecture.predicts_scale else "mae"
    return Model(ModelCard(structure="other", loss=loss, architecture=architecture), network.state_dict())


@pytest.fixture
def stack(tmp_path):
    """Return the path of a stack of 4 frames of 40 x 36 px, in four tiles of 32 px each."""
    image = np.random.default_rng(0).integers(100, 1000, (4, 40, 36)).astype(np.uint16)
    write_tiff(tmp_path / "in.tif", Frames(image, "TYX", Calibration(pixel_size=(0.1, 0.1))))
    return tmp_path / "in.tif"


def job(stack, out, model=None, frames=None, **options):
    """Return the restoration of a file in tiles of 32 px."""
    options.setdefault("parameters", RestorationParameters(tile_size=32))
    chosen = read_tiff(stack) if frames is None else frames
    return restore_to_file(chosen, model or make_model(), out, source=stack, device="cpu", **options)


def run(restoring):
    """Run to the end; return the indices of the frames restored and the number of clipped pixels."""
    indices = []
    while True:
        try:
            progress = next(restoring)
        except StopIteration as finished:
            return indices, finished.value
        if progress.frame is not None:
            indices.append(progress.frame.index)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_the_file_is_the_restored_stack_with_its_calibration(stack, tmp_path):
    assert run(job(stack, tmp_path / "out.tif")) == ([0, 1, 2, 3], 0)
    restored = read_tiff(tmp_path / "out.tif")
    assert restored.dtype == np.float32
    assert restored.axes == "TYX"
    assert restored.calibration.pixel_size == pytest.approx((0.1, 0.1))
    expected = restore(tifffile.imread(stack), make_model(), RestorationParameters(tile_size=32), device="cpu")
    np.testing.assert_array_equal(np.stack(list(restored)), expected)
    assert names(tmp_path) == ["in.tif", "out.tif"]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
@pytest.mark.parametrize("normalization", ["frame", "stack"])
@pytest.mark.parametrize("stop", [1, 4, 10, 15])
def test_a_stopped_restoration_does_only_what_is_missing(stack, tmp_path, normalization, stop, suffix):
    options = {"parameters": RestorationParameters(tile_size=32, normalization=normalization)}
    run(job(stack, tmp_path / "whole.tif", **options))
    out = tmp_path / f"out{suffix}"
    stopped = job(stack, out, **options)
    done = [step.frame.index for step in islice(stopped, stop) if step.frame is not None]
    stopped.close()
    assert not out.exists()
    assert run(job(stack, out, **options, resume=True))[0] == [index for index in range(4) if index not in done]
    np.testing.assert_array_equal(np.stack(list(read_stack(out))), tifffile.imread(tmp_path / "whole.tif"))
    assert names(tmp_path) == ["in.tif", f"out{suffix}", "whole.tif"]


def test_resume_starts_where_there_is_nothing_and_afresh_is_afresh(stack, tmp_path):
    out = tmp_path / "out.tif"
    stopped = job(stack, out)
    list(islice(stopped, 9))
    stopped.close()
    assert run(job(stack, out))[0] == [0, 1, 2, 3]
    out.unlink()
    assert run(job(stack, out, resume=True))[0] == [0, 1, 2, 3]


def test_another_job_is_not_resumed_and_keeps_what_was_done(stack, tmp_path):
    out = tmp_path / "out.tif"
    stopped = job(stack, out)
    list(islice(stopped, 5))
    stopped.close()
    others = [
        {"model": make_model(seed=1)},
        {"parameters": RestorationParameters(tile_size=32, normalization="stack")},
        {"parameters": RestorationParameters(tile_size=32, engine="torch")},
        {"parameters": RestorationParameters(tile_size=33)},
        {"dtype": "uint16"},
        {"frames": read_tiff(stack).select(0, 3)},
        {"frames": read_tiff(stack).select(1, 4)},
    ]
    for other in others:
        with pytest.raises(ResumeError, match="another input, model or settings"):
            run(job(stack, out, **other, resume=True))
    assert run(job(stack, out, resume=True))[0] == [1, 2, 3]


def test_a_changed_input_is_not_resumed(stack, tmp_path):
    stopped = job(stack, tmp_path / "out.tif")
    list(islice(stopped, 5))
    stopped.close()
    os.utime(stack, ns=(1, 1))
    with pytest.raises(ResumeError):
        run(job(stack, tmp_path / "out.tif", resume=True))


def test_a_finished_job_returns_at_once_and_does_not_touch_its_files(stack, tmp_path, monkeypatch):
    outputs = {"out": tmp_path / "out.tif", "scale_out": tmp_path / "scale.tif"}
    model = make_model(SCALED)
    run(job(stack, model=model, **outputs))
    for path in outputs.values():
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr("napari_care_losses.core.jobs.restore_frames", None)
    assert run(job(stack, model=model, **outputs, resume=True)) == ([], 0)
    assert [path.stat().st_mtime_ns for path in outputs.values()] == [1, 1]


def test_a_file_that_only_looks_finished_is_made_again(stack, tmp_path):
    out = tmp_path / "out.tif"
    run(job(stack, out, make_model(seed=1)))
    assert run(job(stack, out, resume=True))[0] == [0, 1, 2, 3]
    out.write_bytes(b"no image")
    assert run(job(stack, out, resume=True))[0] == [0, 1, 2, 3]


def test_the_input_is_never_overwritten(stack, tmp_path):
    before = stack.read_bytes()
    (tmp_path / "link.tif").symlink_to(stack)
    for path in (stack, tmp_path / "link.tif", tmp_path / "." / "in.tif"):
        with pytest.raises(InputError, match="would overwrite its input"):
            run(job(stack, path))
        with pytest.raises(InputError, match="would overwrite its input"):
            run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=path))
    assert stack.read_bytes() == before
    assert names(tmp_path) == ["in.tif", "link.tif"]


def test_an_existing_file_stays_until_the_new_one_is_whole(stack, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("before")
    restoring = job(stack, out)
    for progress in restoring:
        assert out.read_text() == "before"
        if progress.done == progress.total:
            break
    assert run(restoring)[0] == []
    assert tifffile.imread(out).shape == (4, 40, 36)


def test_bad_input_midway_leaves_nothing_behind(tmp_path):
    image = np.random.default_rng(0).random((3, 20, 20), np.float32)
    image[2, 0, 0] = np.nan
    write_tiff(tmp_path / "in.tif", Frames(image))
    with pytest.raises(InputError, match="Frame 2"):
        run(job(tmp_path / "in.tif", tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "scale.tif"))
    assert names(tmp_path) == ["in.tif"]


def test_a_device_that_fails_midway_leaves_what_is_done_for_a_later_run(stack, tmp_path, monkeypatch):
    calls, restore_tile = [], Engine.restore

    def fail(self, tile):
        calls.append(1)
        if len(calls) > 9:
            raise ComputeError("out of memory")
        return restore_tile(self, tile)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "restore", fail)
        with pytest.raises(ComputeError, match="out of memory"):
            run(job(stack, tmp_path / "out.tif"))
    assert not (tmp_path / "out.tif").exists()
    assert run(job(stack, tmp_path / "out.tif", resume=True))[0] == [2, 3]


def test_the_scale_goes_to_a_file_of_its_own(stack, tmp_path):
    model, outputs = make_model(SCALED), {"out": tmp_path / "out.tif", "scale_out": tmp_path / "scale.tif"}
    stopped = job(stack, model=model, **outputs, dtype="uint16")
    list(islice(stopped, 9))
    stopped.close()
    run(job(stack, model=model, **outputs, dtype="uint16", resume=True))
    scale = tifffile.imread(tmp_path / "scale.tif")
    assert scale.dtype == np.float32
    assert scale.shape == (4, 40, 36)
    assert scale.min() > 0
    assert tifffile.imread(tmp_path / "out.tif").dtype == np.uint16


def test_a_scale_that_cannot_be_written_is_refused(stack, tmp_path):
    with pytest.raises(InputError, match="mae loss predicts no scale"):
        run(job(stack, tmp_path / "out.tif", scale_out=tmp_path / "scale.tif"))
    with pytest.raises(InputError, match="two different files"):
        run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "out.tif"))
    with pytest.raises(InputError, match="does not exist"):
        run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "none" / "scale.tif"))
    assert names(tmp_path) == ["in.tif"]


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_a_cast_rounds_clips_and_counts(dtype):
    top = np.iinfo(dtype).max
    image = np.array([[-0.4, -0.6, 0.5, 1.6], [top, top + 0.4, top + 1, 1e9]], np.float32)
    pixels, clipped = cast(image, dtype)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, [[0, 0, 0, 2], [top] * 4])
    assert clipped == 3
    assert set(OUTPUT_TYPES) == {"float32", "uint16", "uint8"}


def test_clipped_pixels_are_counted_over_the_stack(stack, tmp_path):
    _, clipped = run(job(stack, tmp_path / "out.tif", dtype="uint8"))
    exact = restore(tifffile.imread(stack), make_model(), RestorationParameters(tile_size=32), device="cpu")
    rounded = np.rint(exact)
    assert clipped == int(((rounded < 0) | (rounded > 255)).sum()) > 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), np.clip(rounded, 0, 255).astype(np.uint8))


def test_an_input_that_vanished_is_an_output_error_free_of_traces(stack, tmp_path):
    frames = read_tiff(stack)
    stack.unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        run(job(stack, tmp_path / "out.tif", frames=frames))
    assert names(tmp_path) == []


class Drive:
    """A stack on a drive that can be unplugged."""

    def __init__(self, stack):
        self._stack, self.shape, self.dtype, self.is_there = stack, stack.shape, stack.dtype, True

    def __getitem__(self, place):
        if not self.is_there:
            raise OSError(5, "Input/output error")
        return self._stack[place]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_frame_that_cannot_be_read_keeps_what_was_done(stack, tmp_path, suffix):
    out, drive = tmp_path / f"out{suffix}", Drive(tifffile.imread(stack))
    stopped = job(stack, out, frames=Frames(drive, "TYX"))
    list(islice(stopped, 5))
    drive.is_there = False
    with pytest.raises(UnreadableError, match=rf"cannot be read .* What is done stays beside .*out{suffix}: resume it"):
        list(stopped)
    drive.is_there = True
    assert run(job(stack, out, frames=Frames(drive, "TYX"), resume=True))[0] == [3]
    assert names(tmp_path) == ["in.tif", f"out{suffix}"]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_what_a_run_killed_at_its_very_end_left_is_removed(stack, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    run(job(stack, out))
    (tmp_path / f"out{suffix}.partial.json").write_text("{}\n")
    (tmp_path / f".out{suffix}.lock").write_text("")
    assert run(job(stack, out, resume=True)) == ([], 0)
    assert names(tmp_path) == ["in.tif", f"out{suffix}"]


@pytest.fixture
def tiny_preset(monkeypatch):
    """Shrink the preset the trainings here use."""
    monkeypatch.setitem(PRESETS, "lite", TINY)


def trainer(loss="mae", **settings):
    rng = np.random.default_rng(0)
    high = rng.random((3, 20, 20))
    pairs = [Pair(image + rng.normal(0, 0.2, image.shape), image, f"toy[{i}]") for i, image in enumerate(high)]
    values = {
        "preset": "lite",
        "budget": "steps",
        "amount": 5,
        "steps_per_epoch": 2,
        "patch_size": 16,
        "batch_size": 2,
        "validation_patches": 2,
    }
    return Trainer(pairs, LOSSES[loss](), TrainingParameters(**{**values, **settings}), device="cpu")


@pytest.mark.usefixtures("tiny_preset")
class TestTraining:
    def train(self, path, training=None, **options):
        training = training or trainer()
        return list(train_to_file(training, path, **options)), training

    def test_the_file_is_the_best_model(self, tmp_path):
        path = tmp_path / "m.safetensors"
        reports, training = self.train(path)
        assert isinstance(reports[-1], Epoch)
        assert load_model(path).digest() == training.model().digest()
        assert names(tmp_path) == ["m.resume", "m.safetensors"]

    @pytest.mark.parametrize("stop", range(1, 13))
    def test_stopped_anywhere_and_resumed_it_is_the_uninterrupted_run(self, tmp_path, stop):
        _, whole = self.train(tmp_path / "whole.safetensors")
        path = tmp_path / "m.safetensors"
        path.write_text("an older model")
        stopped = trainer()
        running = train_to_file(stopped, path)
        taken = list(islice(running, stop))
        running.close()
        assert state_path(path).exists() == stopped.has_started
        assert stopped.is_finished == (stop == 12)
        if not stopped.is_finished:
            assert path.read_text() == "an older model"
        rest, resumed = self.train(path, resume=True)
        kept = [report for report in taken if isinstance(report, Epoch)]
        assert [*kept, *(report for report in rest if isinstance(report, Epoch))] == whole.history
        assert resumed.history == whole.history
        weights = load_model(path).weights
        assert all(torch.equal(value, whole.model().weights[name]) for name, value in weights.items())

    def test_a_finished_run_resumed_returns_at_once(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        os.utime(path, ns=(1, 1))
        reports, training = self.train(path, resume=True)
        assert reports == []
        assert training.is_finished
        assert path.stat().st_mtime_ns == 1

    def test_a_lost_model_of_a_finished_run_is_written_again(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        digest = load_model(path).digest()
        path.unlink()
        assert self.train(path, resume=True)[0] == []
        assert load_model(path).digest() == digest

    def test_a_larger_budget_goes_on(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path, trainer(budget="epochs", amount=1))
        _, longer = self.train(path, trainer(budget="epochs", amount=3), resume=True)
        assert [epoch.step for epoch in longer.history] == [2, 4, 6]
        assert load_model(path).card.training["steps"] == 6

    def test_without_resume_it_starts_afresh(self, tmp_path):
        path = tmp_path / "m.safetensors"
        running = train_to_file(trainer(), path)
        list(islice(running, 7))
        running.close()
        reports, again = self.train(path)
        assert [report.step for report in reports if isinstance(report, Epoch)] == [2, 4, 5]
        assert [epoch.step for epoch in again.history] == [2, 4, 5]

    def test_another_training_is_not_resumed(self, tmp_path):
        path = tmp_path / "m.safetensors"
        self.train(path)
        digest = load_model(path).digest()
        with pytest.raises(ResumeError, match="another loss"):
            self.train(path, trainer("mse"), resume=True)
        assert load_model(path).digest() == digest

    def test_a_missing_folder_is_refused_before_the_first_step(self, tmp_path):
        training = trainer()
        with pytest.raises(InputError, match="none does not exist"):
            self.train(tmp_path / "none" / "m.safetensors", training)
        assert not training.has_started

    def test_a_disk_that_fills_up_keeps_the_state_and_says_so(self, tmp_path, monkeypatch):
        path, saves = tmp_path / "m.safetensors", []
        save = Trainer.save_state

        def fail(self, file):
            saves.append(1)
            if len(saves) == 2:
                raise OutputError(f"{file} cannot be written: No space left on device.")
            save(self, file)

        monkeypatch.setattr(Trainer, "save_state", fail)
        with pytest.raises(OutputError, match=r"No space left .*m\.resume holds all but the last epoch"):
            self.train(path)
        monkeypatch.undo()
        monkeypatch.setitem(PRESETS, "lite", TINY)
        reports, _ = self.train(path, resume=True)
        assert [report.step for report in reports if isinstance(report, Epoch)] == [4, 5]

    def test_a_divergence_keeps_the_best_model_and_the_last_state(self, tmp_path, monkeypatch):
        path = tmp_path / "m.safetensors"
        training, steps = trainer(), []
        step = Trainer._step

        def diverging(self, *batch):
            steps.append(1)
            if len(steps) == 4:
                raise TrainingDivergedError("The loss became nan")
            return step(self, *batch)

        monkeypatch.setattr(Trainer, "_step", diverging)
        with pytest.raises(TrainingDivergedError):
            self.train(path, training)
        assert load_model(path).digest() == training.model().digest()
        again = trainer()
        again.load_state(state_path(path))
        assert again.history == training.history
        assert [epoch.step for epoch in again.history] == [2]

    def test_a_divergence_in_the_first_epoch_leaves_no_model(self, tmp_path, monkeypatch):
        def diverging(self, *batch):
            raise TrainingDivergedError("The loss became nan")

        monkeypatch.setattr(Trainer, "_step", diverging)
        with pytest.raises(TrainingDivergedError):
            self.train(tmp_path / "m.safetensors")
        assert names(tmp_path) == []
