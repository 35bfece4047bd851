"""The contract every loss keeps, and each against a plain numpy/scipy computation of its formula."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter, sobel

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses import frequency
from napari_care_losses.losses.frequency import Bandpass, Fourier
from napari_care_losses.losses.pixelwise import Laplace
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


@pytest.mark.parametrize("name", LOSSES)
def test_passes_gradcheck(name):
    loss = LOSSES[name]()
    mean, scale, target = example(loss, (2, 1, 8, 7))
    inputs = [torch.tensor(mean, requires_grad=True)]
    if scale is not None:
        inputs.append(torch.tensor(scale, requires_grad=True))

    def function(mean, scale=None):
        return loss(Prediction(mean, scale), torch.as_tensor(target))

    assert torch.autograd.gradcheck(function, inputs)


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
        assert result.item() == pytest.approx(0, abs=1e-9 if "ssim" in name else 0)


@pytest.mark.parametrize("name", LOSSES)
def test_is_the_mean_over_the_batch(name):
    loss = LOSSES[name]()
    mean, scale, target = example(loss)
    single = [
        value(loss, mean[i : i + 1], None if scale is None else scale[i : i + 1], target[i : i + 1]).item()
        for i in range(len(mean))
    ]
    assert value(loss, mean, scale, target).item() == pytest.approx(np.mean(single), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "ms-ssim+l1"])
def test_the_loss_of_noise_does_not_depend_on_the_patch_size(name):
    """MS-SSIM is exempt: kornia pads its windows of 33 px with zeros."""
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
    with pytest.raises(ParameterError, match=r"laplace, fft, bandpass, .*, mae, mse"):
        loss_class("l2")


def test_bandpass_trains_after_it_validated_first():
    """As a run does that was stopped between the last step of an epoch and its validation."""
    frequency._blur_matrix.cache_clear()
    mean, _, target = example(Bandpass())
    with torch.inference_mode():
        value(Bandpass(), mean, None, target)
    tensor = torch.tensor(mean, requires_grad=True)
    value(Bandpass(), tensor, None, target).backward()
    assert tensor.grad.abs().max() > 0
