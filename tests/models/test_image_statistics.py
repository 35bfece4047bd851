"""The statistics of a noisy frame, and whether a model was trained on frames like it."""

import copy
import dataclasses
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_care_losses.errors import InputError
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.image_statistics import SMALLEST_SIDE, ImageStatistics, measure
from napari_care_losses.models.match import (
    MOST_REASONS,
    SAMPLED_IMAGES,
    noise_seen,
    reasons,
    summarize,
    summarize_images,
)
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

STRUCTURES = ("actin", "mitochondria", "dendra")
FIELDS = 24
PROBES = 4


def mismatches(stored, frames):
    return reasons(stored, [measure(frame) for frame in frames])


def values(image):
    return np.array(dataclasses.astuple(measure(image)))


@pytest.fixture(scope="module")
def fields():
    """Return low and high exposures by structure, (FIELDS + PROBES, 192, 192)."""
    return {name: simulate_pairs(name, FIELDS + PROBES, (192, 192), seed=40) for name in STRUCTURES}


@pytest.fixture(scope="module")
def stored(fields):
    return {name: summarize_images(low[:FIELDS]) for name, (low, _) in fields.items()}


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 100), offset=st.floats(-1e4, 1e4), structure=st.sampled_from(STRUCTURES))
def test_gain_and_offset_change_nothing(gain, offset, structure, fields):
    image = fields[structure][0][0].astype(np.float64)
    np.testing.assert_allclose(values(gain * image + offset), values(image), rtol=1e-3)


def test_types_of_pixels_change_nothing(fields):
    image = fields["actin"][0][0]
    assert image.max() < 2**15
    for dtype in (np.int16, np.int32, np.float32, np.float64, ">u2"):
        np.testing.assert_allclose(values(image.astype(dtype)), values(image), rtol=1e-5)


@pytest.mark.parametrize("noise", [2.0, 8.0])
def test_the_noise_is_found_and_the_structures_are_measured_without_it(noise):
    rng = np.random.default_rng(0)
    clean = 1000 * gaussian_filter(rng.random((512, 512)), 3)
    clean -= clean.min()
    noisy = clean + rng.normal(0, noise, clean.shape)
    low, high = np.percentile(noisy, [2, 99.8])
    found = measure(noisy)
    assert found.noise * (high - low) == pytest.approx(noise, rel=0.08)
    # with less, the texture would be noise that neighbours share: it is random numbers, blurred
    reference = measure(clean + rng.normal(0, 1, clean.shape))
    for name in ("medium", "coarse", "fine_lines", "coarse_lines"):
        assert getattr(found, name) == pytest.approx(getattr(reference, name), rel=0.06), name


def test_pure_noise_has_hardly_any_detail():
    image = np.random.default_rng(0).normal(0, 1, (512, 512)) + np.linspace(0, 8, 512)
    found = measure(image)
    assert max(found.fine, found.medium, found.coarse) < 0.05 < found.noise


def test_lines_differ_from_spots():
    rng = np.random.default_rng(0)
    grains = rng.random((256, 256)) < 0.01
    lines = gaussian_filter(grains.astype(float), (30, 2))
    spots = gaussian_filter(grains.astype(float), 3)
    for image, low, high in ((lines, 0.9, 1.2), (spots, 0.2, 0.6)):
        found = measure(image / image.max() + rng.normal(0, 0.02, image.shape))
        assert low < found.coarse_lines < high
        assert low < found.fine_lines < high


def test_a_large_frame_is_measured_in_windows_like_the_whole():
    rng = np.random.default_rng(0)
    image = (gaussian_filter(rng.random((1400, 1600)), 3) * 1000).astype(np.float32)
    image += rng.normal(0, 5, image.shape).astype(np.float32)
    np.testing.assert_allclose(values(image), values(image[:1024, :1024]), rtol=0.15)


@pytest.mark.parametrize("shape", [(32, 32), (33, 4000), (4000, 40), (300, 5000), (1025, 1024), (2000, 257)])
def test_any_shape_is_measured(shape):
    found = values(np.random.default_rng(0).gamma(2, 100, shape))
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@pytest.mark.parametrize(
    "image",
    [
        np.indices((64, 64)).sum(axis=0) % 2,
        np.where(np.random.default_rng(0).random((64, 64)) < 0.003, 1.0, 0.0),
        np.pad(np.full((60, 60), 7), 2),
        np.random.default_rng(0).random((64, 64)) < 0.5,
        np.arange(64 * 64.0).reshape(64, 64),
    ],
)
def test_unusual_images_give_finite_statistics(image):
    assert np.isfinite(values(image)).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64)),
        np.full((64, 64), np.nan),
        np.where(np.eye(64) > 0, np.inf, np.random.default_rng(0).random((64, 64))),
        np.ones((SMALLEST_SIDE - 1, 64)),
        np.ones((3, 64, 64)),
    ],
)
def test_frames_that_cannot_be_measured_are_refused(image):
    with pytest.raises(InputError):
        measure(image)


def test_measuring_is_quick():
    image = np.random.default_rng(0).integers(0, 4000, (2048, 2048)).astype(np.uint16)
    measure(image[:64, :64])
    for size, limit in ((512, 0.15), (2048, 0.9)):
        begun = time.process_time()
        measure(image[:size, :size])
        # three times what it may take on a free machine
        assert time.process_time() - begun < limit


def test_a_summary_is_plain_and_survives_json(stored):
    summary = stored["actin"]
    assert summary["images"] == FIELDS
    assert set(summary["centre"]) == set(summary["spread"]) == {f.name for f in dataclasses.fields(ImageStatistics)}
    assert json.loads(json.dumps(summary)) == summary
    assert len(json.dumps(summary)) < 2000


def test_frames_like_the_training_images_match(fields, stored):
    """One false alarm is let pass: the dendra fields are too different for 24 of them to stand for all."""
    probes = [(name, frame) for name in STRUCTURES for frame in fields[name][0][FIELDS:]]
    assert sum(bool(mismatches(stored[name], [frame])) for name, frame in probes) <= 1
    for name in STRUCTURES:
        assert mismatches(stored[name], list(fields[name][0][FIELDS:])) == []


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_long_exposure_is_reported_as_less_noisy(structure, fields, stored):
    for frame in fields[structure][1][FIELDS:]:
        message = mismatches(stored[structure], [frame])
        assert "less noisy than those the model was trained on (noise " in message[0]
        assert len(message) <= MOST_REASONS


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_shorter_exposure_is_reported_as_noisier(structure, fields):
    low, high = fields[structure]
    message = mismatches(summarize_images(high[:FIELDS]), [low[-1]])
    assert "much noisier" in message[0]


@pytest.mark.parametrize(
    ("structure", "other", "word"),
    [
        ("mitochondria", "actin", "detail"),
        ("mitochondria", "dendra", "detail"),
        ("actin", "mitochondria", "like lines"),
        ("dendra", "mitochondria", "detail"),
    ],
)
def test_other_structures_are_noticed_with_their_reason(structure, other, word, fields, stored):
    for frame in fields[other][0][FIELDS:]:
        message = mismatches(stored[structure], [frame])
        assert any(word in reason for reason in message), message


def test_a_reason_names_the_statistic_and_what_was_trained_on(stored):
    logarithmic = ("noise", "noise_in_light", "fine", "medium", "coarse")
    usual = {name: 10**v if name in logarithmic else v for name, v in stored["actin"]["centre"].items()}
    centre = ImageStatistics(**usual)
    assert reasons(stored["actin"], [centre]) == []
    message = reasons(stored["actin"], [dataclasses.replace(centre, noise=0.5, noise_in_light=10**0.5)])
    assert message[0].startswith("The image is much noisier than those the model was trained on (noise ")
    assert any(part in message[0] for part in ("noise 50 % of the range", "noise 316 % of the light"))
    assert "; trained on " in message[0]


def test_an_unusual_combination_of_statistics_is_a_reason_too():
    """Noise relative to the range and to the light always rise together here."""
    rng = np.random.default_rng(0)
    base = dataclasses.asdict(measure(rng.gamma(2, 100, (64, 64))))
    seen = []
    for step in np.linspace(-1, 1, 50):
        noise = {"noise": 0.1 * 4**step, "noise_in_light": 0.3 * 4 ** (step + 0.02 * rng.normal())}
        seen.append(ImageStatistics(**{**base, **noise}))
    odd = ImageStatistics(**{**base, "noise": 0.1 * 4**0.9, "noise_in_light": 0.3 * 4**-0.9})
    message = reasons(summarize(seen), [odd])
    assert len(message) == 1
    assert "that are otherwise like it (noise " in message[0]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_with_few_training_images_similar_images_match_but_long_exposures_do_not(count, fields):
    low, high = fields["mitochondria"]
    summary = summarize_images(low[:count])
    assert summary["images"] == count
    assert not any(mismatches(summary, [frame]) for frame in low[FIELDS:])
    if count > 2:
        assert all(mismatches(summary, [frame]) for frame in high[FIELDS:])


def test_at_most_fifty_images_are_measured(monkeypatch, fields):
    measured = []
    monkeypatch.setattr(
        "napari_care_losses.models.match.measure", lambda image: measured.append(image) or measure(image)
    )
    images = list(fields["actin"][0][:, :64, :64]) * 3
    assert summarize_images(images)["images"] == SAMPLED_IMAGES == len(measured)
    assert measured[0] is images[0]
    assert measured[-1] is images[-1]


def test_images_too_small_to_be_measured_are_left_out(fields):
    image = fields["actin"][0][0]
    assert summarize_images([image, image[:16, :16]])["images"] == 1
    assert summarize_images([image[:16, :16]]) == summarize_images([]) == summarize([]) == {}


def test_nothing_stored_or_nothing_usable_matches_every_frame(fields, stored):
    frame = fields["actin"][1][0]
    assert mismatches(stored["mitochondria"], [frame])
    assert mismatches(stored["mitochondria"], []) == []
    for change in (
        lambda s: s.clear(),
        lambda s: s.update(version=2),
        lambda s: s.update(images="many"),
        lambda s: s["centre"].pop("noise"),
        lambda s: s["centre"].update(noise=float("nan")),
        lambda s: s["spread"].update(noise=None),
        lambda s: s["spread"].update(noise=float("inf")),
        lambda s: s.update(correlation=[[1]]),
        lambda s: s.update(correlation=(-np.eye(8) * 1e6).tolist()),
        lambda s: s.update(spread=3),
    ):
        damaged = copy.deepcopy(stored["mitochondria"])
        change(damaged)
        assert mismatches(damaged, [frame]) == []


def test_the_noise_of_the_training_images_is_returned(stored):
    low, high = (float(word) for word in noise_seen(stored["actin"]).removesuffix(" %").split(" to "))
    assert 1 < low < high < 50
    assert noise_seen({}) == noise_seen({"centre": 3, "spread": None}) == ""
    assert noise_seen({"centre": {"noise": 1e200}, "spread": {"noise": -1e308}}).endswith("%")


def test_real_images_match_similar_images_only(shared_data):
    low, high = (
        {name: read_tiff(shared_data / "w2s" / f"{name}_{exposure}.tif") for name in ("actin", "mitochondria")}
        for exposure in ("low", "high")
    )
    for name, other in (("actin", "mitochondria"), ("mitochondria", "actin")):
        summary = summarize_images([low[name][index] for index in range(60)])
        assert not any(mismatches(summary, [low[name][index]]) for index in (60, 61, 62))
        assert all(mismatches(summary, [stack[62]]) for stack in (low[other], high[name], high[other]))
