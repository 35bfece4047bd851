"""A device that fails on a tile gets smaller ones, now and later in the process; the result is the same."""

import itertools

import numpy as np
import pytest
import torch
from fixtures.random_models import TINY, image_of, make_model, needs_openvino

from napari_care_losses.errors import ComputeError
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore_frames
from napari_care_losses.restoration.tiles import smallest_tile

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ENGINES = ["torch", pytest.param("openvino", marks=needs_openvino)]
ERRORS = [RuntimeError("out of memory"), MemoryError("out of memory"), torch.OutOfMemoryError("out of memory")]
SCALED = Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True)
STACK = image_of((3, 128, 100))


def restored(name="torch", model=None, **parameters):
    """Return all progress of a restoration."""
    model, parameters = model or make_model(SCALED, "laplace"), RestorationParameters(engine=name, **parameters)
    return list(restore_frames(Frames(STACK), model, parameters, device="cpu"))


def assert_same_frames(progress, expected):
    frames, others = ([step.frame for step in steps if step.frame] for steps in (progress, expected))
    assert [frame.index for frame in frames] == [frame.index for frame in others] == [0, 1, 2]
    for frame, other in zip(frames, others, strict=True):
        np.testing.assert_allclose(frame.image, other.image, rtol=0, atol=1e-5 * np.ptp(STACK))
        np.testing.assert_allclose(frame.scale, other.scale, rtol=1e-4)


class Device:
    """Fails on tiles wider than `width` from the given call on, and notes the width of every tile."""

    def __init__(self, monkeypatch, name, width, error=ERRORS[0], *, from_call=0):
        kind = type(open_engine(name, make_model(), "cpu"))
        run, self.tried, calls = kind._run, [], itertools.count()

        def narrow(engine, tile):
            self.tried.append(max(tile.shape))
            if next(calls) >= from_call and max(tile.shape) > width:
                raise error
            return run(engine, tile)

        monkeypatch.setattr(kind, "_run", narrow)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_smaller_tiles_give_the_same_result(name, error, monkeypatch):
    expected = restored(name)
    assert len(expected) == 3
    device = Device(monkeypatch, name, 70, error)
    progress = restored(name)
    assert device.tried[0] == 128
    assert set(device.tried[1:]) == {60}
    assert_same_frames(progress, expected)


@pytest.mark.parametrize("from_call", [0, 1, 5])
@pytest.mark.parametrize("width", [30, 66])
def test_a_device_may_fail_at_any_tile(from_call, width, monkeypatch):
    """Memory that other programs take meanwhile: tiles done before that are done again in smaller ones."""
    expected = restored(tile_size=16384)
    Device(monkeypatch, "torch", width, from_call=from_call)
    progress = restored(tile_size=70)
    assert_same_frames(progress, expected)
    done = [step.done for step in progress]
    assert done == list(range(1, len(progress) + 1))
    assert all(step.done < step.total for step in progress[:-1])
    assert progress[-1].done == progress[-1].total


def test_progress_counts_the_tiles_of_the_new_size(monkeypatch):
    Device(monkeypatch, "torch", 60, from_call=1)
    progress = restored()
    # the first frame in one tile, the next two in 3 x 2 of 56 x 60 px
    assert [(step.done, step.total) for step in progress[:3]] == [(1, 3), (2, 1 + 12), (3, 1 + 12)]


@pytest.mark.parametrize("name", ENGINES)
def test_a_later_restoration_starts_with_the_tile_that_worked(name, monkeypatch):
    device = Device(monkeypatch, name, 70)
    restored(name)
    device.tried.clear()
    restored(name, model=make_model(SCALED, "laplace", seed=1))
    assert set(device.tried) == {60}
    with_more_filters = Architecture(kernel_size=3, filters=8, depth=1, predicts_scale=True)
    device.tried.clear()
    restored(name, model=make_model(with_more_filters, "laplace"))
    assert max(device.tried) == 30


def test_a_tile_size_asked_for_is_tried_all_the_same(monkeypatch):
    device = Device(monkeypatch, "torch", 70)
    restored()
    device.tried.clear()
    restored(tile_size=128)
    assert device.tried[:2] == [128, 60]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_device_that_fails_on_the_smallest_tile_is_a_compute_error(name, error, monkeypatch):
    device = Device(monkeypatch, name, 0, error)
    with pytest.raises(ComputeError, match=r"failed on a tile of \d+ x \d+ px: out of memory") as raised:
        restored(name)
    assert raised.value.__cause__ is error
    assert device.tried == sorted(device.tried, reverse=True)
    assert (device.tried[0], device.tried[-1]) == (128, smallest_tile(TINY))
    assert len(device.tried) <= 4


def test_a_device_that_fails_on_every_tile_is_not_remembered_as_a_small_one(monkeypatch):
    with monkeypatch.context() as patched:
        device = Device(patched, "torch", 0)
        with pytest.raises(ComputeError):
            restored()
    device = Device(monkeypatch, "torch", 1000)
    restored()
    assert set(device.tried) == {128}


@needs_openvino
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_calibration_that_fails_is_a_compute_error(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("napari_care_losses.restoration.engines.openvino_engine.quantize", fail)
    with pytest.raises(ComputeError, match=r"cpu device failed on the calibration: out of memory"):
        restored("openvino-int8")


@pytest.mark.parametrize("width", [0, 70, 1000])
def test_the_engine_is_closed_at_the_end(width, monkeypatch):
    Device(monkeypatch, "torch", width)
    open_engines = []
    start, close = TorchEngine.__init__, TorchEngine.close

    def opened(engine, *arguments):
        start(engine, *arguments)
        open_engines.append(engine)

    def closed(engine):
        close(engine)
        if engine in open_engines:
            open_engines.remove(engine)

    monkeypatch.setattr(TorchEngine, "__init__", opened)
    monkeypatch.setattr(TorchEngine, "close", closed)
    if width:
        restored()
    else:
        with pytest.raises(ComputeError):
            restored()
    assert open_engines == []


def test_a_memory_error_outside_the_engine_is_a_compute_error(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("napari_care_losses.restoration.stitching.canvas.Canvas.finished", fail)
    with pytest.raises(ComputeError, match="memory ran out on a frame of 128 x 100 px"):
        restored()
