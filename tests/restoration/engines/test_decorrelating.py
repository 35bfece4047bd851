"""A network that sees its image with decorrelated noise: cut into tiles, previewed and calibrated as any other."""

import numpy as np
import pytest
from fixtures.random_models import bundled_model, image_of, make_model, needs_openvino
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.noise.shared import measure_images
from napari_care_losses.images.regions import Region
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.decorrelating import DecorrelatingEngine, decorrelating_kernels
from napari_care_losses.restoration.engines.treatment import Treatment
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames
from napari_care_losses.simulation.microscope import Microscope, blur
from napari_care_losses.simulation.pairs_and_movies import draw_structure

pytestmark = pytest.mark.usefixtures("one_torch_thread")

NOISE = Treatment(correlation=((1.0, 0.5, 0.1), (0.4, 0.2, 0.05), (0.1, 0.05, 0.0)))


def restored(image, model, **options):
    region, treatment = options.pop("region", None), options.pop("treatment", NOISE)
    parameters = RestorationParameters(engine="torch", **options)
    *_, last = restore_frames(Frames(image), model, parameters, region=region, device="cpu", treatment=treatment)
    return last.frame


@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0, 0.7)], ids=["both axes", "along x"])
def test_the_filter_decorrelates_noise(sigma):
    class Seen:
        model = make_model()
        device = note = ""
        samples = 0
        architecture = model.card.architecture

        def restore(self, tile):
            self.tile = tile
            return tile, None

    noisy = gaussian_filter(np.random.default_rng(0).normal(0, 1, (256, 256)), sigma).astype(np.float32)
    before = measure_images([noisy])
    engine = DecorrelatingEngine(Seen(), before.correlation)
    back, _ = engine.restore(noisy)
    assert before.strongest > 0.35
    assert measure_images([engine._engine.tile]).strongest < 0.15
    # undone, it is the image again
    assert np.abs(back - noisy).std() < 0.03 * noisy.std()


def test_noise_that_is_not_shared_is_not_filtered():
    for kernel in decorrelating_kernels(((1.0, 0.0), (0.0, 0.0))):
        np.testing.assert_allclose(kernel.ravel(), np.eye(1, kernel.size, kernel.size // 2).ravel(), atol=1e-6)


@pytest.mark.parametrize("shape", [(203, 181), (30, 250)])
@pytest.mark.parametrize("options", [{}, {"average_flips": True}, {"low_band": "tied"}], ids=str)
def test_tiles_equal_the_whole(shape, options):
    model = make_model(Architecture(depth=2, kernel_size=3, filters=2, predicts_scale=True), "laplace")
    image = image_of(shape)
    whole, tiled = (restored(image, model, tile_size=tile_size, **options) for tile_size in (None, 150))
    np.testing.assert_allclose(tiled.image, whole.image, rtol=0, atol=1e-5 * np.ptp(image))
    np.testing.assert_allclose(tiled.scale, whole.scale, rtol=0, atol=1e-5 * np.ptp(image))
    assert whole.scale.min() >= 0


def test_a_region_equals_that_part_of_the_whole():
    model, image, region = make_model(), image_of((211, 190)), Region(33, 101, 20, 95)
    part, whole = restored(image, model, region=region).image, restored(image, model).image
    np.testing.assert_allclose(part, whole[region.slices], rtol=0, atol=1e-5 * np.ptp(image))
    other = restored(image, model, treatment=Treatment()).image
    assert np.abs(whole - other).max() > 1e-3 * np.ptp(image)


@needs_openvino
def test_8_bits_are_calibrated_on_decorrelated_images():
    model, image = bundled_model("fft-lite"), image_of((64, 64)) / 500
    engine = open_engine("openvino-int8", model, "cpu", NOISE)
    engine.prepare([image] * engine.samples)
    exact = open_engine("torch", model, "cpu", NOISE).restore(image)[0]
    # 0.11 on processors that have only 7 bits for weights
    assert np.abs(engine.restore(image)[0] - exact).std() < 0.15 * exact.std()
    assert engine.note


@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0, 0.7)], ids=["both axes", "along x"])
@pytest.mark.parametrize("name", ["actin", "microtubules"])
def test_it_restores_shared_noise_better_and_keeps_detail(name, sigma):
    rng = np.random.default_rng(3)
    light = blur(draw_structure(name, (256, 256), rng), Microscope()).astype(np.float64)
    light /= np.percentile(light, 99.9)
    recorded = 1000 + 20 * (rng.poisson(10 * light) + rng.normal(0, 1, light.shape))
    low, high = (gaussian_filter(image.astype(np.float32), sigma) for image in (recorded, light))
    model = bundled_model("fft-lite")
    psnr = {
        how: score(restore(low, model, RestorationParameters(correlated_noise=how), device="cpu"), high)["psnr"]
        for how in ("ignore", "auto", "half")
    }
    assert psnr["auto"] > psnr["ignore"] + 0.7
    # of the finest structure, half resolution loses most
    assert psnr["auto"] > psnr["half"] + 2 or name == "actin"
