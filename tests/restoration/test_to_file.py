"""Restorations from file to file: stopped and resumed, refused, failed."""

import os
import threading
from dataclasses import replace
from itertools import islice

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch

from napari_care_losses.errors import (
    ComputeError,
    InputError,
    OutputError,
    ResumeError,
    UnreadableError,
)
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.normalization import Standardization
from napari_care_losses.io.pixel_types import OUTPUT_TYPES, cast_pixels
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.base import Engine
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.restoration.to_file import restore_to_file

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
    save_stack(tmp_path / "in.tif", Frames(image, "TYX", Calibration(pixel_size=(0.1, 0.1))))
    return tmp_path / "in.tif"


def job(stack, out, model=None, frames=None, **options):
    """Return the restoration of a file in tiles of 32 px."""
    parameters, scale_out = (
        options.pop("parameters", RestorationParameters(tile_size=32)),
        options.pop("scale_out", None),
    )
    chosen, run = read_tiff(stack) if frames is None else frames, RunOptions(device="cpu", **options)
    return restore_to_file(chosen, model or make_model(), out, parameters, run, source=stack, scale_out=scale_out)


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
def test_a_stopped_restoration_restores_only_the_missing_frames(stack, tmp_path, normalization, stop, suffix):
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


def test_the_range_the_model_needs_is_the_same_job_as_that_range_by_its_name(stack, tmp_path):
    """Runs of earlier versions, which had every range by its name, are continued."""
    out, model = tmp_path / "out.tif", make_model()
    model = replace(model, card=replace(model.card, normalization=Standardization(of_dataset=True)))
    run(job(stack, out, model=model, parameters=RestorationParameters(normalization="stack")))
    assert run(job(stack, out, model=model, parameters=RestorationParameters(), resume=True))[0] == []
    run(job(stack, out, parameters=RestorationParameters(normalization="frame")))
    assert run(job(stack, out, parameters=RestorationParameters(), resume=True))[0] == []


def test_without_a_partial_file_resume_starts_anew_and_without_resume_a_run_starts_anew(stack, tmp_path):
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


def test_a_finished_job_returns_at_once_and_leaves_its_files_unchanged(stack, tmp_path, monkeypatch):
    outputs = {"out": tmp_path / "out.tif", "scale_out": tmp_path / "scale.tif"}
    model = make_model(SCALED)
    run(job(stack, model=model, **outputs))
    for path in outputs.values():
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr("napari_care_losses.restoration.to_file.restore_frames", None)
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
    # stands in for a file system that ignores case
    os.link(stack, tmp_path / "IN.tif")
    with pytest.raises(InputError, match="would overwrite its input"):
        run(job(stack, tmp_path / "IN.tif"))
    with pytest.raises(InputError, match="need different files"):
        run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "OUT.tif"))
    assert stack.read_bytes() == before
    assert names(tmp_path) == ["IN.tif", "in.tif", "link.tif"]


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
    image = np.random.default_rng(0).random((3, 20, 20))
    image[2, 0, 0] = 1e300
    save_stack(tmp_path / "in.tif", Frames(image))
    with pytest.raises(InputError, match="Frame 2"):
        run(job(tmp_path / "in.tif", tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "scale.tif"))
    assert names(tmp_path) == ["in.tif"]


def test_a_device_that_fails_midway_leaves_what_is_done_for_a_later_run(stack, tmp_path, monkeypatch):
    calls, restore_tiles = [], Engine.restore_together

    def fail(self, tiles):
        calls.append(1)
        if len(calls) > 9:
            raise ComputeError("out of memory")
        return restore_tiles(self, tiles)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "restore_together", fail)
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
    with pytest.raises(InputError, match="need different files"):
        run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "out.tif"))
    with pytest.raises(InputError, match="does not exist"):
        run(job(stack, tmp_path / "out.tif", make_model(SCALED), scale_out=tmp_path / "none" / "scale.tif"))
    assert names(tmp_path) == ["in.tif"]


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_a_cast_rounds_clips_and_counts_the_clipped_pixels(dtype):
    top = np.iinfo(dtype).max
    image = np.array([[-0.4, -0.6, 0.5, 1.6], [top, top + 0.4, top + 1, 1e9]], np.float32)
    pixels, clipped = cast_pixels(image, dtype)
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
        self.was_read = [threading.Event() for _ in stack]

    def __getitem__(self, place):
        if not self.is_there:
            raise OSError(5, "Input/output error")
        self.was_read[place[0]].set()
        return self._stack[place]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_frame_that_cannot_be_read_keeps_what_was_done(stack, tmp_path, suffix):
    out, drive = tmp_path / f"out{suffix}", Drive(tifffile.imread(stack))
    stopped = job(stack, out, frames=Frames(drive, "TYX"))
    list(islice(stopped, 5))
    # read in the background while the frame before it is restored
    assert drive.was_read[2].wait(60)
    drive.is_there = False
    with pytest.raises(UnreadableError, match=rf"cannot be read .* frames stay beside .*out{suffix}: resume it"):
        list(stopped)
    drive.is_there = True
    assert run(job(stack, out, frames=Frames(drive, "TYX"), resume=True))[0] == [3]
    assert names(tmp_path) == ["in.tif", f"out{suffix}"]


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_remains_of_a_run_killed_at_its_end_are_removed(stack, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    run(job(stack, out))
    (tmp_path / f"out{suffix}.partial.json").write_text("{}\n")
    (tmp_path / f".out{suffix}.lock").write_text("")
    assert run(job(stack, out, resume=True)) == ([], 0)
    assert names(tmp_path) == ["in.tif", f"out{suffix}"]


def test_a_chunk_of_several_frames_is_unpacked_once_for_the_range_and_all_frames(tmp_path, stack):
    image = np.stack(list(read_tiff(stack)))
    computed = []

    def compute(block, block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return block

    lazy = da.from_array(image, chunks=(2, 40, 36)).map_blocks(compute, dtype=image.dtype, meta=image[:0])
    run(job(stack, tmp_path / "lazy.tif", frames=Frames(lazy)))
    assert computed == [0, 1]
    run(job(stack, tmp_path / "whole.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "lazy.tif"), tifffile.imread(tmp_path / "whole.tif"))
