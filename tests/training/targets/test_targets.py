"""What holds for every target, and trainings without clean images."""

import json
import math
from itertools import islice

import numpy as np
import pytest
from fixtures.toy_trainings import assert_equal_runs, finished, make_pairs, trainer
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.interchange.bioimageio.readme import describe_package
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.restore_frame import keeps_levels
from napari_care_losses.training.checkpoint import STATE_HEADER
from napari_care_losses.training.neighbours import Around
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.parameters import TARGET_NAMES, TrainingParameters
from napari_care_losses.training.patches import PatchSource
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.targets.base import PHOTONS
from napari_care_losses.training.targets.own_photons import SHARES
from napari_care_losses.training.targets.registry import TARGETS

NOISY = [name for name in TARGET_NAMES if TARGETS[name].is_noisy]
ALONE = ("self", "blind_spots", "neighbours")
"""Targets that take single images."""


def loss_for(target):
    return "mse" if target == "blind_spots" else "fft"


def noisy_pairs(target, count=5, size=48):
    """Return shots of a few blocks of light, two of each field unless the target takes one, or some around it."""
    rng = np.random.default_rng(0)
    photons = 3 + 30 * rng.random((count, size // 8, size // 8)).repeat(8, 1).repeat(8, 2)
    low, high = rng.poisson(photons), rng.poisson(photons)
    around = [Around((high[i], rng.poisson(photons[i]))) if target == "neighbours" else None for i in range(count)]
    return [Pair(low[i], None if target in ALONE else high[i], f"toy[{i}]", around[i]) for i in range(count)]


def settings_of(target):
    return {"target": target, "neighbours": 2 if target == "neighbours" else 0}


def test_every_name_has_its_target():
    assert tuple(TARGETS) == TARGET_NAMES
    assert set(TrainingParameters.described()["target"].words) == set(TARGET_NAMES)


@pytest.mark.parametrize("target", NOISY)
def test_a_run_without_clean_images_is_resumed_exactly(target, tmp_path):
    settings = {"pairs": noisy_pairs(target), "vary_noise": True, "average_weights": True, **settings_of(target)}
    whole = finished(trainer(loss_for(target), **settings))
    stopped = trainer(loss_for(target), **settings)
    running = stopped.run()
    list(islice(running, 9))
    running.close()
    stopped.save_state(tmp_path / "state")
    resumed = trainer(loss_for(target), **settings)
    resumed.load_state(tmp_path / "state")
    assert 0 < resumed.step < 7
    assert_equal_runs(finished(resumed), whole)
    card = whole.model().card
    assert card.target == card.training["target"] == target
    assert "It learnt without clean images, from " in describe_package("toy", card, parameter_count=1)
    assert not card.training["match_levels"]
    assert keeps_levels(card, "auto")


def test_a_run_is_not_resumed_with_another_target(tmp_path):
    path, pairs = tmp_path / "state", noisy_pairs("shot")
    finished(trainer("mse", pairs=pairs, target="shot")).save_state(path)
    with pytest.raises(ResumeError, match="another target"):
        trainer("mse", pairs=pairs).load_state(path)


def test_a_state_or_card_that_names_no_target_means_clean_images(tmp_path):
    path, whole = tmp_path / "state", finished(trainer())
    whole.save_state(path)
    with safe_open(path, "pt") as file:
        values = json.loads(file.metadata()[STATE_HEADER])
    del values["identity"]["target"]
    save_file(load_file(path), path, {STATE_HEADER: json.dumps(values)})
    trainer().load_state(path)
    card = whole.model().card
    del card.training["target"]
    assert card.target == "clean"


@pytest.mark.parametrize("target", ["clean", "shot"])
def test_second_images_that_are_missing_are_named(target):
    with pytest.raises(InputError, match=f"target '{target}' needs a second image"):
        trainer(pairs=noisy_pairs("self"), target=target)


@pytest.mark.parametrize("target", NOISY)
def test_the_preview_without_a_truth_shows_input_and_restored(target):
    training = trainer(loss_for(target), pairs=noisy_pairs(target), **settings_of(target))
    finished(training)
    preview = training.preview()
    assert preview.truth is None
    assert preview.low.shape == preview.restored.shape
    assert math.isnan(preview.low_psnr)
    assert finished(trainer(pairs=make_pairs())).preview().truth is not None


def test_the_validation_loss_falls_where_noise_is_removed():
    """The noise of the target stays in it, the same in every epoch, so that it still ranks the weights."""
    settings = {"target": "self", "learning_rate": 1e-2, "steps_per_epoch": 30, "amount": 90, "validation_patches": 32}
    training = trainer("fft", pairs=noisy_pairs("self"), batch_size=8, **{"patch_size": 16, **settings})
    losses = [report.validation_loss for report in training.run() if isinstance(report, Epoch)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("target", NOISY)
def test_patches_of_noisy_targets_keep_grey_levels_by_any_recipe(target):
    """A range of its own for the noisy target would flatten it."""
    for matches in (False, True):
        fixed = {"patch_size": 48, "background_filter": False, "match_levels": matches}
        parameters = TrainingParameters(**fixed, **settings_of(target))
        (pair, *_) = noisy_pairs(target)
        source = PatchSource(Share(pair, (slice(None), slice(None)), False), parameters, np.random.default_rng(0))
        rng = np.random.default_rng(1)
        drawn = [source.draw(rng, augmented=False) for _ in range(30)]
        low, high = (np.stack(images) for images in zip(*drawn, strict=True))
        blocks = [np.nanmean(images.reshape(-1, 6, 8, 6, 8), (0, 2, 4)).ravel() for images in (low, high)]
        # of blind spots, there are few pixels
        assert np.polyfit(*blocks, 1)[0] == pytest.approx(1, abs=0.06 if target != "blind_spots" else 0.1)


def test_the_background_of_a_noisy_image_is_found_in_a_blurred_one():
    image = np.random.default_rng(0).poisson(2, (96, 96)).astype(float)
    image[60:76, 60:76] += 30
    # noise as bright as the cell, in the background
    image[10, 10] = 60
    parameters = TrainingParameters(patch_size=32, target="self")
    pair = Pair(image, None, "cell")
    source = PatchSource(Share(pair, (slice(None), slice(None)), False), parameters, np.random.default_rng(0))
    centres = np.stack(divmod(source._corners.astype(int), source._columns)) + 16
    assert (centres > 40).all()


@pytest.mark.parametrize("target", NOISY)
def test_losses_that_do_not_learn_the_mean_are_named_with_what_was_measured(target):
    for name, loss in LOSSES.items():
        said = TARGETS[target].loss_remark(loss())
        assert bool(said) == (name not in ("fft", "mse"))
        assert TARGETS["clean"].loss_remark(loss()) == ""
    said = TARGETS[target].loss_remark(LOSSES["mae"]())
    for share in TARGETS[target].medians:
        assert f"{share:.0%}" in said


@pytest.mark.parametrize("target", NOISY)
def test_the_median_of_a_noisy_target_is_as_it_is_said(target):
    rng = np.random.default_rng(0)
    for photons, expected in zip(PHOTONS, TARGETS[target].medians, strict=True):
        medians, light = [], np.linspace(0.5, 1.5, 21) * photons
        for level in light:
            share = 1 - rng.uniform(*SHARES, 100_001) if target == "self" else 1.0
            medians.append(np.median(rng.poisson(level * share, 100_001) / share))
        assert np.mean(medians) / light.mean() == pytest.approx(expected, abs=0.02)
