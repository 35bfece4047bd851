"""A region of a validation image, restored while a training runs."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import assert_equal_runs, finished, make_pairs, trainer
from scipy.ndimage import gaussian_filter

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.progress import Epoch, Step
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.training.validation.preview import choose_view, make_preview


def share(shape=(300, 400), *, spot=(200, 300), validates=True, region=None):
    rng = np.random.default_rng(0)
    high = rng.normal(100, 1, shape)
    high[spot[0] : spot[0] + 40, spot[1] : spot[1] + 40] += 1000
    region = region or (slice(None), slice(None))
    return Share(Pair(high + rng.normal(0, 5, shape), high, "toy"), region, validates)


@pytest.mark.parametrize("loss", ["laplace", "bandpass"])
def test_a_training_with_previews_is_the_training_without(loss, tmp_path):
    plain = finished(trainer(loss))
    watched = trainer(loss)
    previews = [watched.preview()]
    for report in watched.run():
        if isinstance(report, Step | Epoch):
            previews.append(watched.preview())
    assert_equal_runs(watched, plain)
    assert previews[0] is None, "nothing has been read before the run"
    assert all(preview is not None for preview in previews[1:])


def test_a_stopped_run_with_previews_is_resumed_exactly(tmp_path):
    stopped = trainer()
    running = stopped.run()
    list(islice(running, 8))
    seen = stopped.preview()
    running.close()
    stopped.save_state(tmp_path / "state")
    resumed = trainer()
    resumed.load_state(tmp_path / "state")
    again = resumed.preview()
    assert all(np.array_equal(a, b) for a, b in zip(seen, again, strict=True))
    assert_equal_runs(finished(resumed), finished(trainer()))


def test_the_region_is_fixed_and_the_restoration_changes():
    watched, seen = trainer(learning_rate=0.01), []
    for report in watched.run():
        if isinstance(report, Epoch):
            seen.append(watched.preview())
    first, last = seen[0], seen[-1]
    assert np.array_equal(first.truth, last.truth)
    assert np.array_equal(first.low, last.low)
    assert not np.array_equal(first.restored, last.restored)
    assert {image.dtype for image in last[:3]} == {np.dtype(np.float32)}
    assert first.low_psnr == last.low_psnr


def test_the_scores_are_those_of_the_protocol():
    watched = trainer()
    list(islice(watched.run(), 8))
    preview = watched.preview()
    assert preview.low_psnr == pytest.approx(score(preview.low, preview.truth)["psnr"], abs=1e-3)
    assert preview.restored_psnr == pytest.approx(score(preview.restored, preview.truth)["psnr"], abs=1e-3)


def test_the_preview_shows_the_brightest_part_of_an_image_not_trained_on():
    view = choose_view([share(spot=(0, 0), validates=False), share()], 4, TARGETS["clean"])
    assert view.low.shape == view.truth.image.shape == (256, 256)
    assert view.truth.image[-101:, -101:].max() > 0.9
    assert np.argmax(view.truth.image.sum(1)) > 150


@pytest.mark.parametrize(
    ("shape", "expected"), [((300, 50), (256, 48)), ((21, 23), (20, 20)), ((256, 1000), (256, 256))]
)
def test_sides_are_multiples_of_the_block_and_not_too_large(shape, expected):
    assert choose_view([share(shape, spot=(2, 2))], 4, TARGETS["clean"]).low.shape == expected


def test_the_region_lies_in_the_validation_part_of_a_single_image():
    region = (slice(240, None), slice(None))
    view = choose_view([share(region=region, spot=(250, 100))], 4, TARGETS["clean"])
    assert view.low.shape == (60, 256)


def test_an_image_without_contrast_is_skipped():
    flat = Pair(np.eye(40), np.pad(np.ones((1, 1)), ((0, 39), (0, 39))), "flat")
    empty = Share(flat, (slice(20, None), slice(None)), True)
    assert choose_view([empty], 4, TARGETS["clean"]) is None
    assert choose_view([empty, share()], 4, TARGETS["clean"]).low.shape == (256, 256)


def test_there_is_no_preview_if_it_is_not_finite_or_does_not_fit(monkeypatch):
    watched = trainer()
    list(islice(watched.run(), 8))
    low = watched._view.low
    watched._view = watched._view._replace(low=np.full_like(low, math.nan))
    assert watched.preview() is None
    watched._view = replace_low(watched._view, low)

    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(watched._learner.network, "forward", full)
    assert watched.preview() is None


def replace_low(view, low):
    return view._replace(low=low)


def test_what_the_loss_leaves_free_is_tied_to_the_input():
    tied, plain = trainer("bandpass"), trainer("mae", pairs=make_pairs())
    for training in (tied, plain):
        list(islice(training.run(), 8))
    slow = np.linspace(0, 50, plain._view.low.shape[0], dtype=np.float32)[:, None]

    def drifting(network):
        original = network.forward
        return lambda images: replace_mean(original(images), torch.from_numpy(slow))

    changed = []
    for training in (tied, plain):
        before = training.preview().restored_psnr
        training._learner.network.forward = drifting(training._learner.network)
        changed.append(abs(training.preview().restored_psnr - before))
    assert changed[0] < changed[1]


def replace_mean(prediction, added):
    if hasattr(prediction, "_replace"):
        return prediction._replace(mean=prediction.mean + added)
    return replace(prediction, mean=prediction.mean + added)


def test_without_a_truth_the_psnr_is_estimated():
    rng = np.random.default_rng(0)
    clean = 100 + 50 * gaussian_filter(rng.normal(0, 1, (128, 128)), 4) * 14
    shares = [Share(Pair(clean + rng.normal(0, 20, clean.shape), None, "toy"), (slice(None),) * 2, True)]
    view = choose_view(shares, 4, TARGETS["self"])

    def blurred(image):
        return gaussian_filter(image, 2)

    preview = make_preview(view, blurred, LOSSES["mae"]())
    assert (preview.truth, math.isnan(preview.low_psnr)) == (None, True)
    true = score(preview.restored, clean[: view.low.shape[0], : view.low.shape[1]])["psnr"]
    assert preview.restored_psnr == pytest.approx(true, abs=1.5)
    # a region too small to estimate anything
    small = view._replace(low=view.low[:32, :32])
    assert math.isnan(make_preview(small, blurred, LOSSES["mae"]()).restored_psnr)
