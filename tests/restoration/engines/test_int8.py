"""Calibration: the equalised network computes the same, and its ranges hold the activations of the image."""

import dataclasses

import numpy as np
import pytest
import torch
from fixtures.random_models import bundled_model, make_model, needs_openvino, plainly, tile_of
from torch.nn import functional

from napari_care_losses.models.architecture import BILINEAR, Architecture
from napari_care_losses.restoration.engines.int8 import EQUALIZATIONS, float_readings, quantize

pytestmark = pytest.mark.usefixtures("one_torch_thread")

EVERY = [
    Architecture(depth=depth, kernel_size=kernel_size, filters=2, predicts_scale=True)
    for depth in (1, 2, 3, 4)
    for kernel_size in (3, 5, 7)
]
EVERY += [dataclasses.replace(architecture, upsampling=BILINEAR) for architecture in EVERY[3:5]]
EVERY += [dataclasses.replace(architecture, refinement=4) for architecture in EVERY[:4]]
every_architecture = pytest.mark.parametrize(
    "architecture",
    EVERY,
    ids=lambda each: f"depth {each.depth} kernel {each.kernel_size} {each.upsampling} {each.refinement}",
)


def rounded(values, low, high, levels):
    step = (high - low) / (levels - 1)
    return ((values.clamp(low, high) - low) / step).round() * step + low


def restored(architecture, weights, tile, *, ranges=None, room=1.0):
    """Return mean and scale by the textbook: upsample, concatenate, convolve; and every activation by its name.

    Given ranges, activations and weights are rounded as in 8 bits.
    """
    activations = {}

    def convolved(name, *read):
        """Convolve the named results that a layer reads: each rounded, and its part of the weights, if in 8 bits."""
        first, total = 0, weights[f"{name}.bias"][:, None, None]
        for source, x in read:
            weight = weights[f"{name}.weight"][:, first : first + x.shape[1]]
            if (name, source) in (ranges or {}):
                # a filter of its own for each kind of kernel, which has one range where both are in 8 bits
                whole = all((name, each) in ranges for each, _ in read)
                bound = room * (weights[f"{name}.weight"] if whole else weight).abs().amax((1, 2, 3), keepdim=True)
                weight, x = rounded(weight, -bound, bound, 255), rounded(x, 0.0, ranges[name, source], 256)
            total = total + functional.conv2d(x, weight, padding="same")
            first += x.shape[1]
        return total

    def activated(name, *read):
        x = activations[name] = functional.relu(convolved(name, *read))
        return name, x

    image = torch.from_numpy(tile)[None, None]
    features, skips = ("image", functional.pixel_unshuffle(image, 2) if architecture.refinement else image), []
    for level in range(architecture.depth):
        features = activated(f"down.{level}.1", activated(f"down.{level}.0", features))
        skips.append(features)
        features = features[0], functional.max_pool2d(features[1], 2)
    features = activated("middle.1", activated("middle.0", features))
    for level in range(architecture.depth):
        upsampled = functional.interpolate(features[1], scale_factor=2, mode=architecture.upsampling)
        features = activated(f"up.{level}.0", (features[0], upsampled), skips.pop())
        features = activated(f"up.{level}.1", features)
    if architecture.refinement:
        _, x = activated("features", features)
        features = activated("refined", ("features", functional.pixel_shuffle(x, 2)), ("image", image))
    mean, scale = convolved("mean", features) + image * architecture.residual, None
    if architecture.predicts_scale:
        scale = functional.softplus(convolved("scale", features)) + 1e-3
    return (mean, scale), activations


def calibrated(model, tile, equalization=0.75, in_float=()):
    """Return what `quantize` makes of a model on an image."""
    architecture = model.card.architecture
    _, activations = restored(architecture, model.weights, tile)
    largest = {name: values.amax((0, 2, 3)) for name, values in activations.items()}
    return quantize(architecture, model.weights, largest, equalization=equalization, in_float=in_float)


def assert_is_the_same_network(model, quantization, tile):
    found, activations = restored(model.card.architecture, quantization.weights, tile)
    for values, expected in zip(found, plainly(model, tile), strict=True):
        if expected is not None:
            np.testing.assert_allclose(values[0, 0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    return activations


@every_architecture
@pytest.mark.parametrize(("equalization", "choice"), [(min(EQUALIZATIONS), 0), (max(EQUALIZATIONS), 0), (1.0, 1)])
def test_equalised_weights_give_the_same_network_on_any_image(architecture, equalization, choice):
    model = make_model(architecture, seed=architecture.depth)
    quantization = calibrated(model, tile_of((32, 48)), equalization, float_readings(architecture)[choice])
    assert_is_the_same_network(model, quantization, tile_of((32, 48), seed=1))
    first = "down.0.1.weight" if choice else "down.0.0.weight"
    before = model.weights[first]
    assert (quantization.weights[first] - before).abs().max() > 0.01 * before.abs().max()


@every_architecture
def test_ranges_hold_the_activations_of_the_calibration_image(architecture):
    model, tile = make_model(architecture, seed=architecture.depth), tile_of((32, 48))
    quantization = calibrated(model, tile)
    activations = assert_is_the_same_network(model, quantization, tile)
    # what the heads or the refinement read stays in float32
    last = {"features", "refined"} if architecture.refinement else {f"up.{architecture.depth - 1}.1"}
    assert {source for _, source in quantization.ranges} == activations.keys() - last
    for (_, name), largest in quantization.ranges.items():
        found = float(activations[name].max())
        assert found * (1 - 1e-5) <= largest
        assert largest <= found * (1 + 1e-5) or found == 0


@pytest.mark.parametrize("name", ["laplace-lite", "bandpass-lite", "fft-lite"])
def test_channels_are_more_alike_afterwards(name):
    """In trained networks, whose channels differ in brightness."""
    model, tile = bundled_model(name), tile_of((64, 64))
    quantization = calibrated(model, tile)
    _, before = restored(model.card.architecture, model.weights, tile)
    after = assert_is_the_same_network(model, quantization, tile)

    def unevenness(activations):
        """Return the median over convolutions of their channels' largest values, largest over median."""
        largest = [activations[name].amax((0, 2, 3)) for _, name in quantization.ranges]
        return np.median([float(values.max() / values[values > 0].median()) for values in largest])

    assert unevenness(after) < 0.8 * unevenness(before)


def test_the_model_s_own_weights_are_left_alone():
    model = make_model(Architecture(filters=2))
    before = {name: values.clone() for name, values in model.weights.items()}
    calibrated(model, tile_of((32, 32)))
    assert all(torch.equal(values, before[name]) for name, values in model.weights.items())


@pytest.mark.parametrize("dead", ["down.0.0", "down.1.1", "middle.0", "middle.1", "up.0.0", "up.0.1"])
@pytest.mark.parametrize("part", [slice(0, 1), slice(None)], ids=["a channel", "all channels"])
@pytest.mark.parametrize("only_on_image", [False, True], ids=["dead", "dead on the image only"])
def test_channels_without_a_signal_do_no_harm(dead, part, only_on_image):
    """Any factor fits them, but none may be zero, infinite or so large that it does harm."""
    model, tile = make_model(Architecture(filters=4)), tile_of((32, 32))
    bias = model.weights[f"{dead}.bias"]
    model.weights[f"{dead}.weight"][part] = 0
    bias[part] = 0
    if only_on_image:
        bias[part] = -1e-3
    quantization = calibrated(model, tile)
    assert all(values.isfinite().all() for values in quantization.weights.values())
    assert all(0 < largest < np.inf for largest in quantization.ranges.values())
    assert_is_the_same_network(model, quantization, tile)


def test_channels_that_no_layer_reads_do_no_harm():
    model, tile = make_model(Architecture(filters=4)), tile_of((32, 32))
    for reader in ("down.0.1", "middle.1"):
        model.weights[f"{reader}.weight"][:, :2] = 0
    assert_is_the_same_network(model, calibrated(model, tile), tile)


def test_a_black_image_calibrates_to_something_finite():
    model = make_model(Architecture(filters=2))
    for name, values in model.weights.items():
        if name.endswith("bias"):
            values.zero_()
    quantization = calibrated(model, np.zeros((16, 16), np.float32))
    assert all(values.isfinite().all() for values in quantization.weights.values())
    assert_is_the_same_network(model, quantization, tile_of((16, 16)))


@every_architecture
def test_what_hurts_at_full_resolution_is_read_in_float32(architecture):
    """First what the encoder makes there, then what the decoder does; nothing coarser, and pooling reads 8 bits."""
    model, tile = make_model(architecture, seed=architecture.depth), tile_of((32, 48))
    every, without_encoder, without_both = (
        set(calibrated(model, tile, in_float=readings).ranges) for readings in float_readings(architecture)
    )
    last = architecture.depth - 1
    assert every - without_encoder == {("down.0.1", "down.0.0"), (f"up.{last}.0", "down.0.1")}
    assert without_encoder - without_both == {(f"up.{last}.1", f"up.{last}.0")}
    coarser = "down.1.0" if last else "middle.0"
    assert (coarser, "down.0.1") in without_both


@pytest.mark.parametrize("name", ["laplace-lite", "bandpass-lite", "fft-lite"])
def test_less_in_8_bits_is_closer_to_float32(name):
    model, tile = bundled_model(name), tile_of((96, 96))
    (exact, _), _ = restored(model.card.architecture, model.weights, tile)
    errors = []
    for in_float in float_readings(model.card.architecture):
        quantization = calibrated(model, tile, in_float=in_float)
        (found, _), _ = restored(model.card.architecture, quantization.weights, tile, ranges=quantization.ranges)
        errors.append(float((found - exact).square().mean()))
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2] > 0


@needs_openvino
@pytest.mark.parametrize(("seed", "choice"), [(0, 0), (1, 0), (0, 1), (0, 2)])
def test_the_graph_computes_what_rounding_to_8_bits_gives(seed, choice):
    """What the processor adds to the rounding, by the order of its sums, is less than the rounding itself."""
    import openvino

    from napari_care_losses.restoration.engines.openvino_graph import build_graph, weight_room

    model, tile = bundled_model("laplace-lite"), tile_of((96, 128), seed)
    quantization = calibrated(model, tile, in_float=float_readings(model.card.care)[choice])
    graph = build_graph(model.card.care, quantization.weights, tile.shape, ranges=quantization.ranges)
    found = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([tile[None, None]])
    exact, _ = restored(model.card.care, model.weights, tile)
    expected, _ = restored(model.card.care, quantization.weights, tile, ranges=quantization.ranges, room=weight_room())
    for values, rounded_values, float_values in zip(found.values(), expected, exact, strict=True):
        added = np.square(values - rounded_values.numpy()).mean()
        assert 0 < added < np.square((rounded_values - float_values).numpy()).mean()
