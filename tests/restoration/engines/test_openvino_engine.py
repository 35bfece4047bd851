"""OpenVINO: its cache of compiled networks; accuracy, calibration and note of the 8-bit engine."""

import re

import numpy as np
import pytest
import torch
from fixtures.random_models import Spy, bundled_model, image_of, make_model, needs_openvino, plainly, tile_of

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import HEAD, IMAGE, Architecture
from napari_care_losses.restoration.engines import fidelity as fidelity_to_float32
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore, restore_frames
from napari_care_losses.restoration.tiles import pad
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

pytestmark = [needs_openvino, pytest.mark.usefixtures("one_torch_thread")]

NAMES = ["laplace-lite", "fft-lite", pytest.param("bandpass-lite", marks=pytest.mark.slow)]
"""Bundled models: one with a scale, one without; the last has the layers of the second."""

INT8 = RestorationParameters(engine="openvino-int8")
FLOAT = RestorationParameters(engine="openvino")


@pytest.fixture
def compiled():
    """Return the function that compiles and remembers, having forgotten everything."""
    from napari_care_losses.restoration.engines.openvino_engine import _compiled

    _compiled.cache_clear()
    return _compiled


def fidelity(found, expected, data_range):
    """Return the PSNR in dB of one result against another."""
    return -10 * np.log10(np.mean(np.square(found - expected, dtype=np.float64)) / data_range**2)


def calibrated(model, *images):
    engine = open_engine("openvino-int8", model)
    engine.prepare(pad(image, model.card.architecture.block) for image in images)
    return engine


class TestCompiling:
    def misses(self, compiled, name, model, shape, *images):
        """Return how many networks are compiled for a tile, by an engine of its own."""
        engine = open_engine(name, model)
        if images:
            engine.prepare(images)
        before = compiled.cache_info().misses
        mean, _ = engine.restore(tile_of(shape))
        if not images:
            np.testing.assert_allclose(mean, plainly(model, tile_of(shape))[0], atol=1e-5)
        return compiled.cache_info().misses - before

    def test_equal_models_and_shapes_are_compiled_once(self, compiled):
        assert self.misses(compiled, "openvino", make_model(seed=1), (32, 16)) == 1
        assert self.misses(compiled, "openvino", make_model(seed=1), (32, 16)) == 0
        assert self.misses(compiled, "auto", make_model(seed=1), (32, 16)) == 0

    def test_another_model_or_shape_is_compiled_anew(self, compiled):
        assert self.misses(compiled, "openvino", make_model(seed=1), (32, 16)) == 1
        assert self.misses(compiled, "openvino", make_model(seed=2), (32, 16)) == 1
        assert self.misses(compiled, "openvino", make_model(seed=1), (16, 32)) == 1
        assert self.misses(compiled, "openvino", make_model(Architecture(filters=1)), (32, 16)) == 1

    def test_another_calibration_is_compiled_anew(self, compiled):
        model, one, other = make_model(), tile_of((32, 32)), tile_of((32, 32), seed=1)
        assert self.misses(compiled, "openvino-int8", model, (48, 48)) == 1
        assert self.misses(compiled, "openvino-int8", model, (48, 48), one) == 1
        assert self.misses(compiled, "openvino-int8", model, (48, 48), one) == 0
        assert self.misses(compiled, "openvino-int8", model, (48, 48), other) == 1

    def test_graphs_of_equal_ranges_but_other_weights_differ(self):
        """Every calibration has the same ranges, but other weights."""
        from napari_care_losses.restoration.engines.openvino_engine import _Graph

        model, ranges = make_model(), {("down.0.1", "down.0.0"): 1.0}
        other = {name: values * 2 for name, values in model.weights.items()}
        assert _Graph(model, ranges, model.weights) == _Graph(model, dict(ranges), dict(model.weights))
        assert _Graph(model, ranges, model.weights) != _Graph(model, ranges, other)
        assert _Graph(model, ranges, model.weights) != _Graph(model)

    def test_another_number_of_threads_is_compiled_anew(self, compiled):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert self.misses(compiled, "openvino", make_model(), (16, 16)) == 1


def test_threads_are_not_pinned():
    """Pinned, those of every process would share the first cores of the machine."""
    from napari_care_losses.restoration.engines.openvino_engine import make_request

    request = make_request(open_engine("openvino", make_model())._graph, (16, 16))
    assert not request.get_compiled_model().get_property("ENABLE_CPU_PINNING")


class TestEightBits:
    @pytest.mark.parametrize("name", NAMES)
    def test_come_close_to_float32_and_to_its_scores(self, name):
        model = bundled_model(name)
        low, high = simulate_pair("actin", (160, 192), seed=7)
        exact, coarse = (restore(low, model, parameters) for parameters in (FLOAT, INT8))
        assert 0 < np.abs(exact - coarse).max()
        assert fidelity(coarse, exact, np.ptp(exact)) > 40
        assert score(coarse, high)["psnr"] > score(exact, high)["psnr"] - 0.2

    def test_the_uncertainty_is_kept_too(self):
        """Its mean differs by no more than the rounding of the weights, in all layers in one direction."""
        from napari_care_losses.restoration.engines.openvino_graph import WEIGHT_LEVELS, weight_room

        model, (low, _) = bundled_model("laplace-lite"), simulate_pair("actin", (160, 192), seed=7)
        (exact,), (coarse,) = (list(restore_frames(Frames(low), model, each)) for each in (FLOAT, INT8))
        layers = sum(layer.kind != HEAD and layer.source != IMAGE for layer in model.card.care.layers())
        # of a weight, relative to the largest of its filter; CPUs without VNNI have a bit less
        half_a_step = weight_room() / (WEIGHT_LEVELS - 1)
        np.testing.assert_allclose(
            coarse.frame.scale.mean(), exact.frame.scale.mean(), rtol=layers * half_a_step, atol=0
        )
        assert fidelity(coarse.frame.scale, exact.frame.scale, np.ptp(exact.frame.scale)) > 35

    @pytest.mark.parametrize(
        ("depth", "kernel_size"),
        [
            *((1, 3), (1, 15), (2, 5), (3, 7)),
            *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 5), (1, 7), (2, 3), (2, 7), (3, 5))),
            *(pytest.param(4, kernel_size, marks=pytest.mark.slow) for kernel_size in (3, 7)),
        ],
    )
    def test_every_depth_and_kernel_size_comes_close(self, depth, kernel_size):
        architecture = Architecture(depth=depth, kernel_size=kernel_size, filters=2, predicts_scale=True)
        model, tile = make_model(architecture, seed=depth), tile_of((48, 64))
        for found, expected in zip(calibrated(model, tile).restore(tile), plainly(model, tile), strict=True):
            assert fidelity(found, expected, np.ptp(expected)) > 30

    def test_the_note_gives_speed_and_error(self):
        model, image = bundled_model("fft-lite"), tile_of((64, 64))
        engine = calibrated(model, image)
        note = re.fullmatch(
            r"8-bit engine: \d+\.\dx as fast as float32 on this CPU, "
            r"PSNR (\S+) dB, SSIM (\S+) against float32 on this image\.( That is little .*)?",
            engine.note,
        )
        expected = fidelity(engine.restore(image)[0], plainly(model, image)[0], 1)
        assert float(note[1]) == pytest.approx(expected, abs=0.06)
        assert 0.9 < float(note[2]) < 1

    @pytest.mark.parametrize(("speed_up", "is_little"), [(1.79, True), (1.81, False)])
    def test_the_note_says_where_little_is_gained(self, speed_up, is_little):
        from napari_care_losses.restoration.engines.openvino_engine import _note

        assert ("computes in float32" in _note(1e-5, 0.999, speed_up)) == is_little

    @pytest.mark.parametrize("name", NAMES)
    def test_no_more_is_in_8_bits_than_keeps_the_structure(self, name, monkeypatch):
        from napari_care_losses.restoration.engines import openvino_engine

        found = []
        for least in (0.0, 0.998, 1.0):
            monkeypatch.setattr(openvino_engine, "LEAST_SSIM", least)
            note = calibrated(bundled_model(name), tile_of((64, 64))).note
            found.append(float(re.search(r"SSIM (\d\.\d+)", note)[1]))
        assert found[0] <= found[1] <= found[2]
        assert found[1] >= 0.998 or found[1] == found[2]

    def test_without_an_image_the_engine_computes_in_float32(self):
        engine, tile = calibrated(make_model()), tile_of((32, 32))
        assert engine.note == ""
        np.testing.assert_allclose(engine.restore(tile)[0], plainly(engine.model, tile)[0], atol=1e-5)
        assert list(restore_frames(Frames(image_of((2, 16, 16))), make_model(), INT8, indices=[])) == []

    @pytest.mark.parametrize(
        ("depth", "shape"),
        [
            *((1, (1, 1)), (1, (3, 3)), (1, (2, 40)), (1, (3, 5)), (1, (17, 1)), (4, (1, 1)), (4, (2, 40))),
            *(pytest.param(4, shape, marks=pytest.mark.slow) for shape in ((3, 3), (3, 5), (17, 1))),
        ],
    )
    def test_tiny_images(self, depth, shape):
        model = make_model(Architecture(depth=depth, kernel_size=3, filters=2), seed=depth)
        image = image_of(shape)
        exact, coarse = (restore(image, model, parameters) for parameters in (FLOAT, INT8))
        assert coarse.shape == shape
        np.testing.assert_allclose(coarse, exact, rtol=0, atol=0.05 * np.abs(exact).max())

    def test_products_that_fill_their_range_do_not_overflow(self):
        """CPUs without VNNI add two products in 16 bits."""
        model = make_model(Architecture(depth=1, kernel_size=3, filters=16))
        for values in model.weights.values():
            values.fill_(0.01)
        tile = np.ones((32, 32), np.float32)
        expected, _ = plainly(model, tile)
        np.testing.assert_allclose(calibrated(model, tile).restore(tile)[0], expected, rtol=0.02)

    @pytest.mark.parametrize("level", [0, 1000])
    def test_a_constant_image(self, level):
        model = bundled_model("laplace-lite")
        image = np.full((40, 40), level, np.uint16)
        exact, coarse = (restore(image, model, parameters) for parameters in (FLOAT, INT8))
        np.testing.assert_allclose(coarse, exact, rtol=0, atol=0.05)

    def test_a_network_that_is_dead_on_the_image(self):
        model = make_model(Architecture(filters=2))
        for name, values in model.weights.items():
            if name.startswith("down.1"):
                values.zero_()
        tile = tile_of((32, 32))
        mean, _ = calibrated(model, tile).restore(tile)
        assert fidelity(mean, plainly(model, tile)[0], np.ptp(mean)) > 30


class TestCalibration:
    """Three frames, spread over the whole stack; of each the part with most structure."""

    def first_read(self, stack, indices=None):
        spy = Spy(stack)
        restoring = restore_frames(Frames(spy), make_model(), INT8, indices=indices)
        next(restoring)
        restoring.close()
        return spy.read

    @pytest.mark.parametrize(
        ("length", "indices", "seen"),
        [(9, None, [0, 4, 8]), (9, [8, 1, 2], [0, 4, 8]), (9, [5], [0, 4, 8]), (2, [1], [0, 1]), (1, None, [0])],
    )
    def test_calibrates_on_three_frames_of_the_stack_whichever_are_restored(self, length, indices, seen):
        """So that a resumed run computes with the same network."""
        assert self.first_read(image_of((length, 16, 16)), indices)[: len(seen) + 1] == [*seen, (indices or [0])[0]]

    def test_a_bright_frame_among_them_is_within_the_ranges(self):
        """Calibrated on a dim frame alone, the bright one would be clipped."""
        model = make_model(Architecture(filters=4))
        stack = image_of((3, 32, 32))
        stack[2] *= 20
        parameters = {
            name: RestorationParameters(engine=name, normalization="stack") for name in ("openvino", "openvino-int8")
        }
        exact, coarse = (restore(stack, model, parameters[name]) for name in parameters)
        assert fidelity(coarse[2], exact[2], np.ptp(exact[2])) > 30

    def test_calibrates_on_the_part_with_most_structure(self, monkeypatch):
        monkeypatch.setattr(fidelity_to_float32, "WIDTH", 32)
        image = np.zeros((96, 130), np.float32)
        image[88:, 122:] = 1
        part = fidelity_to_float32.richest_part(image, 2)
        np.testing.assert_array_equal(part, image[64:, 98:])
        assert fidelity_to_float32.richest_part(image[:20, :40], 4).shape == (20, 32)
