from __future__ import annotations

import gc
import os
import tempfile
from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.images.frames import Calibration
from napari_care_losses.images.partial_stack import PartialStack
from napari_care_losses.io.units import MICROMETERS, SECONDS
from napari_care_losses.models.library import list_models
from napari_care_losses.restoration.restore_stack import RestorationParameters
from napari_care_losses.widgets.layers import conversion as layers
from napari_care_losses.widgets.layers.conversion import (
    axes_of,
    layer_frames,
    new_array,
    placement,
    reserve,
    shown_first,
    shown_index,
)
from napari_care_losses.widgets.layers.filling import Filled, make_plan, restore_into_stacks, show_stacks
from napari_care_losses.widgets.layers.restored_layers import RESTORED, UNCERTAINTY, find_result, frames_done, is_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("-2", "-1"), "YX"),
        (("-3", "-2", "-1"), "TYX"),
        (("-4", "-3", "-2", "-1"), "TZYX"),
        (("-5", "-4", "-3", "-2", "-1"), "TZCYX"),
        (("z", "y", "x"), "ZYX"),
        (("Time", "Channel", "y", "x"), "TCYX"),
        (("c", "-3", "y", "x"), "CTYX"),
        (("-4", "t", "y", "x"), "ZTYX"),
        (("field", "y", "x"), "TYX"),
    ],
)
def test_axes_come_from_the_labels_or_the_usual_order(labels: tuple[str, ...], axes: str) -> None:
    assert axes_of(labels, (2,) * len(labels)) == axes


@pytest.mark.parametrize(
    ("labels", "shape", "axes"),
    [
        (("t", "p", "z", "c", "y", "x"), (5, 1, 3, 2, 8, 8), "T1ZCYX"),
        (("t", "p", "z", "c", "y", "x"), (1, 1, 1, 1, 8, 8), "T1ZCYX"),
        (("-6", "-5", "-4", "-3", "-2", "-1"), (5, 1, 3, 1, 8, 8), "T1Z1YX"),
        (("-7", "-6", "-5", "z", "-3", "-2", "-1"), (1, 1, 5, 3, 1, 8, 8), "11TZ1YX"),
        (("t", "p", "y", "x"), (5, 1, 8, 8), "TZYX"),
    ],
)
def test_more_axes_than_three_have_no_name_where_they_have_one_step(labels, shape, axes) -> None:
    layer = Image(np.zeros(shape), axis_labels=labels, scale=(2.0,) * len(shape), units=("um",) * len(shape))
    frames = layer_frames(layer)
    assert (frames.axes, frames.shape) == (axes, shape)
    assert frames.data is layer.data
    assert frames.calibration.z_step == (2.0 if "Z" in axes else None)


def test_another_axis_in_the_last_place_is_refused() -> None:
    with pytest.raises(InputError, match="transpose"):
        layer_frames(Image(np.zeros((4, 5, 3)), name="movie", axis_labels=("y", "x", "c")))


def test_frames_of_a_layer_are_its_data() -> None:
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    frames = layer_frames(Image(data, axis_labels=("z", "c", "y", "x")))
    assert frames.axes == "ZCYX"
    assert np.array_equal(frames[4], data[1, 1])


def test_a_multiscale_layer_is_read_at_full_resolution() -> None:
    full = np.random.default_rng(0).random((3, 16, 16))
    assert np.array_equal(layer_frames(Image([full, full[:, ::2, ::2]], multiscale=True))[1], full[1])


def test_lazy_data_stays_lazy() -> None:
    read: list[tuple[int, ...]] = []

    def block(block_info: dict) -> NDArray[np.uint16]:
        read.append(block_info[None]["chunk-location"])
        return np.ones((1, 16, 16), np.uint16)

    data = dask.array.map_blocks(block, chunks=((1,) * 50, (16,), (16,)), dtype=np.uint16, meta=np.empty((0, 0, 0)))
    layer = Image(data, contrast_limits=(0, 1))
    read.clear()
    frames = layer_frames(layer)
    assert read == []
    assert frames[7].sum() == 256
    assert read == [(7, 0, 0)]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Image(np.zeros((8, 8, 3), np.uint8), rgb=True, name="photo"), "photo is a colour"),
        (Labels(np.zeros((8, 8), np.uint8), name="cells"), "cells is no image layer"),
        (Image(np.zeros((2, 2, 2, 2, 8, 8)), name="deep"), "deep: Expected an image"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.name,
)
def test_other_layers_are_refused_with_the_reason(layer: Image, reason: str) -> None:
    with pytest.raises(InputError, match=reason.replace("(", r"\(")):
        layer_frames(layer)


def test_the_shown_frame_is_where_the_slider_stands() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((2, 3, 8, 8)), scale=(0.5, 2, 1, 1), translate=(10, -4, 0, 0))
    viewer.add_image(np.zeros((9, 8, 8)))
    assert layer.ndim == viewer.dims.ndim
    viewer.dims.set_point(0, 10.5)
    viewer.dims.set_point(1, -2)
    assert shown_index(layer, viewer.dims) == 4
    viewer.dims.set_point(1, 100)
    assert shown_index(layer, viewer.dims) == 5


def test_a_layer_of_fewer_axes_follows_its_own_slider() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 5, 8, 8)))
    layer = viewer.add_image(np.zeros((5, 8, 8)))
    viewer.dims.current_step = (3, 2, 0, 0)
    assert shown_index(layer, viewer.dims) == 2
    assert shown_index(viewer.add_image(np.zeros((8, 8))), viewer.dims) == 0


def test_the_shown_frame_comes_first_and_the_rest_outward() -> None:
    assert shown_first(3, 6) == [3, 2, 4, 1, 5, 0]


@pytest.mark.parametrize("size", [1 << 10, 1 << 30])
def test_a_new_array_holds_zeros_in_memory_or_on_disk(size: int) -> None:
    array = new_array((3, 8, 8), largest_in_memory=size - 1024)
    assert isinstance(array, np.memmap) == (size == 1 << 10)
    assert array.dtype == np.float32
    assert not array.any()
    array[1] = 2.5
    assert array[1].sum() == 160


def test_the_file_of_a_large_array_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = new_array((2, 8, 8), largest_in_memory=0)
    array[:] = 1
    del array
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_small_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="GiB"):
        new_array((2, 8, 8), largest_in_memory=0)


def test_the_disk_is_asked_only_for_the_frames_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = [300], []
    monkeypatch.setattr(layers.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    monkeypatch.setattr(os, "posix_fallocate", lambda _, *span: asked.append(span), raising=False)
    with pytest.raises(OutputError, match="GiB"):
        new_array((1000, 4, 4), largest_in_memory=0)
    array = new_array((1000, 4, 4), (3, 4, 7), largest_in_memory=0)
    array[[3, 4, 7]] = 2.5
    if os.name == "posix":
        assert asked == [(3 * 64, 2 * 64), (7 * 64, 64)]
        reserve(array, {999})
        assert asked[2:] == [(999 * 64, 64)]
        free[0] = 100
        with pytest.raises(OutputError, match="not enough space"):
            reserve(array, {1, 2})
    reserve(new_array((3, 4, 4)), {1})
    assert array[7].sum() == 40


def make_source(stack: NDArray[np.uint16]) -> Image:
    return Image(
        stack,
        name="cells",
        scale=(2, 0.1, 0.2),
        translate=(1, 5, 6),
        rotate=30,
        shear=(0, 0, 0.1),
        affine=np.diag([1, 1.5, 1, 1]),
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
        colormap="green",
    )


def test_a_restored_layer_lies_exactly_on_its_input(stack: NDArray[np.uint16], add_model: Callable[..., str]) -> None:
    add_model(loss="laplace")
    (entry,) = list_models()
    viewer = ViewerModel()
    source = viewer.add_layer(make_source(stack))
    plan = make_plan(viewer, source, entry, RestorationParameters(), beside=[UNCERTAINTY])
    plan.order.shown = 1
    filled = next(restore_into_stacks(plan))
    show_stacks(viewer, plan, filled)
    restored, uncertainty = (find_result(viewer, source, entry, kind) for kind in (RESTORED, UNCERTAINTY))
    assert [layer.name for layer in viewer.layers] == [
        "cells",
        "uncertainty cells (untrained)",
        "restored cells (untrained)",
    ]
    for layer in (restored, uncertainty):
        assert is_result(layer)
        for name, value in placement(source).items():
            ours = getattr(layer, name)
            assert np.all(ours == value) or np.allclose(ours.affine_matrix, value.affine_matrix), name
        for corner in ((0, 0, 0), (2, 39, 51)):
            assert np.allclose(layer.data_to_world(corner), source.data_to_world(corner))
    assert restored.colormap.name == source.colormap.name
    assert restored.data.dtype == np.float32
    assert frames_done(restored) == {1}
    assert restored.data[1].any()
    assert np.isnan(restored.data[0]).all()


def test_contrast_limits_are_taken_alike_from_images_of_different_brightness() -> None:
    image = np.random.default_rng(0).random((50, 50))
    low, high = layers.comparable_limits(image)
    assert np.allclose(layers.comparable_limits(image * 7 + 3), (low * 7 + 3, high * 7 + 3))
    assert layers.comparable_limits(np.full((5, 5), 2.0)) == (2.0, 3.0)
    bordered = np.pad(image * 1.0, 9, constant_values=np.nan)
    assert layers.comparable_limits(bordered) == (low, high)
    assert layers.comparable_limits(np.full((5, 5), np.nan)) == (0.0, 1.0)


def test_restoring_again_replaces_the_layer(stack: NDArray[np.uint16], add_model: Callable[..., str]) -> None:
    add_model("one")
    add_model("two")
    one, two = list_models()
    viewer = ViewerModel()
    source = viewer.add_layer(make_source(stack))
    for entry, value in ((one, 1), (one, 2), (two, 3)):
        made = PartialStack(np.full(stack.shape, value, np.float32))
        made.fill(0, made.array[0])
        plan = make_plan(viewer, source, entry, RestorationParameters())
        show_stacks(viewer, plan, Filled(1, 3, 0, {RESTORED: made}, {RESTORED: (0.0, 1.0)}))
    assert len(viewer.layers) == 3
    assert find_result(viewer, source, one).data[0, 0, 0] == 2
    assert find_result(viewer, source, two).data[0, 0, 0] == 3
    assert find_result(viewer, viewer.layers[1], one) is None


def test_frames_know_their_size_from_scale_and_units() -> None:
    layer = Image(
        np.zeros((2, 3, 4, 5)),
        scale=(0.4, 500, 0.1, 0.2),
        units=("s", "nm", "um", "um"),
        axis_labels=("t", "z", "y", "x"),
    )
    calibration = layer_frames(layer).calibration
    assert calibration == Calibration(pixel_size=(0.1, 0.2), z_step=0.5, time_step=0.4)
    assert layer_frames(Image(np.zeros((3, 4, 5)))).calibration == Calibration()


@pytest.mark.parametrize(("length", "time"), [*product(MICROMETERS, ["s"]), *product(["um"], SECONDS)])
def test_every_name_of_a_unit_is_known_in_a_layer(length: str, time: str) -> None:
    layer = Image(np.zeros((2, 4, 5)), scale=(3, 3, 3), units=(time, length, length), axis_labels=("t", "y", "x"))
    calibration = layer_frames(layer).calibration
    assert calibration.pixel_size == pytest.approx((3 * MICROMETERS[length],) * 2)
    assert calibration.time_step == pytest.approx(3 * SECONDS[time])
