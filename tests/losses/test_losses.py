"""The contract every loss keeps, and each against a plain numpy/scipy computation of its formula."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter, sobel

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses import frequency, pyramid
from napari_care_losses.losses.frequency import Bandpass, Fourier
from napari_care_losses.losses.pixelwise import Laplace
from napari_care_losses.losses.pyramid import LaplacianPyramid
from napari_care_losses.losses.registry import LOSSES, loss_class
from napari_care_losses.models.unet import Prediction


def laplace(mean, scale, target):
    return np.mean(np.abs(target - mean) / scale + np.log(scale))


def fft(mean, scale, target):
    transforms = np.fft.fft2(mean, norm="ortho") - np.fft.fft2(target, norm="ortho")
    return np.mean(np.abs(transforms))


def bandpass(mean, scale, target):
    def band(image):
        return gaussian_filter(image, (0, 0, 0.5, 0.5)) - gaussian_filter(image, (0, 0, 5, 5))

    return np.mean(np.abs(band(target) - band(mean)))


def windowed(images, sigma, radius, mode):
    """Return the images (N, 1, Y, X) averaged with Gaussian weights over a square window."""
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    return correlate1d(correlate1d(images, weights, axis=2, mode=mode), weights, axis=3, mode=mode)


def similarity(mean, target, sigma, radius, mode):
    """Return the luminance, and contrast times structure, of every pixel."""
    c1, c2 = 0.01**2, 0.03**2

    def average(images):
        return windowed(images, sigma, radius, mode)

    one, other = average(mean), average(target)
    covariance = average(mean * target) - one * other
    variances = average(mean**2) - one**2 + average(target**2) - other**2
    return (2 * one * other + c1) / (one**2 + other**2 + c1), (2 * covariance + c2) / (variances + c2)


def ssim(mean, scale, target):
    luminance, structure = similarity(mean, target, 1.5, 5, "mirror")
    return 1 - np.mean(luminance * structure)


def ms_ssim_l1(mean, scale, target):
    product = similarity(mean, target, 8, 16, "constant")[0]
    for sigma in (0.5, 1, 2, 4, 8):
        product = product * similarity(mean, target, sigma, 16, "constant")[1]
    return np.mean(0.84 * (1 - product) + 0.16 * windowed(np.abs(target - mean), 8, 16, "constant"))


def sobel_edges(mean, scale, target):
    difference = target - mean
    edges = sum(
        np.abs([[sobel(image, axis, mode="nearest") / 8 for image in images] for images in difference])
        for axis in (0, 1)
    )
    return np.mean(0.5 * edges + 0.5 * np.abs(difference))


def laplacian_pyramid(mean, scale, target):
    """Burt and Adelson's REDUCE and EXPAND, their sums written out pixel by pixel."""
    weights = np.array([1, 4, 6, 4, 1]) / 16

    def mirrored(at, size):
        while not 0 <= at < size:
            at = -at if at < 0 else 2 * (size - 1) - at
        return at

    def reduced(rows):
        size = len(rows)
        return np.array(
            [
                sum(weights[m + 2] * rows[mirrored(2 * i + m, size)] for m in range(-2, 3))
                for i in range((size + 1) // 2)
            ]
        )

    def expanded(rows, size):
        return np.array(
            [
                sum(2 * weights[m + 2] * rows[mirrored(i - m, size) // 2] for m in range(-2, 3) if (i - m) % 2 == 0)
                for i in range(size)
            ]
        )

    total = 0
    for image in (target - mean)[:, 0]:
        level = image
        for _ in range(3):
            coarser = reduced(reduced(level).T).T
            total += np.mean(np.abs(level - expanded(expanded(coarser, len(level)).T, level.shape[1]).T))
            level = coarser
        total += np.mean(np.abs(level))
    return total / len(mean)


def spectra(mean, target):
    """Return the whole transforms of all images."""
    return np.fft.fft2(mean, norm="ortho"), np.fft.fft2(target, norm="ortho")


def relative(sizes):
    return sizes / sizes.max(axis=(2, 3), keepdims=True)


def focal_weights(mean, target):
    restored, true = spectra(mean, target)
    return relative(np.abs(restored - true))


def focal_frequency(mean, scale, target, weights=None):
    restored, true = spectra(mean, target)
    weights = focal_weights(mean, target) if weights is None else weights
    return np.mean(weights * np.abs(restored - true) ** 2)


def log_focal_weights(mean, target):
    restored, true = (np.log(1 + np.abs(one)) * np.exp(1j * np.angle(one)) for one in spectra(mean, target))
    return relative(np.abs(restored - true))


def log_focal_frequency(mean, scale, target, weights=None):
    restored, true = spectra(mean, target)
    weights = log_focal_weights(mean, target) if weights is None else weights
    return np.mean(weights * np.log(1 + np.abs(restored - true)))


WEIGHTED = {"focal-frequency": focal_weights, "log-focal-frequency": log_focal_weights}
"""Losses with weights that take part in the loss, but not in its gradient."""

REFERENCES = {
    "laplace": laplace,
    "fft": fft,
    "bandpass": bandpass,
    "fft+bandpass": lambda *images: fft(*images) + bandpass(*images),
    "ms-ssim+l1": ms_ssim_l1,
    "ssim": ssim,
    "sobel": sobel_edges,
    # as a plain loss, in validation, the adversarial one is its content: the discriminator has no say
    "gan": fft,
    "laplacian-pyramid": laplacian_pyramid,
    "focal-frequency": focal_frequency,
    "log-focal-frequency": log_focal_frequency,
    "charbonnier": lambda mean, scale, target: np.mean(np.sqrt((target - mean) ** 2 + 0.001**2)),
    "mae": lambda mean, scale, target: np.mean(np.abs(target - mean)),
    "mse": lambda mean, scale, target: np.mean((target - mean) ** 2),
}


def example(loss, shape=(3, 1, 24, 21), seed=0):
    rng = np.random.default_rng(seed)
    mean, target = rng.normal(size=shape), rng.normal(size=shape)
    return mean, rng.uniform(0.2, 2.0, shape) if loss.predicts_scale else None, target


def value(loss, mean, scale, target):
    prediction = Prediction(torch.as_tensor(mean), None if scale is None else torch.as_tensor(scale))
    return loss(prediction, torch.as_tensor(target))


def test_every_loss_has_a_reference():
    assert REFERENCES.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(3, 1, 24, 21), (2, 1, 64, 64), (1, 1, 16, 33)])
def test_equals_its_formula(name, shape):
    loss = LOSSES[name]()
    images = example(loss, shape)
    # kornia makes the windows of MS-SSIM in single precision
    tolerance = 1e-8 if name == "ms-ssim+l1" else 1e-12
    assert value(loss, *images).item() == pytest.approx(REFERENCES[name](*images), rel=tolerance)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WEIGHTED])
def test_passes_gradcheck(name):
    loss = LOSSES[name]()
    mean, scale, target = example(loss, (2, 1, 8, 7))
    inputs = [torch.tensor(mean, requires_grad=True)]
    if scale is not None:
        inputs.append(torch.tensor(scale, requires_grad=True))

    def function(mean, scale=None):
        return loss(Prediction(mean, scale), torch.as_tensor(target))

    assert torch.autograd.gradcheck(function, inputs)


def test_the_gradients_that_are_written_out_are_those_of_the_formulas_steps():
    mean, _, target = (
        None if image is None else torch.as_tensor(image) for image in example(Fourier(), (2, 1, 16, 15))
    )

    def modulus(restored):
        return torch.fft.fft2(restored - target, norm="ortho").abs().mean()

    def band(restored):
        small, large = (
            rows @ (restored - target) @ columns.mT
            for rows, columns in (
                [frequency._blur_matrix(size, sigma, mean.dtype, mean.device) for size in mean.shape[-2:]]
                for sigma in (0.5, 5.0)
            )
        )
        return (small - large).abs().mean()

    both = LOSSES["fft+bandpass"](fft_weight=2, bandpass_weight=3)
    formulas = {Fourier(): modulus, Bandpass(): band, both: lambda restored: 2 * modulus(restored) + 3 * band(restored)}
    for loss, formula in formulas.items():
        ours, plain = mean.clone().requires_grad_(), mean.clone().requires_grad_()
        (5 * loss(Prediction(ours, None), target)).backward()
        (5 * formula(plain)).backward()
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_weights_of_frequencies_have_no_gradient(name):
    """The gradient is that of the formula with its weights held: the difference quotient of the reference."""
    mean, _, target = example(LOSSES[name](), (2, 1, 8, 7))
    tensor = torch.tensor(mean, requires_grad=True)
    LOSSES[name]()(Prediction(tensor, None), torch.as_tensor(target)).backward()
    weights = WEIGHTED[name](mean, target)
    expected, step = np.empty_like(mean), 1e-6
    for at in np.ndindex(mean.shape):
        moved = np.zeros_like(mean)
        moved[at] = step
        above, below = (REFERENCES[name](mean + sign * moved, None, target, weights) for sign in (1, -1))
        expected[at] = (above - below) / (2 * step)
    np.testing.assert_allclose(tensor.grad, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_has_finite_gradients_at_a_perfect_prediction(name):
    loss = LOSSES[name]()
    mean, scale, _ = example(loss)
    tensor = torch.tensor(mean, requires_grad=True)
    result = loss(Prediction(tensor, None if scale is None else torch.as_tensor(scale)), torch.as_tensor(mean))
    result.backward()
    assert tensor.grad.isfinite().all()
    if not loss.predicts_scale:
        # kornia keeps a little off a division by zero in SSIM
        at_perfection = 0.001 if name == "charbonnier" else 0
        assert result.item() == pytest.approx(at_perfection, rel=1e-12, abs=1e-9 if "ssim" in name else 0)


@pytest.mark.parametrize("name", LOSSES)
def test_is_the_mean_over_the_batch(name):
    loss = LOSSES[name]()
    mean, scale, target = example(loss)
    single = [
        value(loss, mean[i : i + 1], None if scale is None else scale[i : i + 1], target[i : i + 1]).item()
        for i in range(len(mean))
    ]
    assert value(loss, mean, scale, target).item() == pytest.approx(np.mean(single), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in {"ms-ssim+l1", *WEIGHTED}])
def test_the_loss_of_noise_does_not_depend_on_the_patch_size(name):
    """MS-SSIM is exempt: kornia pads its windows of 33 px with zeros. So are losses whose weights are relative to the
    largest of all frequencies: of more frequencies, the largest is larger."""
    loss = LOSSES[name]()
    small, large = (value(loss, *example(loss, (64, 1, size, size))).item() for size in (32, 64))
    # The blur reaches 20 px: near the edge of a patch the band differs a little.
    assert large == pytest.approx(small, rel=0.02)


def test_laplace_prefers_the_scale_that_is_the_mean_absolute_error():
    rng = np.random.default_rng(0)
    mean, target = np.zeros((4, 1, 32, 32)), rng.laplace(scale=0.3, size=(4, 1, 32, 32))
    best = np.abs(target).mean()
    at = {factor: value(Laplace(), mean, np.full_like(mean, best * factor), target).item() for factor in (0.9, 1, 1.1)}
    assert at[1] < min(at[0.9], at[1.1])


def test_laplace_needs_the_scale():
    with pytest.raises(ParameterError, match="predicts the scale"):
        value(Laplace(), *example(Fourier()))


def test_bandpass_leaves_a_constant_and_slow_brightness_free():
    mean, scale, target = example(Bandpass())
    before = value(Bandpass(), mean, scale, target).item()
    assert value(Bandpass(), mean + 3.0, scale, target).item() == pytest.approx(before, rel=1e-9)
    assert Bandpass(sigma_large=7).free_above == 7
    assert all(loss().free_above is None for name, loss in LOSSES.items() if name != "bandpass")


def test_bandpass_sigmas_are_adjustable():
    mean, _, target = example(Bandpass(), (2, 1, 40, 40))
    expected = np.mean(
        np.abs(gaussian_filter(target - mean, (0, 0, 1, 1)) - gaussian_filter(target - mean, (0, 0, 3, 3)))
    )
    assert value(Bandpass(sigma_small=1, sigma_large=3), mean, None, target).item() == pytest.approx(expected)
    with pytest.raises(ParameterError, match="smaller than sigma_large"):
        Bandpass(sigma_small=5, sigma_large=5)


def test_an_unknown_loss_is_refused_by_naming_the_known():
    assert loss_class("fft") is Fourier
    with pytest.raises(ParameterError, match=r"laplace, fft, bandpass, .*, mae, mse, charbonnier"):
        loss_class("l2")


@pytest.mark.parametrize(
    ("loss", "cached"), [(Bandpass(), frequency._blur_matrix), (LaplacianPyramid(), pyramid._resampling)]
)
def test_trains_after_it_validated_first(loss, cached):
    """As a run does that was stopped between the last step of an epoch and its validation."""
    cached.cache_clear()
    mean, _, target = example(loss)
    with torch.inference_mode():
        value(loss, mean, None, target)
    tensor = torch.tensor(mean, requires_grad=True)
    value(loss, tensor, None, target).backward()
    assert tensor.grad.abs().max() > 0
