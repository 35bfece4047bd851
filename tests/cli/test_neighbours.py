"""Training with neighbouring frames by the command line, and restoring with the model."""

import numpy as np
import pytest
from fixtures.cli_runs import QUICK, status_of, write

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore

pytestmark = pytest.mark.usefixtures("tiny_preset")


@pytest.fixture
def movie(tmp_path, monkeypatch):
    """Run in a folder with a noisy movie of squares that move slowly."""
    rng = np.random.default_rng(0)
    scene = 100 + 400 * rng.random((12, 12)).repeat(4, 0).repeat(4, 1)
    clean = np.stack([scene[:40, step // 2 : step // 2 + 36] for step in range(8)])
    metadata = {"axes": "TYX", "finterval": 0.4}
    for name, images in (("high", clean), ("low", rng.poisson(clean / 4))):
        write(tmp_path / f"{name}.tif", images.astype(np.uint16), imagej=True, metadata=metadata)
    monkeypatch.chdir(tmp_path)


def train(*more, out="m.safetensors", low="low.tif"):
    steps = ("--steps", 4, "--steps-per-epoch", 2, "--loss", "fft", "--device", "cpu")
    return status_of("train", "--low", low, "--out", out, *QUICK, *steps, *more)


@pytest.mark.usefixtures("movie")
@pytest.mark.parametrize("target", [("--high", "high.tif"), ("--target", "self"), ("--target", "neighbours")])
def test_a_movie_is_learnt_from_and_restored(target):
    assert train("--neighbours", 4, *target) == 0
    card = load_model("m.safetensors").card
    assert card.care.neighbours == 4
    assert card.training["neighbour_axis"] == "T"
    assert card.training["neighbour_spacing"] == pytest.approx(0.4)
    assert status_of("restore", "m.safetensors", "low.tif", "--out", "out.tif", "--device", "cpu") == 0
    expected = restore(read_stack("low.tif"), load_model("m.safetensors"), device="cpu")
    np.testing.assert_array_equal(np.stack(list(read_stack("out.tif"))), expected)


@pytest.mark.usefixtures("movie")
def test_frames_are_predicted_from_those_around(capsys):
    assert train("--target", "neighbours") == 0
    card = load_model("m.safetensors").card
    assert (card.care.neighbours, card.care.is_blind) == (4, True)
    assert train("--target", "next", "--neighbours", 2) == 2
    assert "would be among them" in capsys.readouterr().err


@pytest.mark.usefixtures("movie")
def test_training_goes_on_from_a_model_with_its_neighbours(capsys):
    assert train("--neighbours", 2) == 0
    assert train("--from", "m.safetensors", out="more.safetensors") == 0
    assert load_model("more.safetensors").card.care.neighbours == 2
    assert train("--from", "m.safetensors", "--neighbours", 4, out="other.safetensors") == 2
    assert "reads 2 neighbouring frames, not 4" in capsys.readouterr().err


@pytest.mark.usefixtures("movie")
def test_independent_fields_are_refused(capsys):
    fields = 100 + 400 * np.random.default_rng(0).random((8, 9, 9)).repeat(4, 1).repeat(4, 2)
    for name in ("low.tif", "high.tif"):
        write(name, (fields + (name == "low.tif") * np.random.default_rng(1).random(fields.shape)).astype(np.float32))
    assert train("--high", "high.tif", "--neighbours", 2) == 2
    assert "independent fields of view" in capsys.readouterr().err


@pytest.mark.usefixtures("movie")
def test_a_single_image_is_refused_by_the_model(capsys):
    assert train("--neighbours", 2) == 0
    write("one.tif", read_stack("low.tif")[0])
    assert status_of("restore", "m.safetensors", "one.tif", "--out", "out.tif") == 2
    assert "choose a movie or a z-stack, or a model of single frames" in capsys.readouterr().err
