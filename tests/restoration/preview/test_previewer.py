"""A preview is what the restoration will be, and what is known already is not computed again."""

import os

import numpy as np
import pytest
from fixtures.random_models import Spy, image_of, make_model
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.images.regions import Region
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.low_band import estimate_gain
from napari_care_losses.restoration.preview import previewer as previewer_module
from napari_care_losses.restoration.preview.previewer import KeptRanges, Previewer
from napari_care_losses.restoration.preview.window import LARGEST_WINDOW
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = Architecture(depth=2, kernel_size=3, filters=2)
TORCH = RestorationParameters(engine="torch")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.safetensors"
    make_model(SMALL).save(path)
    return path


@pytest.fixture
def in_tiles(monkeypatch):
    """Take the small network for a dear one."""
    monkeypatch.setattr(previewer_module, "tile_width", lambda *_, **__: 128)


@pytest.fixture
def runs(monkeypatch):
    """Return a list of the shapes of tiles that run through the network."""
    shapes, run = [], TorchEngine._run

    def spied(engine, tile):
        shapes.append(tile.shape)
        return run(engine, tile)

    monkeypatch.setattr(TorchEngine, "_run", spied)
    return shapes


def shown(previewer, frames, index, window, path, parameters=TORCH, cursor=None):
    """Return the frame with its previewed pixels, NaN elsewhere, cut to the window; and all steps."""
    canvas = np.full(frames.frame_shape, np.nan, np.float32)
    steps = list(previewer.preview(frames, index, window, cursor, path, parameters))
    for step in steps:
        if step.image is not None:
            canvas[step.position] = step.image
    return canvas[window.slices], steps


@pytest.mark.parametrize("normalization", ["frame", "stack", "bleaching"])
@pytest.mark.parametrize("loss", ["mae", "laplace", "fft"])
@pytest.mark.parametrize("width", [128, LARGEST_WINDOW])
def test_the_preview_is_what_the_restoration_will_be(normalization, loss, width, tmp_path, monkeypatch):
    monkeypatch.setattr(previewer_module, "tile_width", lambda *_, **__: width)
    stack = image_of((4, 301, 203)) * np.array([1, 2, 3, 5], np.float32)[:, None, None]
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=loss == "laplace"), loss)
    model.save(tmp_path / "model.safetensors")
    parameters = RestorationParameters(engine="torch", normalization=normalization, low_percentile=5)
    expected = restore(stack, model, parameters, device="cpu")
    previewer, frames = Previewer("cpu"), Frames(stack)
    for index, window in [(2, Region(0, 301, 0, 203)), (2, Region(97, 240, 60, 203)), (0, Region(290, 301, 0, 9))]:
        pixels, _ = shown(previewer, frames, index, window, tmp_path / "model.safetensors", parameters)
        np.testing.assert_allclose(pixels, expected[index][window.slices], rtol=0, atol=1e-5 * np.ptp(stack))


def blobs(shape, seed=0):
    """Return bright blobs in the middle of a noisy frame."""
    y, x = np.indices(shape)
    pattern = np.sin(y / 5) * np.sin(x / 6) * ((y // 128 == 1) & (x // 128 == 1))
    return (np.random.default_rng(seed).normal(100, 5, shape) + 200 * pattern).astype(np.float32)


def tying(tmp_path):
    model = make_model(SMALL, "bandpass")
    model.save(tmp_path / "tying.safetensors")
    return model, tmp_path / "tying.safetensors"


def test_a_tied_frame_of_one_tile_is_the_restoration_s(tmp_path):
    model, path = tying(tmp_path)
    image = blobs((301, 333))
    expected = restore(image, model, TORCH, device="cpu")
    previewer, frames = Previewer("cpu"), Frames(image)
    for window in (Region(0, 301, 0, 333), Region(200, 301, 150, 333)):
        pixels, _ = shown(previewer, frames, 0, window, path)
        np.testing.assert_allclose(pixels, expected[window.slices], rtol=0, atol=1e-4 * np.ptp(image))


def test_a_tied_window_without_structure_takes_the_gain_from_where_there_is(in_tiles, tmp_path):
    model, path = tying(tmp_path)
    image = blobs((301, 333))
    expected = restore(image, model, TORCH, device="cpu")
    plain = restore(image, model, RestorationParameters(engine="torch", low_band="plain"), device="cpu")
    grey_levels = frame_range(image, PercentileNormalization())
    empty = Region(0, 120, 200, 333)
    gain, own_gain = (
        estimate_gain(grey_levels.apply(plain[part]), grey_levels.apply(image[part]))
        for part in ((slice(None), slice(None)), empty.slices)
    )
    assert abs(own_gain / gain - 1) > 0.05
    pixels, _ = shown(Previewer("cpu"), Frames(image), 0, empty, path)
    np.testing.assert_allclose(pixels, expected[empty.slices], rtol=0, atol=0.02 * np.ptp(expected[empty.slices]))


def test_plain_and_tied_tiles_are_kept_apart(tmp_path):
    model, path = tying(tmp_path)
    image = blobs((130, 150))
    previewer, frames, window = Previewer("cpu"), Frames(image), Region(0, 130, 0, 150)
    for low_band in ("auto", "plain", "tied"):
        parameters = RestorationParameters(engine="torch", low_band=low_band)
        pixels, _ = shown(previewer, frames, 0, window, path, parameters)
        expected = restore(image, model, parameters, device="cpu")
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5 * np.ptp(image))


def test_tiles_begin_at_the_cursor_and_report_progress(in_tiles, path):
    window = Region(0, 300, 0, 300)
    _, steps = shown(Previewer("cpu"), Frames(image_of((300, 300))), 0, window, path, cursor=(290.0, 10.0))
    tiles = [step for step in steps if step.image is not None]
    assert tiles[0].position == (slice(256, 300), slice(0, 128))
    assert [(step.done, step.total) for step in tiles] == [(number, 9) for number in range(1, 10)]


def test_engine_range_and_tiles_are_not_computed_again(in_tiles, path, runs):
    spy = Spy(image_of((2, 300, 300)))
    previewer, frames = Previewer("cpu"), Frames(spy)
    shown(previewer, frames, 0, Region(0, 128, 0, 256), path)
    # the noise is measured in both frames
    assert (len(runs), spy.read) == (2, [0, 1, 0])
    shown(previewer, frames, 0, Region(0, 200, 0, 256), path)
    assert (len(runs), spy.read) == (4, [0, 1, 0])
    shown(previewer, frames, 1, Region(0, 128, 0, 128), path)
    pixels, _ = shown(previewer, frames, 0, Region(0, 200, 0, 256), path)
    assert len(runs) == 5
    expected = restore(spy.stack[0], make_model(SMALL), TORCH, device="cpu")
    np.testing.assert_allclose(pixels, expected[:200, :256], rtol=0, atol=1e-5 * np.ptp(spy.stack))


def test_the_kept_tiles_have_a_size_limit(in_tiles, path, runs, monkeypatch):
    monkeypatch.setattr(previewer_module, "KEPT_PIXELS", 3 * 128 * 128)
    previewer, frames = Previewer("cpu"), Frames(image_of((256, 256)))
    for _ in range(2):
        shown(previewer, frames, 0, Region(0, 256, 0, 256), path, cursor=(0.0, 0.0))
    assert len(runs) == 8
    shown(previewer, frames, 0, Region(128, 256, 128, 256), path)
    assert len(runs) == 8


def test_tiles_of_all_windows_have_few_shapes(path, runs):
    previewer, frames = Previewer("cpu"), Frames(image_of((700, 700)))
    for size in (20, 100, 128, 200, 400, 512):
        for start in (0, 3, 700 - size):
            shown(previewer, frames, 0, Region(start, start + size, 0, size), path)
    assert len(set(runs)) == 3


def test_estimating_the_range_continues_where_it_was_closed(path):
    spy = Spy(image_of((4, 40, 40)))
    parameters = RestorationParameters(engine="torch", normalization="stack")
    previewer, frames, window = Previewer("cpu"), Frames(spy), Region(0, 40, 0, 40)
    for expected in ("loading the model", "estimating the range, frame 1 of 4"):
        closed = previewer.preview(frames, 0, window, None, path, parameters)
        while next(closed).note != expected:
            pass
        closed.close()
    assert spy.read == [0]
    _, steps = shown(previewer, frames, 3, window, path, parameters)
    assert [step.note for step in steps][:3] == [f"estimating the range, frame {number} of 4" for number in (2, 3, 4)]
    assert spy.read == [0, 1, 2, 3, 3]
    shown(previewer, frames, 1, window, path, parameters)
    assert spy.read == [0, 1, 2, 3, 3, 1]


def test_another_stack_model_or_range_starts_a_new_estimate(path, tmp_path):
    previewer, window = Previewer("cpu"), Region(0, 40, 0, 40)
    stacks = [image_of((2, 40, 40), seed) for seed in (0, 1)]
    stacks[1][0] *= 10
    make_model(SMALL, seed=5).save(tmp_path / "other.safetensors")
    cases = [
        (stacks[0], path, "frame", 0),
        (stacks[1], path, "frame", 0),
        (stacks[1], path, "stack", 0),
        (stacks[1], tmp_path / "other.safetensors", "stack", 5),
    ]
    for stack, file, normalization, seed in cases:
        parameters = RestorationParameters(engine="torch", normalization=normalization)
        pixels, _ = shown(previewer, Frames(stack), 1, window, file, parameters)
        expected = restore(stack, make_model(SMALL, seed=seed), parameters, device="cpu")[1]
        np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5 * np.ptp(stack))


def test_a_model_trained_anew_under_its_name_is_loaded(path):
    previewer, frames, window = Previewer("cpu"), Frames(image_of((40, 40))), Region(0, 40, 0, 40)
    before, _ = shown(previewer, frames, 0, window, path)
    make_model(SMALL, seed=7).save(path)
    os.utime(path, ns=(1, 1))
    after, _ = shown(previewer, frames, 0, window, path)
    assert np.abs(after - before).max() > 1
    path.unlink()
    with pytest.raises(ModelFileError):
        shown(previewer, frames, 0, window, path)


def test_a_preview_notes_what_the_restoration_will_of_the_frame(path):
    stack = image_of((3, 40, 40))
    stack[1], stack[2, 3:37:6, 3:37:6] = 7, 5e4
    previewer, frames, window = Previewer("cpu"), Frames(stack), Region(0, 40, 0, 40)
    for index in range(3):
        parameters = RestorationParameters(engine="torch", normalization="stack")
        _, steps = shown(previewer, frames, index, window, path, parameters)
        *_, last = restore_frames(frames, load_model(path), parameters, indices=[index], device="cpu")
        assert steps[-1].note == last.note
        assert bool(last.note) == (index > 0)


def test_a_preview_of_8_bits_computes_in_float32_and_notes_it(path):
    image = image_of((64, 64))
    previewer, frames, window = Previewer("cpu"), Frames(image), Region(0, 64, 0, 64)
    pixels, steps = shown(previewer, frames, 0, window, path, RestorationParameters(engine="openvino-int8"))
    np.testing.assert_allclose(pixels, restore(image, make_model(SMALL), TORCH, device="cpu"), atol=1e-3)
    assert steps[-1].note
    previewer.close()


@pytest.mark.parametrize("low_band", ["plain", "tied"])
def test_pixels_without_a_value_stay_so_and_the_others_are_as_restored(path, low_band):
    stack = image_of((3, 40, 40))
    stack[:, :5], stack[1] = np.nan, 7
    stack[2, 20:, :3] = np.nan
    previewer, frames, window = Previewer("cpu"), Frames(stack), Region(0, 40, 0, 40)
    parameters = RestorationParameters(engine="torch", normalization="stack", low_band=low_band)
    expected = restore(stack, load_model(path), parameters, device="cpu")
    assert np.array_equal(np.isnan(expected), np.isnan(stack))
    for index in range(3):
        pixels, _ = shown(previewer, frames, index, window, path, parameters)
        np.testing.assert_allclose(pixels, expected[index], rtol=1e-4)
    previewer.close()


def test_a_frame_beyond_float32_is_named_and_the_next_is_previewed(path):
    stack = image_of((3, 40, 40)).astype(np.float64)
    stack[1, 2, 3] = 1e300
    previewer, frames, window = Previewer("cpu"), Frames(stack), Region(0, 40, 0, 40)
    with pytest.raises(InputError, match="Frame 1: the pixels reach"):
        shown(previewer, frames, 1, window, path)
    pixels, _ = shown(previewer, frames, 2, window, path)
    assert np.isfinite(pixels).all()
    with pytest.raises(InputError, match="Frame 1"):
        shown(previewer, frames, 0, window, path, RestorationParameters(engine="torch", normalization="stack"))


def test_it_says_what_it_has_and_shares_the_range_of_a_stack(path, tmp_path):
    other = tmp_path / "other.safetensors"
    make_model(SMALL, seed=5).save(other)
    spy, ranges, window = Spy(image_of((4, 40, 40))), KeptRanges(), Region(0, 40, 0, 40)
    first, second, frames = Previewer("cpu", ranges=ranges), Previewer("cpu", ranges=ranges), Frames(spy)
    parameters = RestorationParameters(engine="torch", normalization="stack")
    assert not first.has(frames, 0, window, path, parameters)
    shown(first, frames, 0, window, path, parameters)
    assert spy.read == [0, 1, 2, 3, 0]
    shown(second, frames, 1, window, other, parameters)
    assert spy.read == [0, 1, 2, 3, 0, 1]
    assert first.has(frames, 0, window, path, parameters)
    assert second.has(frames, 1, window, other, parameters)
    for index, file, changed in [
        (1, path, parameters),
        (0, other, parameters),
        (0, path, RestorationParameters(engine="torch", normalization="frame")),
    ]:
        assert not first.has(frames, index, window, file, changed)
    assert not first.has(Frames(image_of((4, 40, 40))), 0, window, path, parameters)


def test_a_hasty_previewer_waits_for_no_measurement_of_noise_but_takes_one_that_is_there():
    path = next(entry.path for entry in list_models() if entry.name == "fft-live")
    blurred = gaussian_filter(np.random.default_rng(0).poisson(5, (2, 128, 128)).astype(np.float32), (0, 0.6, 0.6))
    frames, ranges, window = Frames(blurred), KeptRanges(), Region(0, 128, 0, 128)
    hasty = Previewer("cpu", ranges=ranges, is_hasty=True)
    first, steps = shown(hasty, frames, 0, window, path)
    as_it_is = RestorationParameters(engine="torch", correlated_noise="ignore")
    np.testing.assert_allclose(first, shown(Previewer("cpu"), frames, 0, window, path, as_it_is)[0], rtol=1e-5)
    assert not any("noise" in step.note for step in steps)
    expected, steps = shown(Previewer("cpu", ranges=ranges), frames, 0, window, path)
    assert steps[0].note == "measuring the noise"
    assert not hasty.has(frames, 0, window, path, TORCH)
    np.testing.assert_allclose(shown(hasty, frames, 0, window, path)[0], expected, rtol=1e-5)
    assert np.abs(expected - first).max() > 0.1
    halved = RestorationParameters(engine="torch", correlated_noise="half")
    pixels = [shown(Previewer("cpu", is_hasty=one), frames, 0, window, path, halved)[0] for one in (True, False)]
    np.testing.assert_array_equal(*pixels)


@pytest.mark.parametrize("loss", ["mae", "bandpass"])
def test_a_model_of_neighbouring_frames_is_previewed_as_restored(tmp_path, loss):
    path, stack = tmp_path / "around.safetensors", image_of((6, 96, 80))
    model = make_model(Architecture(depth=1, kernel_size=3, filters=2, neighbours=4), loss)
    model.save(path)
    whole = restore(stack, model, TORCH, device="cpu")
    spy = Spy(stack)
    frames, previewer = Frames(spy, "TYX"), Previewer("cpu")
    for index in (2, 3):
        image, steps = shown(previewer, frames, index, Region(0, 96, 0, 80), path)
        np.testing.assert_allclose(image, whole[index], rtol=0, atol=1e-4 * np.ptp(whole))
        read, spy.read = spy.read, []
    # one step of the slider reads one frame more
    assert read == [5]
    assert steps[-1].done == steps[-1].total
