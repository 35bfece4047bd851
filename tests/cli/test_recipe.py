"""The command line: which recipe a training takes."""

import pytest
from fixtures.cli_runs import save_model, status_of, train

from napari_care_losses.errors import InputError
from napari_care_losses.experiments import runner
from napari_care_losses.models.model import load_model
from napari_care_losses.training.parameters import RECIPES, TrainingParameters

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")


@pytest.mark.parametrize(
    ("options", "recipe"), [((), "robust"), (("--from", "old"), "fine-tune"), (("--recipe", "paper"), "paper")]
)
def test_the_recommended_recipe_is_taken_unless_one_is_named(folder, model_library, options, recipe):
    save_model(model_library / "old.safetensors")
    assert train("--no-vary-size", *options) == 0
    training = load_model(folder / "m.safetensors").card.training
    assert training == training | RECIPES[recipe] | {"vary_size": False}


def test_a_resumed_training_keeps_its_recipe(folder, capsys):
    assert train("--recipe", "paper") == 0
    assert train("--resume", steps=("--steps", 6, "--steps-per-epoch", 2)) == 0
    training = load_model(folder / "m.safetensors").card.training
    assert training["steps"] == 6
    assert training == training | RECIPES["paper"]
    assert train("--resume", "--recipe", "robust") == 2
    assert "The stopped training had other" in capsys.readouterr().err


def test_a_damaged_state_is_refused_as_it_is_with_a_recipe(folder, capsys):
    (folder / "m.resume").write_bytes(b"damaged")
    for options in ((), ("--recipe", "robust")):
        assert train("--resume", *options) == 2
        assert "holds no resumable training" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "recipe"), [((), "paper"), (("--recipe", "robust"), "robust")])
def test_experiments_train_by_the_papers_recipe_unless_another_is_named(folder, monkeypatch, options, recipe):
    taken = []

    def noting(experiment, out, training, restoring, *, device):
        taken.append(training)
        raise InputError("This is all the test looks at.")

    monkeypatch.setattr(runner, "run_experiment", noting)
    assert status_of("experiment", "MM", "--out", folder / "run", *options) == 2
    settings = {"budget": "steps", "amount": 800.0, "steps_per_epoch": 100}
    assert taken == [TrainingParameters(**settings, **RECIPES[recipe])]
