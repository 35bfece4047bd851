"""A camera in front of simulated cells."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.simulation.camera import SimulatedCamera


def test_photons_are_in_proportion_to_the_exposure():
    camera = SimulatedCamera("actin", (96, 80), seed=4)
    offset = camera.microscope.offset
    dim, bright = (np.mean([camera.record(ms).mean() for _ in range(5)]) - offset for ms in (2.0, 40.0))
    assert bright / dim == pytest.approx(20, rel=0.03)
    assert camera.shape == camera.record(1.0).shape == (96, 80)


def test_each_frame_has_noise_of_its_own_over_the_same_cells():
    camera = SimulatedCamera("actin", (64, 64), seed=4)
    first, second = (camera.record(20.0).astype(float) for _ in range(2))
    assert (first != second).mean() > 0.5
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9


def test_the_seed_decides_everything():
    first, second = (SimulatedCamera("nuclei", (32, 32), seed=1) for _ in range(2))
    for exposure in (1.0, 5.0):
        np.testing.assert_array_equal(first.record(exposure), second.record(exposure))


def test_what_cannot_be_recorded_is_said():
    camera = SimulatedCamera("actin", (32, 32), seed=0)
    with pytest.raises(ParameterError, match="exposure_ms"):
        camera.record(0.0)
    with pytest.raises(InputError, match="no structure 'hair'"):
        SimulatedCamera("hair", (32, 32), seed=0)
