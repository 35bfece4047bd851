"""Restoring with the frames around each frame."""

import dataclasses
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from fixtures.random_models import Spy, image_of, make_model, needs_openvino

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.neighbours import neighbour_indices
from napari_care_losses.images.regions import Region
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.restore_stack import restore, restore_frames
from napari_care_losses.restoration.to_file import restore_to_file

AROUND = Architecture(kernel_size=3, filters=2, depth=1, neighbours=4)
TRAINING = {"neighbour_axis": "T", "neighbour_spacing": 1.0}


def model_around(architecture=AROUND, **card):
    return make_model(architecture, training=TRAINING, **card)


def plainly(model, stack, index, grey_levels, axis="T"):
    """Return frame `index` as the network in plain torch gives it, normalised with the range of that frame."""
    numbers = neighbour_indices(Frames(stack, "TYX"), index, model.card.care.neighbours, axis)
    channels = torch.from_numpy(grey_levels.apply(stack[list(numbers)]))[None]
    with torch.inference_mode():
        return grey_levels.undo(model.network()(channels).mean[0, 0].numpy())


def ranges_of(frames, model, parameters):
    return finish(estimate_ranges(frames, parameters, model.card.normalization))


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=needs_openvino)])
@pytest.mark.parametrize("normalization", ["frame", "stack"])
@pytest.mark.parametrize("is_blind", [False, True])
def test_restores_as_the_network_in_plain_torch(engine, normalization, is_blind):
    model = model_around(dataclasses.replace(AROUND, is_blind=is_blind))
    stack = image_of((6, 32, 40)) * np.linspace(1, 0.5, 6, dtype=np.float32)[:, None, None]
    parameters = RestorationParameters(engine=engine, normalization=normalization)
    restored = restore(stack, model, parameters, device="cpu")
    ranges = ranges_of(Frames(stack, "TYX"), model, parameters)
    for index in range(6):
        expected = plainly(model, stack, index, ranges.of(index, stack[index]))
        np.testing.assert_allclose(restored[index], expected, rtol=0, atol=1e-4 * np.ptp(expected))


@pytest.mark.parametrize("options", [{}, {"average_flips": True}, {"correlated_noise": "half"}])
def test_tiles_give_the_whole(options):
    model, stack = model_around(), image_of((3, 128, 112))
    whole, tiled = (
        restore(stack, model, RestorationParameters(engine="torch", tile_size=size, **options), device="cpu")
        for size in (None, 64)
    )
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(whole))


def test_a_region_has_the_pixels_of_the_whole():
    model, frames, region = model_around(), Frames(image_of((4, 96, 80)), "TYX"), Region(20, 60, 30, 70)
    whole = restore(frames, model, device="cpu")
    *_, last = restore_frames(frames, model, indices=[2], region=region, device="cpu")
    np.testing.assert_allclose(last.frame.image, whole[2][region.slices], rtol=0, atol=1e-5 * np.ptp(whole))


def test_each_frame_is_read_once_for_all_of_them():
    stack = image_of((9, 2, 24, 24))
    spy = Spy(stack.reshape(18, 24, 24))
    frames = Frames(_Rows(stack, spy), "TCYX")
    # a range of every frame's own: no samples; shared noise is not measured
    parameters = RestorationParameters(normalization="frame", engine="torch")
    model = model_around()
    restored = restore(frames, model, parameters, device="cpu")
    looked_at = Counter(spy.read)
    spy.read.clear()
    restore(frames, make_model(), parameters, device="cpu")
    assert looked_at == Counter(spy.read)
    # never across channels
    for channel in range(2):
        alone = restore(stack[:, channel], model, parameters, device="cpu")
        np.testing.assert_array_equal(restored[:, channel], alone)


class _Rows:
    def __init__(self, data, spy):
        self.shape, self.dtype, self._spy = data.shape, data.dtype, spy

    def __getitem__(self, place):
        return self._spy[(int(np.ravel_multi_index(place, self.shape[:-2])),)]


def test_a_selection_sees_the_frames_around_it():
    stack, model = image_of((9, 24, 24)), model_around()
    parameters = RestorationParameters(normalization="frame", engine="torch")
    whole = restore(stack, model, parameters, device="cpu")
    part = restore(Frames(stack, "TYX").select(3, 5), model, parameters, device="cpu")
    np.testing.assert_array_equal(part, whole[3:5])


def test_memory_does_not_grow_with_the_stack():
    model = model_around(dataclasses.replace(AROUND, depth=1, filters=1))
    peaks = []
    for count in (12, 36):
        frames = Frames(_Drawn((count, 128, 128)), "TYX")
        tracemalloc.start()
        for progress in restore_frames(frames, model, RestorationParameters(engine="torch"), device="cpu"):
            assert progress.total
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_neighbours_take_little_memory_beside_the_frames_that_are_kept():
    size, peaks = 128, []
    for neighbours in (0, 4):
        model = model_around(dataclasses.replace(AROUND, neighbours=neighbours))
        frames = Frames(_Drawn((12, size, size)), "TYX")
        tracemalloc.start()
        for _ in restore_frames(frames, model, RestorationParameters(engine="torch", tile_size=64), device="cpu"):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    kept = 2 * (4 + 1)
    assert peaks[1] - peaks[0] < (kept + 4) * 4 * size**2


class _Drawn:
    """A stack whose frames are drawn when they are read."""

    def __init__(self, shape):
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def __getitem__(self, place):
        return image_of(self.shape[1:], seed=int(place[0]))


def test_what_is_unusable_around_a_frame_does_not_reach_it():
    stack, model = image_of((7, 32, 32)), model_around()
    parameters = RestorationParameters(normalization="frame", engine="torch")
    spoilt = stack.copy()
    spoilt[2], spoilt[4] = 0, np.nan
    restored = restore(spoilt, model, parameters, device="cpu")
    # the frames nearer to frame 3 stand in: in the end that frame itself
    patched = stack.copy()
    patched[2] = patched[4] = stack[3]
    expected = restore(patched, model, parameters, device="cpu")
    np.testing.assert_array_equal(restored[3], expected[3])
    assert np.isfinite(restored[[0, 1, 3, 5, 6]]).all()
    np.testing.assert_array_equal(restored[2], spoilt[2])


@pytest.mark.parametrize("frames", [Frames(image_of((32, 32))), Frames(image_of((3, 32, 32)), "CYX")])
def test_a_stack_without_neighbours_is_refused(frames, tmp_path):
    with pytest.raises(InputError, match=r"Neighbouring frames along time.*a model of single frames"):
        restore(frames, model_around(), device="cpu")
    with pytest.raises(InputError, match="Neighbouring frames along time"):
        list(restore_to_file(frames, model_around(), tmp_path / "out.tif"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("axes", "step", "said"),
    [
        ("TYX", 1.2, ""),
        ("TYX", None, ""),
        ("TYX", 4.0, "frames 1 s apart, these are 4 s apart: what moves may be blurred."),
        ("TYX", 0.2, "frames 1 s apart, these are 0.2 s apart: it may restore them less well."),
        ("ZYX", 1.0, "The model learnt from neighbouring frames along time, these are planes along Z."),
    ],
)
def test_a_stack_of_another_spacing_gets_a_note(axes, step, said):
    frames = Frames(image_of((3, 24, 24)), axes, Calibration(time_step=step, z_step=step))
    neighbours = choose_neighbours(frames, model_around().card)
    assert neighbours.axis == axes[0]
    assert said in neighbours.note
    assert bool(said) == bool(neighbours.note)
    notes = {progress.note for progress in restore_frames(frames, model_around(), device="cpu")}
    assert any(said in note for note in notes)


def test_the_axis_is_that_of_the_training():
    frames = Frames(image_of((3, 4, 24, 24)), "TZYX")
    planes = make_model(AROUND, training={"neighbour_axis": "Z", "neighbour_spacing": None})
    assert choose_neighbours(frames, planes.card).axis == "Z"
    assert choose_neighbours(frames, model_around().card).axis == "T"
    assert choose_neighbours(frames, make_model().card).number == 0


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
@pytest.mark.parametrize("stopped_after", [1, 4])
def test_a_resumed_file_equals_an_uninterrupted_one(tmp_path, axes, stopped_after):
    shape = {"TYX": (8, 24, 24), "TZYX": (4, 2, 24, 24)}[axes]
    path, model = tmp_path / "movie.tif", model_around()
    save_stack(path, Frames(image_of(shape), axes))
    frames = read_stack(path)
    outs = tmp_path / "whole.tif", tmp_path / "stopped.tif"
    list(restore_to_file(frames, model, outs[0], source=path))
    work = restore_to_file(frames, model, outs[1], source=path)
    done = 0
    while done < stopped_after:
        done += next(work).frame is not None
    work.close()
    assert not outs[1].exists()
    list(restore_to_file(frames, model, outs[1], run=RunOptions(resume=True), source=path))
    np.testing.assert_array_equal(*(read_stack(out).data[...] for out in outs))
    np.testing.assert_array_equal(read_stack(outs[0]).data[...], restore(frames, model))


@needs_openvino
def test_8_bits_are_close_to_float32():
    model, stack = model_around(dataclasses.replace(AROUND, filters=8)), image_of((5, 64, 64))
    exact, rounded = (
        restore(stack, model, RestorationParameters(engine=engine), device="cpu")
        for engine in ("openvino", "openvino-int8")
    )
    assert np.abs(rounded - exact).mean() < 0.02 * np.ptp(exact)


def test_a_blind_network_does_not_see_the_frame_itself():
    engine = open_engine("torch", model_around(dataclasses.replace(AROUND, is_blind=True)), "cpu")
    tile = image_of((5, 32, 32))
    before, _ = engine.restore(tile)
    for channel in range(5):
        changed = tile.copy()
        changed[channel, 8:24] += 50
        after, _ = engine.restore(changed)
        assert (np.abs(after - before).max() > 1) == (channel != 2)
