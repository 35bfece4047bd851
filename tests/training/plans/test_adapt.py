"""What of a stack a model is adapted to, with which loss, and what is refused."""

import shlex
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from fixtures.cli_runs import status_of
from fixtures.random_models import TINY, make_model

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.model import load_model
from napari_care_losses.training.plans import adapt
from napari_care_losses.training.plans.adapt import adaptation_plan, chosen_frames
from napari_care_losses.training.plans.plan import train


@pytest.fixture
def start(tmp_path):
    path = tmp_path / "start.safetensors"
    make_model(loss="fft").save(path)
    return path


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(adapt, "BUDGET", {"budget": "steps", "amount": 2, "steps_per_epoch": 2})


def noisy(*shape):
    return np.random.default_rng(0).poisson(20, shape).astype(np.uint16)


class Empty:
    """An array of a shape that is never read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, *shape):
        self.shape = shape


@pytest.mark.parametrize("shown", [0, 50, 101, 99_999])
def test_frames_are_spread_over_the_stack_the_shown_one_among_them(shown):
    chosen = chosen_frames(Frames(Empty(100_000, 512, 512)), shown)
    assert len(chosen) == 32
    assert shown in chosen
    assert np.diff(chosen).max() < 2 * 100_000 / 31
    assert chosen == sorted(set(chosen))


def test_only_the_shown_channel_is_learnt_from():
    frames = Frames(Empty(4, 3, 64, 64), "TCYX")
    assert {frames.channel(index) for index in chosen_frames(frames, 7)} == {1}


def test_large_frames_are_few_but_one_at_least():
    assert chosen_frames(Frames(Empty(9, 2048, 2048)), 4) == [4, 8]
    assert chosen_frames(Frames(Empty(9, 8192, 8192)), 4) == [4]


def test_the_loss_is_the_models_own_where_it_suits_noisy_targets(tmp_path, start):
    frames = Frames(noisy(3, 80, 80))
    for loss, expected in (("mse", "mse"), ("laplace", "fft"), ("of another program", "fft")):
        make_model(replace(TINY, predicts_scale=loss == "laplace"), loss=loss).save(start)
        assert adaptation_plan("movie", frames, 0, start, tmp_path / "out.safetensors").loss.name == expected


@pytest.mark.parametrize(
    ("shape", "patch_size"), [((128, 64), 64), ((64, 40), 32), ((2, 64, 64), 64), ((2, 40, 90), 32)]
)
def test_patches_are_as_large_as_the_images_allow(shape, patch_size, start, tmp_path):
    plan = adaptation_plan("image", Frames(noisy(*shape)), 0, start, tmp_path / "out.safetensors")
    assert plan.parameters.patch_size == patch_size


@pytest.mark.parametrize("shape", [(40, 40), (5, 30, 200)])
def test_images_that_are_too_small_are_refused(shape, start, tmp_path):
    with pytest.raises(InputError, match="px are too small to adapt a model to: at least 32 x 32 px are needed"):
        adaptation_plan("image", Frames(noisy(*shape)), 0, start, tmp_path / "out.safetensors")


def test_the_result_is_the_model_trained_further(few_steps, start, tmp_path):
    frames = Frames(noisy(2, 3, 64, 72), "CTYX")
    plan = adaptation_plan("dendra movie", frames, 4, start, tmp_path / "out.safetensors")
    with closing(train(plan, previews=False)) as reports:
        steps = [report.fraction for report in reports if hasattr(report, "fraction")]
    assert steps == [0.5, 1]
    card = load_model(plan.out).card
    assert card.training["started_from"] == load_model(start).digest()
    assert card.training["names"] == [f"dendra movie[{index}]" for index in (3, 4, 5)]
    assert (card.target, card.structure, card.loss) == ("self", "dendra", "fft")


def test_a_model_of_neighbouring_frames_learns_from_those_around_the_shown_one(few_steps, start, tmp_path):
    make_model(replace(TINY, neighbours=2), loss="fft", training={"neighbour_axis": "T"}).save(start)
    movie = Frames(noisy(1, 64, 72).repeat(50, 0), "TYX")
    plan = adaptation_plan("movie", movie, 45, start, tmp_path / "out.safetensors")
    (source,) = plan.pairs
    assert source.only == tuple(range(18, 50))
    assert (source.low[31] == movie[31]).all(), "neighbours are those of the whole stack"
    for _ in train(plan, previews=False):
        pass
    assert load_model(plan.out).card.care.neighbours == 2
    with pytest.raises(InputError, match="choose a movie or a z-stack, or a model of single frames"):
        adaptation_plan("image", Frames(noisy(64, 72)), 0, start, tmp_path / "other.safetensors")


@pytest.mark.parametrize("neighbours", [0, 2])
@pytest.mark.parametrize("most", [2, 32])
def test_the_card_tells_how_to_adapt_again(neighbours, most, few_steps, start, tmp_path, monkeypatch):
    monkeypatch.setattr(adapt, "MOST_FRAMES", most)
    make_model(replace(TINY, neighbours=neighbours), loss="fft", training={"neighbour_axis": "T"}).save(start)
    # no recipe of the command line has this size
    monkeypatch.setattr(adapt, "PATCH_SIZES", (16,))
    source, kept = tmp_path / "movie.ome.tif", tmp_path / "kept.safetensors"
    tifffile.imwrite(source, noisy(4, 2, 24, 40), metadata={"axes": "TCYX"}, photometric="minisblack")
    plan = adaptation_plan("movie", read_stack(source), 3, start, tmp_path / "out.safetensors")
    plan = plan._replace(files=[(source, None)], kept_as=kept)
    for _ in train(plan, previews=False):
        pass
    model = load_model(plan.out)
    made = model.card.training["provenance"]
    assert status_of(*shlex.split("\n".join(made["bash"]))[1:]) == 0
    again = load_model(kept)
    kept.unlink()
    exec("\n".join(made["python"]), {"print": lambda *_: None})
    for other in (again, load_model(kept)):
        assert all(torch.equal(weights, other.weights[name]) for name, weights in model.weights.items())
        assert other.card.training["provenance"] == made
