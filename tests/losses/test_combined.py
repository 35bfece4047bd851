import numpy as np
import pytest
import torch

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses.frequency import Bandpass, Fourier, FourierBandpass
from napari_care_losses.losses.structural import MsSsimL1, Sobel
from napari_care_losses.models.unet import Prediction


def images(seed=0):
    rng = np.random.default_rng(seed)
    mean, target = (torch.as_tensor(rng.random((2, 1, 40, 40))) for _ in range(2))
    return Prediction(mean, None), target


def test_fft_and_bandpass_have_weights():
    pair = images()
    mixed = FourierBandpass(fft_weight=0.25, bandpass_weight=3, sigma_small=1, sigma_large=3)(*pair)
    expected = 0.25 * Fourier()(*pair) + 3 * Bandpass(sigma_small=1, sigma_large=3)(*pair)
    assert mixed.item() == pytest.approx(expected.item())
    with pytest.raises(ParameterError, match="smaller than sigma_large"):
        FourierBandpass(sigma_small=5, sigma_large=5)


def test_fft_and_bandpass_fix_the_brightness():
    target = images()[1]
    brighter = Prediction(target + 0.5, None)
    assert FourierBandpass()(brighter, target) > 0.01
    assert FourierBandpass().free_above is None


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_ms_ssim_or_l1_alone_is_the_loss_at_the_ends_of_its_weight(alpha):
    prediction, target = images()
    brighter = Prediction(target * 1.2, None)
    loss = MsSsimL1(alpha=alpha)
    assert loss(Prediction(target, None), target).item() == pytest.approx(0, abs=1e-9)
    assert 0 < loss(brighter, target) < loss(prediction, target) < 1


def test_ms_ssim_trains_after_it_validated_first():
    """As a run does that was stopped between the last step of an epoch and its validation."""
    loss, (prediction, target) = MsSsimL1(alpha=0.123), images()
    with torch.inference_mode():
        loss(prediction, target)
    mean = prediction.mean.clone().requires_grad_()
    loss(Prediction(mean, None), target).backward()
    assert mean.grad.abs().max() > 0


def test_sobel_weights_the_edges():
    target = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    ramp = Prediction(0.1 * torch.arange(16, dtype=torch.float64).expand(1, 1, 16, 16), None)
    slope, error = 0.1 * 15 / 16, 0.1 * 7.5  # half a slope at either edge, which is repeated
    for weight in (0.0, 0.3, 0.9):
        expected = weight * slope + (1 - weight) * error
        assert Sobel(edge_weight=weight)(ramp, target).item() == pytest.approx(expected)
