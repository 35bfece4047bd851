"""Dead and uneven rows and columns are found and evened out; images without any stay as they are."""

import numpy as np
import pytest

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.line_defects import evened, line_defects
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore_frames
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, simulate_pair


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def pair():
    low, high = simulate_pair("actin", (256, 256), seed=3)
    return low.astype(np.float32), high


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("axis", [0, 1])
def test_images_without_defects_have_none(name, axis):
    for image in simulate_pair(name, (256, 256), seed=6):
        found = line_defects(image, axis)
        assert not found.dead.size
        assert found.offsets is None
        assert evened(image, axis) is image


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("level", [0, 300], ids=["dark", "bright"])
def test_dead_lines_are_found_and_replaced(pair, axis, level):
    spoilt = pair[0].copy()
    np.moveaxis(spoilt, axis, 0)[[1, 77, 200]] = level
    assert line_defects(spoilt, axis).dead.tolist() == [1, 77, 200]
    mended = np.moveaxis(evened(spoilt, axis), axis, 0)
    original = np.moveaxis(pair[0], axis, 0)
    np.testing.assert_array_equal(mended[77], (original[76] + original[78]) / 2)
    np.testing.assert_array_equal(np.delete(mended, [1, 77, 200], 0), np.delete(original, [1, 77, 200], 0))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_offsets_are_found_and_removed(pair, axis, strength):
    noise = line_defects(pair[0], axis).noise
    shape = (256, 1) if axis == 0 else (1, 256)
    offsets = rng().normal(0, strength * noise, shape).astype(np.float32)
    found = line_defects(pair[0] + offsets, axis)
    assert found.offsets is not None
    assert not found.dead.size
    left = evened(pair[0] + offsets, axis) - pair[0]
    assert left.mean(axis=1 - axis).std() < 0.5 * offsets.std()


def test_small_and_even_images_have_no_defects():
    for image in (np.ones((1, 1)), rng().normal(0, 1, (5, 300)), np.full((64, 64), 7), np.eye(64)):
        for axis in (0, 1):
            assert evened(image, axis) is image


def test_lines_are_told_of_and_evened_out_when_asked_for(pair):
    low, high = pair
    spoilt = low + rng(1).normal(0, 0.5 * line_defects(low, 0).noise, (256, 1)).astype(np.float32)
    spoilt[:, 99] = 0
    model, scores = load_model(find_model("fft-lite")), []
    for evens in (False, True):
        (*_, last) = restore_frames(Frames(spoilt), model, RestorationParameters(even_lines=evens), device="cpu")
        assert "1 dead rows or columns and offsets of rows or columns" in last.note
        assert ("Evened out" if evens else "even out lines first") in last.note
        scores.append(score(last.frame.image, high)["psnr"])
    (*_, last) = restore_frames(Frames(low), model, device="cpu")
    assert "rows or columns" not in last.note
    clean = score(last.frame.image, high)["psnr"]
    assert scores[0] < scores[1] - 1
    assert scores[1] > clean - 0.7
