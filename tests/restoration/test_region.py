"""A region of a frame is restored to the pixels that the whole frame has there, from as few pixels as that takes."""

import numpy as np
import pytest
from fixtures.random_models import image_of, make_model
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.regions import Region
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def frames_of(stack, model, parameters, region=None, indices=None):
    steps = restore_frames(Frames(stack), model, parameters, indices=indices, region=region, device="cpu")
    return {step.frame.index: step.frame for step in steps if step.frame is not None}


@settings(max_examples=25, deadline=None)
@given(data=st.data(), depth=st.integers(1, 3), tile_size=st.sampled_from([None, 40]))
def test_any_region_equals_that_part_of_the_whole(data, depth, tile_size):
    height, width = (data.draw(st.integers(5, 130)) for _ in "yx")
    (y0, y1), (x0, x1) = (
        sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True)))
        for size in (height, width)
    )
    region = Region(y0, y1, x0, x1)
    model, image = (
        make_model(Architecture(depth=depth, kernel_size=3, filters=2), seed=depth),
        image_of((height, width)),
    )
    parameters = RestorationParameters(engine="torch", tile_size=tile_size)
    (part,) = frames_of(image, model, parameters, region).values()
    expected = restore(image, model, RestorationParameters(engine="torch"), device="cpu")[region.slices]
    np.testing.assert_allclose(part.image, expected, rtol=0, atol=1e-5 * np.ptp(image))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalization": "stack"},
        {"normalization": "bleaching", "low_band": "tied"},
        {"average_flips": True},
        {"correlated_noise": "half"},
        {"low_band": "tied", "tile_size": 64},
    ],
    ids=str,
)
def test_range_low_band_and_scale_are_those_of_the_whole_stack(options):
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=True), "laplace")
    stack = image_of((4, 101, 83)) * np.array([1, 2, 3, 5], np.float32)[:, None, None]
    stack[2, 40:60] = np.nan
    stack[3] = 7
    parameters, region = RestorationParameters(engine="torch", **options), Region(33, 90, 0, 41)
    whole, parts = (frames_of(stack, model, parameters, part, [1, 2, 3]) for part in (None, region))
    for index in (1, 2, 3):
        for of_part, of_whole in ((parts[index].image, whole[index].image), (parts[index].scale, whole[index].scale)):
            assert of_part.shape == region.shape
            np.testing.assert_allclose(of_part, of_whole[region.slices], rtol=0, atol=1e-5 * np.nanmax(stack))
        assert parts[index].remarks == whole[index].remarks


def test_only_the_region_and_its_margin_are_computed(monkeypatch):
    shapes, run = [], TorchEngine._run
    monkeypatch.setattr(TorchEngine, "_run", lambda engine, tile: shapes.append(tile.shape) or run(engine, tile))
    architecture = Architecture(depth=1, kernel_size=3, filters=2)
    frames_of(
        image_of((200, 300)), make_model(architecture), RestorationParameters(engine="torch"), Region(0, 50, 90, 120)
    )
    assert shapes == [(50 + architecture.margin, 30 + 2 * architecture.margin)]


@pytest.mark.parametrize("region", [Region(0, 41, 0, 9), Region(-1, 4, 0, 9), Region(5, 5, 0, 9), Region(0, 9, 9, 3)])
def test_a_region_outside_of_the_frames_is_refused(region):
    model = make_model(Architecture(depth=1, kernel_size=3, filters=2))
    with pytest.raises(InputError, match="Expected a region of frames of 40 x 50 px"):
        frames_of(image_of((40, 50)), model, RestorationParameters(), region)
