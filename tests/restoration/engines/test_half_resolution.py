"""A network at half resolution: cut into tiles, previewed and calibrated as any other."""

import numpy as np
import pytest
from fixtures.random_models import bundled_model, image_of, make_model
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import PercentileNormalization, frame_range
from napari_care_losses.images.regions import Region
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.half_resolution import doubled, halved
from napari_care_losses.restoration.preview.previewer import Previewer
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = Architecture(depth=2, kernel_size=3, filters=2)
HALF = RestorationParameters(engine="torch", correlated_noise="half")


def test_doubling_is_cubic_interpolation_between_the_middles_of_blocks():
    """Cubic convolution gives back parabolas: means of blocks of them, at any place but the edge."""
    y, x = np.mgrid[:40, :48].astype(np.float32)
    image = 0.3 * x * x - 0.7 * x * y + 2 * y - 5
    # the mean of a block of x**2 is that of its middle, and a quarter more
    np.testing.assert_allclose(doubled(halved(image))[4:-4, 4:-4], image[4:-4, 4:-4] + 0.3 * 0.25, atol=1e-3)


def test_a_frame_is_halved_restored_and_doubled():
    model, image = make_model(SMALL), image_of((64, 80))
    grey_levels = frame_range(image, PercentileNormalization())
    mean, _ = open_engine("torch", model, "cpu").restore(halved(grey_levels.apply(image)))
    expected = grey_levels.undo(doubled(mean))
    np.testing.assert_allclose(restore(image, model, HALF, device="cpu"), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(203, 181), (30, 250)])
@pytest.mark.parametrize("options", [{}, {"average_flips": True}, {"low_band": "tied"}], ids=str)
def test_tiles_equal_the_whole(shape, options):
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=True), "laplace")
    image = image_of(shape)
    results = []
    for tile_size in (None, 160):
        parameters = RestorationParameters(engine="torch", correlated_noise="half", tile_size=tile_size, **options)
        *_, last = restore_frames(Frames(image), model, parameters, device="cpu")
        results.append(last.frame)
    whole, tiled = results
    np.testing.assert_allclose(tiled.image, whole.image, rtol=0, atol=1e-5 * np.ptp(image))
    np.testing.assert_allclose(tiled.scale, whole.scale, rtol=0, atol=1e-5 * np.ptp(image))
    assert whole.scale.min() >= 0


def test_regions_and_previews_equal_that_part_of_the_whole(tmp_path):
    model, image, region = make_model(SMALL), image_of((211, 190)), Region(33, 101, 20, 95)
    path = tmp_path / "small.safetensors"
    model.save(path)
    expected = restore(image, model, HALF, device="cpu")[region.slices]
    *_, last = restore_frames(Frames(image), model, HALF, region=region, device="cpu")
    np.testing.assert_allclose(last.frame.image, expected, rtol=0, atol=1e-5 * np.ptp(image))
    canvas = np.full(image.shape, np.nan, np.float32)
    previewer = Previewer("cpu")
    for step in previewer.preview(Frames(image), 0, region, None, path, HALF):
        if step.image is not None:
            canvas[step.position] = step.image
    np.testing.assert_allclose(canvas[region.slices], expected, rtol=0, atol=1e-5 * np.ptp(image))
    # another setting is another preview
    for step in previewer.preview(Frames(image), 0, region, None, path, RestorationParameters(engine="torch")):
        if step.image is not None:
            canvas[step.position] = step.image
    assert np.abs(canvas[region.slices] - expected).max() > 1e-3 * np.ptp(image)


@pytest.mark.parametrize("engine", ["auto", "openvino-int8"])
def test_it_restores_noise_that_correlates_where_full_resolution_does_not(engine):
    low, high = (
        gaussian_filter(image.astype(np.float32), 0.7) for image in simulate_pair("actin", (256, 256), seed=46)
    )
    model = bundled_model("fft-lite")
    full, half = (
        score(restore(low, model, RestorationParameters(engine=engine, correlated_noise=how), device="cpu"), high)
        for how in ("ignore", "half")
    )
    assert half["psnr"] > full["psnr"] + 1
    assert half["ssim"] > full["ssim"] + 0.1


def test_earlier_jobs_are_recognised():
    assert "half_resolution" not in RestorationParameters().identity()
    assert HALF.identity()["half_resolution"] is True
