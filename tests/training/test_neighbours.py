"""Training with the frames around each image."""

import dataclasses

import numpy as np
import pytest
import torch
from fixtures.toy_trainings import ARCHITECTURE, TINY, assert_equal_runs, finished, trainer

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.models.model import ModelCard, load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.pair_sources import PairSource, check_pair, examine_pair
from napari_care_losses.training.pairs import Pair, Share, fingerprint, pairs_from_frames, split_pairs
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.patches import PatchSource, draw_batch, sample_patches
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.targets.registry import TARGETS

WHOLE = (slice(None), slice(None))


def movie(count=6, size=24, seed=0, axes="TYX"):
    """A movie of squares that move slowly, noisy and clean."""
    rng = np.random.default_rng(seed)
    scene = 100 + 50 * rng.random((size // 4 + 4, size // 4 + 4)).repeat(4, 0).repeat(4, 1)
    clean = np.stack([scene[4 : 4 + size, step // 2 : step // 2 + size] for step in range(count)])
    noisy = clean + rng.normal(0, 10, clean.shape)
    return tuple(Frames(stack, axes, Calibration(time_step=0.5, z_step=0.2)) for stack in (noisy, clean))


def pairs_of(neighbours=2, *, alone=False, **options):
    low, high = movie(**options)
    return pairs_from_frames(low, None if alone else high, "movie", neighbours=neighbours)


def test_a_pair_carries_what_is_around_it():
    low, high = movie()
    pair = pairs_from_frames(low, high, "movie", neighbours=4)[1]
    for images, stack in ((pair.around.low, low), (pair.around.high, high)):
        # reflected at the first frame
        for image, number in zip(images, (1, 0, 2, 3), strict=True):
            np.testing.assert_array_equal(image, stack[number])
    assert (pair.around.axis, pair.around.spacing) == ("T", 0.5)
    # frames are shared, not copied: a movie with neighbours takes no more memory than without
    made = pairs_from_frames(low, high, "movie", neighbours=4)
    assert np.shares_memory(made[1].around.low[2], made[2].low)


def test_planes_of_a_z_stack_are_neighbours():
    pair = pairs_of(axes="ZYX")[2]
    assert (pair.around.axis, pair.around.spacing) == ("Z", 0.2)


def test_unlike_neighbours_make_another_training():
    pairs = pairs_of()
    around = pairs[0].around._replace(low=pairs[1].around.low)
    other = [dataclasses.replace(pairs[0], around=around), *pairs[1:]]
    assert len({fingerprint(each) for each in (pairs, other, pairs_of(neighbours=0))}) == 3


@pytest.mark.parametrize("settings", [{}, RECIPES["paper"], RECIPES["robust"]])
@pytest.mark.parametrize("target", ["clean", "shot", "self"])
def test_patches_have_their_neighbours(target, settings):
    """The same place and range in every channel; a new network is given noise of each frame's own."""
    pairs = pairs_of(4, alone=target == "self", count=9, size=48)
    parameters = TrainingParameters(**{**settings, "target": target, "neighbours": 4, "patch_size": 16})
    source = PatchSource(Share(pairs[4], WHOLE, False), parameters, np.random.default_rng(0))
    low, high = draw_batch([source], 24, np.random.default_rng(1))
    assert low.shape == (24, 5, 16, 16)
    assert high.shape == (24, 1, 16, 16)
    # what is at one place of a slow movie agrees with the target more than what is at others
    centred = low - low.mean(axis=(2, 3), keepdims=True)
    wanted = high - high.mean(axis=(2, 3), keepdims=True)
    here, elsewhere = ((centred * other).mean(axis=(0, 2, 3)) for other in (wanted, np.roll(wanted, 8, 2)))
    assert (here > 3 * np.abs(elsewhere)).all()
    noises = np.corrcoef((low - low.mean(axis=1, keepdims=True)).transpose(1, 0, 2, 3).reshape(5, -1))
    assert noises[~np.eye(5, dtype=bool)].max() < 0.3


def test_channels_stand_in_the_order_of_time_or_reversed():
    frames = np.random.default_rng(0).random((5, 32, 32)) + 10 * np.arange(5)[:, None, None]
    pair = pairs_from_frames(Frames(frames, "TYX"), None, "ramp", neighbours=4)[2]
    parameters = TrainingParameters(target="self", neighbours=4, patch_size=16)
    source = PatchSource(Share(pair, WHOLE, False), parameters, np.random.default_rng(0))
    plain, _ = draw_batch([source], 4, np.random.default_rng(1), augmented=False)
    assert (np.diff(np.delete(plain.mean(axis=(2, 3)), 2, axis=1), axis=1) > 0).all()
    augmented, _ = draw_batch([source], 30, np.random.default_rng(1))
    rises = augmented[:, 4].mean(axis=(1, 2)) > augmented[:, 0].mean(axis=(1, 2))
    assert 5 < rises.sum() < 25


def test_without_neighbours_nothing_has_changed():
    """Patches, card and identity of a training are those of versions that knew no neighbours."""
    pair = Pair(*(image[0] for image in movie()), "one")
    assert pair.around is None
    assert not {"neighbours", "neighbours_along"} & set(TrainingParameters().to_dict())
    training = finished(trainer())
    assert not any("neighbour" in name for name in training.model().card.training)
    assert "neighbours" not in training.model().card.architecture.to_dict()


@pytest.mark.parametrize("target", ["clean", "shot", "self"])
def test_a_trained_model_restores_a_movie(tmp_path, target):
    pairs = pairs_of(4, alone=target == "self", count=7)
    training = finished(trainer(pairs=pairs, neighbours=4, target=target))
    assert training.preview().low.ndim == 2
    path = tmp_path / "model.safetensors"
    training.model().save(path)
    model = load_model(path)
    assert ModelCard.from_json(model.card.to_json()).care.neighbours == 4
    assert (model.card.training["neighbour_axis"], model.card.training["neighbour_spacing"]) == ("T", 0.5)
    low, _ = movie(count=7)
    assert np.isfinite(restore(low, model, device="cpu")).all()


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole = finished(trainer(pairs=pairs_of(), neighbours=2))
    stopped = trainer(pairs=pairs_of(), neighbours=2)
    for report in stopped.run():
        if isinstance(report, Epoch):
            break
    stopped.save_state(tmp_path / "state.resume")
    resumed = trainer(pairs=pairs_of(), neighbours=2)
    resumed.load_state(tmp_path / "state.resume")
    assert_equal_runs(finished(resumed), whole)


def test_a_model_of_single_frames_starts_as_it_was():
    single = finished(trainer()).model()
    wide = trainer(pairs=pairs_of(), neighbours=2, start_from=single)._learner.network
    image = torch.rand(2, 3, 16, 16)
    expected = single.network()(image[:, 1:2]).mean
    torch.testing.assert_close(wide(image).mean, expected, rtol=0, atol=1e-6)
    # those weights are trained, too
    assert (
        finished(trainer(pairs=pairs_of(), neighbours=2, start_from=single))
        ._learner.network.down[0][0]
        .weight[:, 0]
        .abs()
        .max()
        > 0
    )


def test_a_model_of_other_neighbours_is_refused():
    four = finished(trainer(pairs=pairs_of(4), neighbours=4)).model()
    assert trainer(pairs=pairs_of(4), neighbours=4, start_from=four)
    with pytest.raises(InputError, match="reads 4 neighbouring frames, not 2: choose 4"):
        trainer(pairs=pairs_of(2), neighbours=2, start_from=four)
    with pytest.raises(InputError, match=r"movie\[0\]: expected 2 neighbouring frames around every image, found 0"):
        trainer(pairs=pairs_of(0), neighbours=2)


def test_what_is_to_be_learnt_is_not_among_the_input():
    with pytest.raises(InputError, match=r"'next' takes no neighbouring frames.*would be among them"):
        TrainingParameters(target="next", neighbours=2)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_as_many_before_as_after(neighbours):
    with pytest.raises(InputError, match=f"neighbours must be even, as many before as after, found {neighbours}"):
        TrainingParameters(neighbours=neighbours)


def fields(count=8, size=64):
    """Independent fields of view in the form of a movie."""
    rng = np.random.default_rng(3)
    coarse = rng.random((count, size // 8, size // 8)).repeat(8, 1).repeat(8, 2)
    return Frames(100 * coarse + rng.normal(0, 5, coarse.shape), "TYX")


def test_independent_fields_are_no_movie():
    with pytest.raises(InputError, match=r"fields: About \d+% of the structure changes .* along T: these are independ"):
        pairs_from_frames(fields(), None, "fields", neighbours=2)
    assert len(pairs_from_frames(fields(), None, "fields")) == 8
    source = PairSource("fields", fields(), None, "self", neighbours=2)
    check_pair(source)
    with pytest.raises(InputError, match="independent fields of view"):
        list(examine_pair(source))
    assert list(examine_pair(PairSource("movie", movie()[0], None, "self", neighbours=2)))


def test_a_single_image_has_no_neighbours():
    image = Frames(movie()[0].data[0])
    with pytest.raises(InputError, match="image: Neighbouring frames along time"):
        pairs_from_frames(image, None, "image", neighbours=2)
    with pytest.raises(InputError, match="Neighbouring frames along time"):
        check_pair(PairSource("image", image, None, "self", neighbours=2))


def test_sample_patches_show_the_frame_itself():
    low, high = movie()
    parameters = TrainingParameters(**{**TINY, "neighbours": 2})
    lows, highs = sample_patches([PairSource("movie", low, high)], parameters, 3, np.random.default_rng(0))
    assert (lows.shape, highs.shape) == ((3, 3, 16, 16), (3, 1, 16, 16))


def test_the_preset_stays(tmp_path):
    model = finished(trainer(pairs=pairs_of(), neighbours=2)).model()
    assert model.card.preset == "lite"
    assert model.card.care == dataclasses.replace(ARCHITECTURE, neighbours=2)


def test_a_share_of_an_image_has_that_of_its_neighbours():
    """A single image is split into regions, its neighbours too."""
    pair = pairs_of(count=5, size=64)[2]
    parameters = TrainingParameters(neighbours=2, patch_size=16, background_filter=False)
    for share in split_pairs([pair], 16, np.random.default_rng(0)):
        low, high = draw_batch([PatchSource(share, parameters, np.random.default_rng(0))], 8, np.random.default_rng(0))
        agreement = np.corrcoef(np.concatenate([low, high], axis=1).transpose(1, 0, 2, 3).reshape(4, -1))
        assert agreement.min() > 0.4


class TestPredictingAFrameFromThoseAround:
    def test_it_needs_neighbours(self):
        with pytest.raises(InputError, match="'neighbours' needs neighbouring frames: choose 2, 4 or 6"):
            TrainingParameters(target="neighbours")

    def test_the_target_is_the_frame_and_the_network_does_not_see_it(self):
        pairs = pairs_of(4, alone=True, count=9)
        parameters = TrainingParameters(target="neighbours", neighbours=4, patch_size=16)
        source = PatchSource(Share(pairs[4], WHOLE, False), parameters, np.random.default_rng(0))
        low, high = draw_batch([source], 6, np.random.default_rng(1))
        np.testing.assert_array_equal(low[:, 2:3], high)
        training = finished(trainer(pairs=pairs, target="neighbours", neighbours=4))
        model = training.model()
        assert model.card.care.is_blind
        assert "each predicted from those around it" in model.card.without_clean
        assert "and not the frame itself" in model.card.around
        # so does a restoration: changing a frame changes those around it, not itself
        noisy, _ = movie(count=9)
        levels = RestorationParameters(engine="torch", normalization="stack")
        changed = noisy.data.copy()
        changed[4, 8:16, 8:16] += 20
        before, after = (restore(Frames(data, "TYX"), model, levels, device="cpu") for data in (noisy.data, changed))
        assert np.abs(after - before)[[3, 5]].max() > 100 * np.abs(after - before)[4].max()

    def test_what_moves_too_fast_is_refused(self):
        pair, other = (pairs_of(2, alone=True, size=64, seed=seed)[2] for seed in (0, 1))
        fast = dataclasses.replace(pair, around=other.around)
        assert "of the structure changes to the next frame" in TARGETS["neighbours"].problem(fast)
        with pytest.raises(InputError, match="the frames around one do not tell"):
            trainer(pairs=[fast], neighbours=2, target="neighbours")
        slow = pairs_of(2, alone=True, size=64)
        assert TARGETS["neighbours"].problem(slow[2]) == ""
        assert "from frame to frame" in TARGETS["neighbours"].remarks(slow)[0]

    def test_a_resumed_training_equals_an_uninterrupted_one(self, tmp_path):
        options = {"pairs": pairs_of(alone=True), "neighbours": 2, "target": "neighbours"}
        whole, stopped, resumed = finished(trainer(**options)), trainer(**options), trainer(**options)
        for report in stopped.run():
            if isinstance(report, Epoch):
                break
        stopped.save_state(tmp_path / "state.resume")
        resumed.load_state(tmp_path / "state.resume")
        assert_equal_runs(finished(resumed), whole)
