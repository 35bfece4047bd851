import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_care_losses.models.architecture import BILINEAR, NEAREST, PRESETS, SCALE_FLOOR, Architecture
from napari_care_losses.models.unet import CareNetwork, _pair_sums, training_layout
from napari_care_losses.models.upsampling import upsampled_kernel

UPSAMPLINGS = (NEAREST, BILINEAR)


def number_of_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        # csbdeep 0.8.2: CARE(Config("YX", probabilistic=False), None, None).keras_model.count_params(), then True
        (PRESETS["care"], 922_977),
        (Architecture(predicts_scale=True), 923_010),
        (PRESETS["lite"], 83_377),
        (PRESETS["deep"], 341_745),
        # lite's, 432 more for four pixels in place of one, 255 for 16 features in place of the head, 441 to refine them
        (PRESETS["live"], 84_505),
    ],
)
def test_has_the_parameters_of_csbdeep(architecture, expected):
    assert number_of_parameters(CareNetwork(architecture)) == expected


def test_has_the_layers_of_csbdeep():
    network = CareNetwork(PRESETS["care"])
    widths = [
        tuple((layer.in_channels, layer.out_channels) for layer in block)
        for block in [*network.down, network.middle, *network.up]
    ]
    assert widths == [
        ((1, 32), (32, 32)),
        ((32, 64), (64, 64)),
        ((64, 128), (128, 64)),
        ((128, 64), (64, 32)),
        ((64, 32), (32, 32)),
    ]


def test_starts_glorot_uniform_with_zero_biases():
    network = CareNetwork(PRESETS["care"], torch.Generator().manual_seed(0))
    kernel = network.down[1][1].weight.detach()
    limit = (6 / (64 * 25 + 64 * 25)) ** 0.5
    assert kernel.abs().max() <= limit
    assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.01)
    assert all(parameter.abs().max() == 0 for name, parameter in network.named_parameters() if "bias" in name)


def test_equal_seeds_give_equal_networks():
    first, second = (CareNetwork(PRESETS["lite"], torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_residual_adds_the_input():
    image = torch.rand(2, 1, 16, 20)
    with_residual = CareNetwork(Architecture(filters=4, residual=True))
    without = CareNetwork(Architecture(filters=4, residual=False))
    without.load_state_dict(with_residual.state_dict())
    torch.testing.assert_close(with_residual(image).mean - without(image).mean, image)


def test_scale_is_positive_and_only_there_when_asked():
    image = torch.rand(1, 1, 16, 16)
    assert CareNetwork(Architecture(filters=4))(image).scale is None
    network = CareNetwork(Architecture(filters=4, predicts_scale=True))
    torch.nn.init.constant_(network.scale.bias, -100.0)
    assert network(image).scale.min() >= SCALE_FLOOR


@pytest.mark.parametrize("refinement", [0, 2])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 9])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_margin_is_the_measured_reach_rounded_up_to_the_block(depth, kernel_size, upsampling, refinement):
    """With all weights positive, a change reaches every pixel of the receptive field, in a strip as in an image."""
    architecture = Architecture(
        depth=depth,
        kernel_size=kernel_size,
        filters=1,
        residual=False,
        upsampling=upsampling,
        refinement=refinement,
    )
    network = CareNetwork(architecture).double()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    size = 2 * architecture.margin + 4 * architecture.block
    reach = 0
    with torch.inference_mode():
        flat = torch.zeros(1, 1, 2 * architecture.block, size, dtype=torch.float64)
        undisturbed = network(flat).mean
        for offset in range(architecture.block):
            pixel = size // 2 + offset
            disturbed = flat.clone()
            disturbed[0, 0, architecture.block // 2 + offset, pixel] = 1
            changed = (network(disturbed).mean - undisturbed).abs()[0, 0].amax(0).nonzero()
            reach = max(reach, pixel - int(changed.min()), int(changed.max()) - pixel)
    assert reach <= architecture.margin < reach + architecture.block


def plain(network, image):
    """The CARE network as CSBDeep writes it: upsample, concatenate, convolve; and what refines it, if anything."""
    mode, is_refined = network.architecture.upsampling, network.architecture.refinement > 0
    features, skips = functional.pixel_unshuffle(image, 2) if is_refined else image, []
    for block in network.down:
        for layer in block:
            features = functional.relu(layer(features))
        skips.append(features)
        features = functional.max_pool2d(features, 2)
    for layer in network.middle:
        features = functional.relu(layer(features))
    for block in network.up:
        features = torch.cat([functional.interpolate(features, scale_factor=2, mode=mode), skips.pop()], dim=1)
        for layer in block:
            features = functional.relu(layer(features))
    if is_refined:
        features = functional.pixel_shuffle(functional.relu(network.features(features)), 2)
        features = functional.relu(network.refined(torch.cat([features, image], dim=1)))
    return network.mean(features) + image


@pytest.mark.parametrize("refinement", [0, 4])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_equals_the_plain_formula_to_the_border_and_so_do_its_gradients(
    depth, kernel_size, memory_format, upsampling, refinement
):
    generator = torch.Generator().manual_seed(depth)
    architecture = Architecture(
        depth=depth, kernel_size=kernel_size, filters=4, upsampling=upsampling, refinement=refinement
    )
    network = CareNetwork(architecture, generator)
    network.to(memory_format=memory_format)
    for name, parameter in network.named_parameters():
        if "bias" in name:
            torch.nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)
    image = torch.rand(2, 1, 5 * architecture.block, 3 * architecture.block, generator=generator)
    torch.testing.assert_close(network(image).mean, plain(network, image), atol=1e-5, rtol=0)
    network, image = network.double(), image.double()
    gradients = []
    for restored in (network(image).mean, plain(network, image)):
        network.zero_grad()
        restored.square().sum().backward()
        gradients.append((restored, {name: parameter.grad for name, parameter in network.named_parameters()}))
    torch.testing.assert_close(*gradients)
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients[0][1].values())


@pytest.mark.parametrize("refinement", [0, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_both_heads_give_what_each_gives_by_itself_and_so_do_their_gradients(memory_format, refinement):
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(filters=4, kernel_size=3, predicts_scale=True, refinement=refinement)
    network = CareNetwork(architecture, generator).double().to(memory_format=memory_format)
    torch.nn.init.uniform_(network.scale.bias, -0.1, 0.1, generator=generator)
    image = torch.rand(2, 1, 16, 24, dtype=torch.float64, generator=generator)
    seen = []
    hook = network.get_submodule(architecture.layers()[-1].source).register_forward_hook(
        lambda *parts: seen.append(functional.relu(parts[2]))
    )
    together = network(image)
    hook.remove()
    features = seen[0]
    apart = network.mean(features) + image, functional.softplus(network.scale(features)) + SCALE_FLOOR
    gradients = []
    for mean, scale in (together, apart):
        network.zero_grad()
        ((mean - 0.3).abs() / scale + scale.log()).mean().backward(retain_graph=True)
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    torch.testing.assert_close(tuple(together), apart)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_the_upsampled_kernel_does_on_the_coarse_grid_what_its_weight_does_after_upsampling(size):
    generator = torch.Generator().manual_seed(size)
    image = torch.rand(2, 3, 4, 6, dtype=torch.float64, generator=generator)
    weight = torch.randn(5, 3, size, size, dtype=torch.float64, generator=generator)
    expected = functional.conv2d(functional.interpolate(image, scale_factor=2), weight, padding=size // 2)
    kernel = torch.from_numpy(upsampled_kernel(weight.numpy()))
    taps = (size + 1) // 2
    assert kernel.shape == (20, 3, taps, taps)
    found = functional.pixel_shuffle(functional.conv2d(image, kernel, padding=taps // 2), 2)
    torch.testing.assert_close(found if taps % 2 else found[..., 1:-1, 1:-1], expected)


@pytest.mark.parametrize("size", [3, 5])
def test_both_kernels_of_the_coarse_grid_add_up_the_same_digits(size):
    """That of torch, which trains, and that of other engines."""
    weight = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(size))
    sums, taps = _pair_sums(weight).numpy(), (size + 1) // 2
    kernel = upsampled_kernel(weight.numpy()).reshape(5, 2, 2, 3, taps, taps)
    for row, column in np.ndindex(2, 2):
        np.testing.assert_array_equal(kernel[:, row, column], sums[:, :, 1 - row :: 2, 1 - column :: 2])


@pytest.mark.parametrize(
    ("preset", "device", "capability", "expected"),
    [
        ("care", "cpu", "AVX2", torch.contiguous_format),
        ("care", "cpu", "AVX512", torch.channels_last),
        ("lite", "cpu", "AVX2", torch.channels_last),
        ("care", "cuda", "AVX2", torch.channels_last),
    ],
)
def test_the_layout_suits_network_and_device(preset, device, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert training_layout(PRESETS[preset], torch.device(device)) == expected
