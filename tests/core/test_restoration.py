"""Restoration: exact tiles, lazy frames, ranges, and what the low band and the scale come out as."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.core.architecture import Architecture
from napari_care_losses.core.errors import ComputeError, InputError, ParameterError
from napari_care_losses.core.frames import Frames
from napari_care_losses.core.low_band import tie_low_band
from napari_care_losses.core.model import Model, ModelCard
from napari_care_losses.core.network import CareNetwork
from napari_care_losses.core.normalization import Normalization, frame_range
from napari_care_losses.core.restoration import RestorationParameters, plan_tiles, restore, restore_frames

TINY = Architecture(kernel_size=3, filters=2, depth=1)
STACK = RestorationParameters(normalization="stack")


def make_model(architecture=TINY, loss="mae", seed=0, **card):
    """Return a model whose output depends strongly on every pixel within reach: few Glorot filters often do not."""
    network, generator = CareNetwork(architecture), torch.Generator().manual_seed(seed)
    for name, values in network.named_parameters():
        torch.nn.init.uniform_(values, -0.4, 1, generator=generator)
        values.data *= 0.1 if name.endswith("bias") else 1 / (0.3 * values[0].numel())
    return Model(ModelCard(structure="other", loss=loss, architecture=architecture, **card), network.state_dict())


def image_of(shape, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)


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
    with torch.inference_mode():
        mean, scale = model.network()(torch.as_tensor(padded, dtype=torch.float32)[None, None])
    crop = tuple(slice(m // 2, m // 2 + size) for m, size in zip(missing, image.shape, strict=True))
    mean = mean[0, 0].numpy()[crop] * (high - low) + low
    return mean, None if scale is None else scale[0, 0].numpy()[crop] * (high - low)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(5, 130),
    width=st.integers(5, 130),
    tile_size=st.integers(32, 70),
    depth=st.integers(1, 3),
    kernel_size=st.sampled_from([3, 5]),
)
def test_tiles_equal_the_whole(height, width, tile_size, depth, kernel_size):
    architecture = Architecture(depth=depth, kernel_size=kernel_size, filters=2)
    model, image = make_model(architecture, seed=depth), image_of((height, width))
    tiled = restore(image, model, RestorationParameters(tile_size=tile_size), device="cpu")
    whole = restore(image, model, RestorationParameters(tile_size=16384), device="cpu")
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(image))


def test_the_tiles_of_an_odd_image_are_many_and_equal_the_whole():
    """A quarter of 840 x 643, in tiles that need not divide it."""
    model, image = make_model(Architecture(depth=2, kernel_size=3, filters=2)), image_of((210, 161))
    parameters = RestorationParameters(tile_size=37)
    assert len(plan_tiles(image.shape, model.card.architecture, 37)) == 6 * 5
    expected, _ = by_hand(image, model)
    np.testing.assert_allclose(restore(image, model, parameters, device="cpu"), expected, atol=1e-5 * np.ptp(image))


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(1, 4),
    st.sampled_from([3, 5, 7]),
    st.integers(32, 400),
)
def test_tiles_cover_every_pixel_once_with_their_margin(shape, depth, kernel_size, tile_size):
    architecture = Architecture(depth=depth, kernel_size=kernel_size)
    block, margin = architecture.block, architecture.margin
    padded = tuple(-(-size // block) * block for size in shape)
    covered = np.zeros(padded, int)
    for tile in plan_tiles(shape, architecture, tile_size):
        covered[tile.target] += 1
        for source, inner, target, size in zip(*tile, padded, strict=True):
            assert source.start % block == 0
            assert source.stop % block == 0
            assert (source.start + inner.start, source.start + inner.stop) == (target.start, target.stop)
            assert target.start - source.start >= min(margin, target.start)
            assert source.stop - target.stop >= min(margin, size - target.stop)
            assert target.stop - target.start <= -(-tile_size // block) * block
    np.testing.assert_array_equal(covered, 1)


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
@pytest.mark.parametrize("normalization", ["frame", "stack"])
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
    normalization = Normalization()
    grey_levels = frame_range(stack, normalization)
    with torch.inference_mode():
        expected = model.network()(torch.from_numpy(grey_levels.apply(stack))[:, None]).mean[:, 0].numpy()
    np.testing.assert_allclose(together, grey_levels.undo(expected), atol=1e-5 * np.ptp(stack))
    apart = restore(stack, model)
    assert np.abs(apart - together).max() > 0.01


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
@pytest.mark.parametrize("normalization", ["frame", "stack"])
def test_every_real_dtype_is_restored_alike(dtype, normalization):
    image = np.indices((2, 16, 17)).sum(0) % 7 > 3 if dtype == "bool" else np.indices((2, 16, 17)).sum(0) % 7 * 10
    model, parameters = make_model(), RestorationParameters(normalization=normalization)
    expected = restore(image.astype(np.float32), model, parameters)
    restored = restore(image.astype(dtype), model, parameters)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, expected, atol=1e-3)


class Spy:
    """A stack that notes which frames are read."""

    def __init__(self, stack):
        self.stack, self.shape, self.dtype, self.read = stack, stack.shape, stack.dtype, []

    def __getitem__(self, key):
        self.read.append(key[0])
        return self.stack[key]


def test_a_frame_is_read_only_once_the_one_before_was_given():
    spy = Spy(image_of((4, 40, 40)))
    restoring = restore_frames(Frames(spy), make_model(), RestorationParameters(tile_size=32))
    assert spy.read == []
    given_frames = 0
    for progress in restoring:
        assert spy.read == list(range(given_frames + 1))
        given_frames += progress.frame is not None
    assert given_frames == 4


def test_with_one_range_the_sampled_frames_are_read_one_a_step_first():
    spy = Spy(image_of((3, 20, 20)))
    restoring = restore_frames(Frames(spy), make_model(), STACK)
    for read in ([0], [0, 1], [0, 1, 2], [0, 1, 2, 0], [0, 1, 2, 0, 1]):
        next(restoring)
        assert spy.read == read
    restoring.close()
    assert spy.read == [0, 1, 2, 0, 1]


def test_it_can_be_closed_within_a_frame():
    spy = Spy(image_of((3, 70, 70)))
    restoring = restore_frames(Frames(spy), make_model(), RestorationParameters(tile_size=32))
    assert next(restoring).frame is None
    restoring.close()
    assert list(restoring) == []
    assert spy.read == [0]


@pytest.mark.parametrize("normalization", ["frame", "stack"])
@pytest.mark.parametrize("indices", [None, [2, 0], []])
def test_progress_ends_at_its_total(normalization, indices):
    parameters = RestorationParameters(normalization=normalization, tile_size=32)
    restored, progress = collected(Frames(image_of((3, 40, 70))), make_model(), parameters, indices=indices)
    sampled, tiles = 3 * (normalization == "stack"), 6 * len([0, 1, 2] if indices is None else indices)
    assert [step.done for step in progress] == list(range(1, sampled + tiles + 1))
    assert all(step.done <= step.total for step in progress)
    if tiles:
        assert progress[-1].done == progress[-1].total == sampled + tiles
    assert list(restored) == ([0, 1, 2] if indices is None else indices)


def test_frames_come_in_the_order_asked_with_the_range_of_the_whole_stack():
    stack = image_of((4, 16, 16)) * np.array([1, 2, 3, 4], np.float32)[:, None, None]
    model = make_model()
    everything = restore(stack, model, STACK)
    restored, _ = collected(Frames(stack), model, STACK, indices=[3, 1])
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
    grey_levels = frame_range(image, Normalization())
    tied = grey_levels.undo(
        tie_low_band(grey_levels.apply(plain), grey_levels.apply(image), own.get("sigma_large", 5.0))
    )
    assert np.abs(tied - plain).max() > 0.05 * np.ptp(image)
    restored = restore(image, model, RestorationParameters(low_band=low_band, tile_size=32))
    np.testing.assert_allclose(restored, tied if is_tied else plain, atol=1e-4 * np.ptp(image))


def test_a_card_with_impossible_loss_parameters_is_refused():
    with pytest.raises(InputError, match="sigma_large must be of type float"):
        restore(image_of((16, 16)), make_model(loss="bandpass", loss_parameters={"sigma_large": "wide"}))


def test_the_card_s_percentiles_are_used():
    model = make_model(normalization=Normalization(low=10, high=90))
    image = image_of((16, 16))
    np.testing.assert_allclose(restore(image, model), by_hand(image, model)[0], atol=1e-5 * np.ptp(image))
    assert np.abs(restore(image, make_model()) - restore(image, model)).max() > 1


@pytest.mark.parametrize("normalization", ["frame", "stack"])
def test_a_frame_with_nan_is_named(normalization):
    stack = image_of((3, 16, 16))
    stack[1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"Frame 1: 1 of 256 pixels are NaN"):
        restore(stack, make_model(), RestorationParameters(normalization=normalization))


def test_a_device_that_fails_is_a_compute_error(monkeypatch):
    def fail(self, image):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(CareNetwork, "forward", fail)
    with pytest.raises(ComputeError, match=r"cpu device failed on a tile of 16 x 16 px: out of memory.*smaller tile"):
        restore(image_of((16, 16)), make_model(), device="cpu")


def test_an_unknown_device_is_refused_by_naming_the_usable():
    with pytest.raises(InputError, match=r"no device 'tpu' here; choose auto or one of: cpu"):
        restore(image_of((16, 16)), make_model(), device="tpu")


def test_what_is_no_image_is_refused():
    for image in ([1, 2, 3], np.zeros((4, 4), complex)):
        with pytest.raises(InputError, match="Expected"):
            restore(image, make_model())
    with pytest.raises(ParameterError, match="tile_size"):
        RestorationParameters(tile_size=8)


def test_plain_lists_are_images_too():
    assert restore([[1, 2], [3, 4]], make_model()).shape == (2, 2)
