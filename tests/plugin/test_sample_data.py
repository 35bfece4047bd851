from __future__ import annotations

import numpy as np
import pytest

from napari_care_losses.plugin import sample_data


@pytest.mark.parametrize(
    ("sample", "name", "exposures", "shape", "scale", "units"),
    [
        (sample_data.actin_sample, "actin", (1, 100), (3, 512, 512), (1, 0.108, 0.108), ("pixel", "um", "um")),
        (sample_data.mitochondria_sample, "mitochondria", (1, 100), (3, 512, 512), (1, 0.108, 0.108), None),
        (sample_data.dendra_sample, "dendra", (10, 400), (3, 384, 384), (0.4, 0.108, 0.108), ("s", "um", "um")),
        (sample_data.z_stack_sample, "mitochondria", (1, 100), (3, 384, 384), (0.3, 0.108, 0.108), ("um", "um", "um")),
    ],
)
def test_a_sample_is_a_hidden_truth_below_its_low_exposure(short_samples, sample, name, exposures, shape, scale, units):
    (high, high_options, high_kind), (low, low_options, low_kind) = sample()
    assert high_kind == low_kind == "image"
    assert low_options["name"] == f"{name} {exposures[0]} ms"
    assert high_options["name"] == f"{name} {exposures[1]} ms"
    assert (high_options["visible"], low_options["visible"]) == (False, True)
    for data, options in ((high, high_options), (low, low_options)):
        assert data.shape == shape
        assert data.dtype == np.uint16
        assert options["scale"] == scale
        assert options["units"] == (units or ("pixel", "um", "um"))
        darkest, brightest = options["contrast_limits"]
        assert data.min() <= darkest < brightest <= data.max()
    assert high.mean() > 3 * low.mean()
    for index in (0, len(low) - 1):
        assert np.corrcoef(low[index].ravel(), high[index].ravel())[0, 1] > 0.3


def test_samples_keep_off_the_seeds_of_training():
    assert max(sample_data._SEEDS.values()) < 1000
    assert len(set(sample_data._SEEDS.values())) == 4
