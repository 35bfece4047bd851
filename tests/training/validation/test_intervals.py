"""Intervals of trained models: of which pixels, in which grey levels, and when there are none."""

import dataclasses

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import finished, make_pairs, trainer

from napari_care_losses.errors import ComputeError
from napari_care_losses.evaluation.intervals import LEVELS
from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.neighbours import among
from napari_care_losses.images.normalization import FixedLevels, frame_range
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import Model, ModelCard, load_model
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training import trainer as trainers
from napari_care_losses.training.neighbours import Around
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.validation.intervals import with_intervals

WHOLE = slice(None), slice(None)


def a_model(*, loss="laplace", neighbours=0, **training):
    architecture = Architecture(kernel_size=3, filters=3, depth=1, predicts_scale=loss == "laplace")
    architecture = dataclasses.replace(architecture, neighbours=neighbours)
    network = CareNetwork(architecture, torch.Generator().manual_seed(0))
    card = ModelCard(structure="other", loss=loss, architecture=architecture, training=training)
    return Model(card, dict(network.state_dict()))


def shares(count=4, **pairs):
    return [Share(pair, WHOLE, True) for pair in make_pairs(count, size=32, **pairs)]


@pytest.mark.parametrize("matches", [True, False])
@pytest.mark.parametrize("loss", ["laplace", "mae"])
def test_true_grey_levels_are_held_in_the_input_s_units(loss, matches):
    model, images = a_model(loss=loss, match_levels=matches), shares()
    found = with_intervals(model, images, device="cpu").card.intervals
    assert (found.images, found.uses_scale, found.levels) == (4, loss == "laplace", LEVELS)
    held = {level: [] for level in LEVELS}
    for share in images:
        low, high = share.pair.low, share.pair.second
        levels, normalization = frame_range(low, model.card.normalization), model.card.normalization
        with torch.inference_mode():
            padded = torch.from_numpy(levels.apply(low))[None, None]
            prediction = model.network()(padded)
        mean = prediction.mean[0, 0].numpy()
        if matches:
            gain, offset = fit_line(high, low)
            truth = (gain * high + offset - levels.low) / levels.width
        else:
            truth = frame_range(high, normalization).apply(high)
        scale = None if prediction.scale is None else prediction.scale[0, 0].numpy()
        for level in LEVELS:
            held[level].append(np.mean(np.abs(truth - mean) <= found.half_width(level, mean, scale)))
    for level, each in held.items():
        assert np.mean(each) == pytest.approx(level, abs=0.02)


def test_the_pixels_are_those_that_a_user_restores():
    # the low band of bandpass is tied to the input
    plain, tied = (with_intervals(a_model(loss=loss), shares(), device="cpu") for loss in ("mae", "bandpass"))
    pair = shares()[0].pair
    assert not np.array_equal(*(restore(pair.low, each, device="cpu") for each in (plain, tied)))
    assert plain.card.intervals.factors != tied.card.intervals.factors


def test_only_what_validates_is_looked_at():
    good, bad = make_pairs(4, size=32), make_pairs(4, size=32, seed=1)
    bad = [dataclasses.replace(pair, high=pair.low + 1000 * (pair.low > pair.low.mean())) for pair in bad]
    model = a_model()
    expected = with_intervals(model, [Share(pair, WHOLE, True) for pair in good], device="cpu")
    mixed = [Share(pair, WHOLE, True) for pair in good] + [Share(pair, WHOLE, False) for pair in bad]
    assert with_intervals(model, mixed, device="cpu").card == expected.card


def test_of_a_single_image_only_the_part_that_validates_is_looked_at():
    model = a_model()
    card = dataclasses.replace(model.card, normalization=FixedLevels(low=50, high=150))
    model = Model(card, model.weights)
    (pair,), upper, lower = make_pairs(1, size=32), (slice(16), slice(None)), (slice(16, None), slice(None))
    spoilt = dataclasses.replace(pair, high=np.vstack([1000 * pair.second[:16], pair.second[16:]]))
    sound = with_intervals(model, [Share(pair, lower, True)], device="cpu")
    assert with_intervals(model, [Share(spoilt, lower, True)], device="cpu").card == sound.card
    assert with_intervals(model, [Share(spoilt, upper, True)], device="cpu").card != sound.card


def test_frames_of_a_movie_are_restored_among_their_neighbours():
    model, beside = a_model(neighbours=2, match_levels=True), make_pairs(6, size=32)
    around = Around((beside[4].low, beside[5].low), (beside[4].second, beside[5].second))
    share = Share(dataclasses.replace(beside[0], around=around), WHOLE, True)
    found = with_intervals(model, [share], device="cpu").card.intervals
    pair = share.pair
    levels = frame_range(pair.low, model.card.normalization)
    channels = levels.apply(among(around.low, pair.low))
    with torch.inference_mode():
        prediction = model.network()(torch.from_numpy(channels)[None])
    gain, offset = fit_line(pair.second, pair.low)
    truth = levels.apply(gain * pair.second + offset)
    mean, scale = prediction.mean[0, 0].numpy(), prediction.scale[0, 0].numpy()
    held = np.mean(np.abs(truth - mean) <= found.half_width(0.9, mean, scale))
    assert held == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("target", ["shot", "self"])
def test_a_model_that_saw_no_clean_image_has_none(target):
    earlier = with_intervals(a_model(), shares(), device="cpu")
    card = dataclasses.replace(earlier.card, training={"target": target})
    assert with_intervals(Model(card, earlier.weights), shares(), device="cpu").card.intervals is None


@pytest.mark.parametrize("loss", ["laplace", "mae"])
def test_a_training_leaves_them_in_the_model_s_card(tmp_path, loss):
    path = tmp_path / "m.safetensors"
    for _ in train_to_file(trainer(loss, make_pairs(10)), path):
        pass
    model = load_model(path)
    assert model.card.intervals.images == 2, "one in five validates"
    assert not model.card.intervals.are_simulated
    # they change nothing of the model
    plain = finished(trainer(loss, make_pairs(10))).model()
    assert plain.card.intervals is None
    assert plain.digest() == model.digest()


def test_a_stopped_training_has_them_too(tmp_path):
    path = tmp_path / "m.safetensors"
    running = train_to_file(trainer("laplace"), path)
    for report in running:
        if type(report).__name__ == "Epoch":
            break
    running.close()
    assert load_model(path).card.intervals.images == 1


def test_where_the_device_fails_the_model_is_kept_without(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise ComputeError("out of memory")

    monkeypatch.setattr(trainers, "with_intervals", fail)
    path = tmp_path / "m.safetensors"
    for _ in train_to_file(trainer("laplace"), path):
        pass
    assert load_model(path).card.intervals is None


def test_a_pair_without_signal_is_no_obstacle():
    flat = Pair(np.random.default_rng(0).normal(100, 5, (32, 32)), np.random.default_rng(1).random((32, 32)), "empty")
    found = with_intervals(a_model(match_levels=True), [*shares(), Share(flat, WHOLE, True)], device="cpu")
    assert found.card.intervals.images == 5
