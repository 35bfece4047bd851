"""Restoration: exact tiles, lazy frames, ranges, and what the low band and the scale come out as."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from fixtures.random_models import TINY, Spy, image_of, make_model, plainly
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.models.architecture import BILINEAR, NEAREST, Architecture
from napari_care_losses.restoration.engines.base import Engine
from napari_care_losses.restoration.low_band import noise_limited_sigma, tie_low_band
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames
from napari_care_losses.restoration.tiles import plan_tiles, working_memory

pytestmark = pytest.mark.usefixtures("one_torch_thread")

STACK = RestorationParameters(normalization="stack")


def collected(frames, model, parameters=None, **options):
    """Return the restored frames by index, and all progress."""
    progress = list(restore_frames(frames, model, parameters, device="cpu", **options))
    return {step.frame.index: step.frame for step in progress if step.frame is not None}, progress


def by_hand(image, model):
    """Restore one frame whole, by the plain formulas: CSBDeep's normalisation and padding."""
    low, high = np.percentile(image, [model.card.normalization.low, model.card.normalization.high])
    normalized = (image.astype(np.float64) - low) / (high - low)
    missing = [-size % model.card.architecture.block for size in image.shape]
    padded = np.pad(normalized, [(m // 2, m - m // 2) for m in missing], mode="reflect")
    mean, scale = plainly(model, padded.astype(np.float32))
    crop = tuple(slice(m // 2, m // 2 + size) for m, size in zip(missing, image.shape, strict=True))
    return mean[crop] * (high - low) + low, None if scale is None else scale[crop] * (high - low)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(5, 130),
    width=st.integers(5, 130),
    tile_size=st.integers(1, 80),
    depth=st.integers(1, 3),
    kernel_size=st.sampled_from([3, 5]),
    upsampling=st.sampled_from([NEAREST, BILINEAR]),
    refinement=st.sampled_from([0, 2]),
)
def test_tiles_equal_the_whole(height, width, tile_size, depth, kernel_size, upsampling, refinement):
    architecture = Architecture(
        depth=depth, kernel_size=kernel_size, filters=2, upsampling=upsampling, refinement=refinement
    )
    model, image = make_model(architecture, seed=depth), image_of((height, width))
    parameters = [RestorationParameters(engine="torch", tile_size=size) for size in (tile_size, 16384)]
    tiled, whole = (restore(image, model, each, device="cpu") for each in parameters)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(image))


def test_the_tiles_of_an_odd_image_are_many_and_equal_the_whole():
    """A quarter of 840 x 643, in tiles that need not divide it."""
    model, image = make_model(Architecture(depth=2, kernel_size=3, filters=2)), image_of((210, 161))
    parameters = RestorationParameters(tile_size=83)
    assert len(plan_tiles(image.shape, model.card.architecture, 83)) == 6 * 4
    expected, _ = by_hand(image, model)
    np.testing.assert_allclose(restore(image, model, parameters, device="cpu"), expected, atol=1e-5 * np.ptp(image))


@pytest.mark.parametrize("shape", [(16, 16), (17, 19), (21, 34)])
@pytest.mark.parametrize("predicts_scale", [True, False])
def test_padding_range_and_crop_are_csbdeep_s(shape, predicts_scale):
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=predicts_scale))
    image = image_of(shape)
    (frame,), _ = collected(Frames(image), model)[0].values(), None
    mean, scale = by_hand(image, model)
    np.testing.assert_allclose(frame.image, mean, atol=1e-5 * np.ptp(image))
    if predicts_scale:
        np.testing.assert_allclose(frame.scale, scale, rtol=1e-4)
        assert frame.scale.dtype == np.float32
    else:
        assert frame.scale is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40), (2, 2), (8, 3)])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_tiny_images_come_back_in_their_shape(shape, depth):
    model = make_model(Architecture(depth=depth, kernel_size=3, filters=1))
    for loss in ("mae", "bandpass"):
        restored = restore(image_of(shape), dataclasses.replace(model, card=dataclasses.replace(model.card, loss=loss)))
        assert restored.shape == shape
        assert np.isfinite(restored).all()


@pytest.mark.parametrize("axes", ["YX", "TYX", "ZYX", "CYX", "TCYX", "CZYX", "TZCYX", "CTZYX"])
@pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
def test_every_combination_of_axes_is_restored_plane_by_plane(axes, normalization):
    stack = image_of((*(2, 3, 2)[: len(axes) - 2], 12, 14))
    model = make_model()
    restored = restore(stack, model, RestorationParameters(normalization=normalization), axes=axes)
    assert restored.shape == stack.shape
    assert restored.dtype == np.float32
    if normalization == "frame":
        planes = zip(restored.reshape(-1, 12, 14), stack.reshape(-1, 12, 14), strict=True)
        for plane, image in planes:
            np.testing.assert_allclose(plane, by_hand(image, model)[0], atol=1e-5 * np.ptp(image))


def test_one_range_for_the_stack_keeps_frames_comparable():
    rng = np.random.default_rng(0)
    stack = np.stack([rng.random((16, 16)), 10 * rng.random((16, 16)) + 5]).astype(np.float32)
    model = make_model()
    together = restore(stack, model, STACK)
    normalization = PercentileNormalization()
    grey_levels = frame_range(stack, normalization)
    with torch.inference_mode():
        expected = model.network()(torch.from_numpy(grey_levels.apply(stack))[:, None]).mean[:, 0].numpy()
    np.testing.assert_allclose(together, grey_levels.undo(expected), atol=1e-5 * np.ptp(stack))
    apart = restore(stack, model)
    assert np.abs(apart - together).max() > 0.01


def test_following_bleaching_every_frame_is_restored_with_its_place_on_the_course():
    light = np.exp(-np.arange(9) / 4).astype(np.float32)
    stack = 100 + light[:, None, None] * image_of((16, 16))
    model, parameters = make_model(), RestorationParameters(normalization="bleaching")
    restored = restore(stack, model, parameters)
    # a course that is followed exactly gives the network the same image at every time
    for frame, share in zip(restored, light, strict=True):
        np.testing.assert_allclose((frame - 100) / share, restored[0] - 100, atol=0.02 * np.ptp(restored[0]))
    together = restore(stack, model, STACK)
    assert np.abs((together[-1] - 100) / light[-1] - (together[0] - 100)).max() > 0.1 * np.ptp(together[0])


def test_the_user_s_percentiles_replace_the_model_s():
    image = image_of((24, 24))
    chosen = restore(image, make_model(), RestorationParameters(low_percentile=0, high_percentile=90))
    same = restore(image, make_model(normalization=PercentileNormalization(low=0, high=90)))
    np.testing.assert_array_equal(chosen, same)
    assert np.abs(chosen - restore(image, make_model())).max() > 1


@pytest.mark.parametrize("axes", ["TCYX", "CTYX"])
def test_channels_never_share_a_range(axes):
    frames = image_of((3, 2, 16, 16))
    frames[:, 1] = 5000 + 0.1 * frames[:, 1]
    model = make_model()
    stack = frames if axes == "TCYX" else frames.swapaxes(0, 1)
    restored = restore(stack, model, STACK, axes=axes)
    for channel in (0, 1):
        alone = restore(frames[:, channel], model, STACK, axes="TYX")
        together = restored[:, channel] if axes == "TCYX" else restored[channel]
        np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_a_selection_s_range_is_that_of_the_frames_selected():
    stack = image_of((6, 16, 16))
    stack[4:] *= 100
    model = make_model()
    chosen, _ = collected(Frames(stack).select(1, 3), model, STACK)
    alone = restore(stack[1:3], model, STACK)
    np.testing.assert_array_equal(np.stack([chosen[0].image, chosen[1].image]), alone)


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">u2", "int16", ">i4", "uint32", "int64", "float16", ">f4", "f8"])
@pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
def test_every_real_dtype_is_restored_alike(dtype, normalization):
    image = np.indices((2, 16, 17)).sum(0) % 7 > 3 if dtype == "bool" else np.indices((2, 16, 17)).sum(0) % 7 * 10
    model, parameters = make_model(), RestorationParameters(normalization=normalization)
    expected = restore(image.astype(np.float32), model, parameters)
    restored = restore(image.astype(dtype), model, parameters)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, expected, atol=1e-3)


def reading(spy, **parameters):
    """Return the restoration of a spied stack of 40 x 40 px, in four tiles a frame."""
    return restore_frames(Frames(spy), make_model(), RestorationParameters(tile_size=32, **parameters))


def has_read(spy, frames):
    """Wait until these frames, which may be read in the background, have been read; return whether no others were."""
    deadline = time.monotonic() + 10
    while len(spy.read) < len(frames) and time.monotonic() < deadline:
        time.sleep(0.001)
    return spy.read == frames


def test_one_frame_is_read_ahead_and_no_more():
    spy = Spy(image_of((4, 40, 40)))
    restoring = reading(spy)
    assert spy.read == []
    given_frames = 0
    for progress in restoring:
        assert has_read(spy, [0, 1, 2, 3][: given_frames + 2])
        given_frames += progress.frame is not None
    assert given_frames == 4


@pytest.mark.parametrize("normalization", ["stack", "bleaching"])
def test_with_a_range_of_the_stack_the_sampled_frames_are_read_one_a_step_first(normalization):
    spy = Spy(image_of((3, 40, 40)))
    restoring = reading(spy, normalization=normalization)
    for read in ([0], [0, 1], [0, 1, 2]):
        next(restoring)
        assert spy.read == read
    next(restoring)
    assert has_read(spy, [0, 1, 2, 0, 1])
    restoring.close()
    assert spy.read == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("steps", [0, 1, 4, 5])
def test_it_can_be_closed_within_a_frame_and_leaves_no_thread(steps):
    spy = Spy(image_of((4, 40, 40)))
    restoring = reading(spy)
    for _ in range(steps):
        next(restoring)
    restoring.close()
    assert list(restoring) == []
    assert len(spy.read) <= (-(-steps // 4) + 1 if steps else 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
@pytest.mark.parametrize("indices", [None, [2, 0], []])
def test_progress_ends_at_its_total(normalization, indices):
    parameters = RestorationParameters(normalization=normalization, tile_size=40)
    restored, progress = collected(Frames(image_of((3, 50, 90))), make_model(), parameters, indices=indices)
    samples, tiles = 3 * (normalization != "frame"), 8 * len([0, 1, 2] if indices is None else indices)
    assert [step.sampled for step in progress[:samples]] == [(number + 1, 3) for number in range(samples)]
    assert all(step.sampled is None for step in progress[samples:])
    assert [step.done for step in progress] == [0] * samples + list(range(1, tiles + 1))
    assert {step.total for step in progress} <= {tiles}
    assert len(restored) == tiles // 8


@pytest.mark.parametrize("normalization", ["stack", "bleaching"])
def test_frames_come_in_the_order_asked_with_the_range_of_the_whole_stack(normalization):
    stack = image_of((4, 16, 16)) * np.array([1, 2, 3, 4], np.float32)[:, None, None]
    model, parameters = make_model(), RestorationParameters(normalization=normalization)
    everything = restore(stack, model, parameters)
    restored, _ = collected(Frames(stack), model, parameters, indices=[3, 1])
    assert list(restored) == [3, 1]
    for index, frame in restored.items():
        np.testing.assert_array_equal(frame.image, everything[index])


def test_the_scale_is_in_the_units_of_the_input():
    model = make_model(dataclasses.replace(TINY, predicts_scale=True), "laplace")
    image = image_of((16, 16))
    frame, brighter = (collected(Frames(each), model)[0][0] for each in (image, 1000 + 50 * image))
    np.testing.assert_allclose(brighter.scale, 50 * frame.scale, rtol=1e-3)
    np.testing.assert_allclose(brighter.image, 1000 + 50 * frame.image, rtol=1e-3)
    assert frame.scale.min() > 0


@pytest.mark.parametrize(
    ("loss", "low_band", "is_tied"),
    [
        ("bandpass", "auto", True),
        ("bandpass", "tied", True),
        ("bandpass", "plain", False),
        ("fft", "auto", False),
        ("laplace", "auto", False),
        ("mae", "tied", True),
        ("mae", "plain", False),
        ("one of a later version", "auto", False),
    ],
)
@pytest.mark.parametrize("sigma", [None, 3.0])
def test_the_low_band_is_tied_where_the_loss_leaves_it_free_or_when_asked(loss, low_band, is_tied, sigma):
    own = {"sigma_large": sigma} if loss == "bandpass" and sigma else {}
    model = make_model(loss=loss, loss_parameters=own)
    image = image_of((40, 44))
    plain, _ = by_hand(image, model)
    grey_levels = frame_range(image, PercentileNormalization())
    noisy = grey_levels.apply(image)
    band = noise_limited_sigma(noisy, own.get("sigma_large", 5.0))
    tied = grey_levels.undo(tie_low_band(grey_levels.apply(plain), noisy, band))
    assert np.abs(tied - plain).max() > 0.05 * np.ptp(image)
    restored = restore(image, model, RestorationParameters(low_band=low_band, tile_size=32))
    np.testing.assert_allclose(restored, tied if is_tied else plain, atol=1e-4 * np.ptp(image))


def test_a_card_with_impossible_loss_parameters_is_refused():
    with pytest.raises(InputError, match="sigma_large must be of type float"):
        restore(image_of((16, 16)), make_model(loss="bandpass", loss_parameters={"sigma_large": "wide"}))


def test_the_card_s_percentiles_are_used():
    model = make_model(normalization=PercentileNormalization(low=10, high=90))
    image = image_of((16, 16))
    np.testing.assert_allclose(restore(image, model), by_hand(image, model)[0], atol=1e-5 * np.ptp(image))
    assert np.abs(restore(image, make_model()) - restore(image, model)).max() > 1


@pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
def test_a_frame_beyond_float32_is_named(normalization):
    stack = image_of((3, 16, 16)).astype(np.float64)
    stack[1, 2, 3] = 1e300
    with pytest.raises(InputError, match=r"Frame 1: the pixels reach 1e\+300"):
        restore(stack, make_model(), RestorationParameters(normalization=normalization))


def test_an_unknown_device_is_refused_by_naming_the_usable():
    with pytest.raises(InputError, match=r"no device 'tpu' here; choose auto or one of: cpu"):
        restore(image_of((16, 16)), make_model(), device="tpu")


def test_arrays_that_are_no_images_are_refused():
    for image in ([1, 2, 3], np.zeros((4, 4), complex)):
        with pytest.raises(InputError, match="Expected"):
            restore(image, make_model())


def test_a_negative_tile_size_is_refused():
    with pytest.raises(ParameterError, match=r"between 1 and 16384 px, or be 0 \(automatic\), found -1"):
        RestorationParameters(tile_size=-1)


@pytest.mark.parametrize("tile_size", [None, 24])
@pytest.mark.parametrize("predicts_scale", [True, False])
def test_averaged_flips_are_the_mean_of_four_restorations(tile_size, predicts_scale):
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=predicts_scale))
    image = image_of((64, 96))
    expected = np.mean([by_hand(image[::y, ::x], model)[0][::y, ::x] for y in (1, -1) for x in (1, -1)], axis=0)
    parameters = RestorationParameters(average_flips=True, tile_size=tile_size)
    (frame,), _ = collected(Frames(image), model, parameters)[0].values(), None
    np.testing.assert_allclose(frame.image, expected, atol=1e-5 * np.ptp(image))
    assert np.abs(frame.image - restore(image, model, device="cpu")).max() > 1e-3 * np.ptp(image)
    if predicts_scale:
        scales = [by_hand(image[::y, ::x], model)[1][::y, ::x] for y in (1, -1) for x in (1, -1)]
        np.testing.assert_allclose(frame.scale, np.mean(scales, axis=0), rtol=1e-4)


def test_a_large_frame_is_one_tile_where_the_memory_allows_it(monkeypatch):
    """Tile size 0 means that."""
    image, model = image_of((200, 180)), make_model()
    assert len(collected(Frames(image), model)[1]) == 1
    monkeypatch.setattr(Engine, "memory", lambda engine: working_memory(TINY, 100))
    restored, progress = collected(Frames(image), model)
    assert len(progress) == len(plan_tiles(image.shape, TINY, 100)) > 1
    np.testing.assert_allclose(restored[0].image, by_hand(image, model)[0], atol=1e-5 * np.ptp(image))


def test_plain_lists_are_images_too():
    assert restore([[1, 2], [3, 4]], make_model()).shape == (2, 2)
