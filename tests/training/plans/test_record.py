import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from fixtures.cli_runs import save_model, status_of
from fixtures.forked_programs import run_forked
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.cli.main import _parser
from napari_care_losses.cli.train import _loss, _parameters
from napari_care_losses.errors import InputError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import PROVENANCE, load_model
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.plans.record import TrainingRecord

QUICK = {
    "preset": "lite",
    "patch_size": 16,
    "batch_size": 2,
    "validation_patches": 2,
    "budget": "steps",
    "amount": 4,
    "steps_per_epoch": 2,
}


@pytest.fixture
def folder(tmp_path, tiny_preset):
    folder = tmp_path / "it's \u00fc"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        high = rng.uniform(20, 200, (3, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)
        for exposure, stack in (("low", rng.poisson(high)), ("high", high)):
            path = folder / f"{name} {exposure}.tif"
            tifffile.imwrite(path, stack.astype(np.uint16), photometric="minisblack")
    return folder


def record_in(folder, pairs=None, loss=None, **changes):
    names = pairs or [("a low", "a high"), ("b low", "b high")]
    files = [tuple(None if name is None else folder / f"{name}.tif" for name in pair) for pair in names]
    other = {name: changes.pop(name) for name in ("start_from", "structure", "ranges", "only") if name in changes}
    return TrainingRecord(
        pairs=files,
        loss=loss or LOSSES["mae"](),
        parameters=TrainingParameters(**{**QUICK, **RECIPES["robust"], **changes}),
        out=folder / "m.safetensors",
        **other,
    )


def trained(record):
    model = load_model(record.out)
    record.out.unlink()
    record.out.with_suffix(".resume").unlink(missing_ok=True)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {"structure": "actin", "loss": LOSSES["bandpass"](), "seed": 7},
        {"pairs": [("b low", "a high"), ("a low", "b high")], **RECIPES["paper"]},
        {"pairs": [("a low", None)], "target": "self", "ranges": [(0, 2)], "loss": LOSSES["mse"](), "neighbours": 0},
        {"only": [0, 2]},
    ],
    ids=["robust", "order", "self", "only"],
)
def test_command_and_python_train_the_same_model(folder, changes):
    record = record_in(folder, **changes)
    assert status_of(*record.words()) == 0
    by_command = trained(record)
    assert {name: "\n".join(lines) for name, lines in by_command.card.training[PROVENANCE].items()} == record.texts()
    exec(record.python(), {"print": lambda *_: None})
    by_python = trained(record)
    for name, weights in by_command.weights.items():
        assert torch.equal(weights, by_python.weights[name]), name
    assert by_command.digest() == by_python.digest()


def test_a_model_is_trained_further_with_its_own_loss(folder):
    save_model(folder / "start.safetensors", PRESETS["lite"], loss="mse")
    record = record_in(folder, start_from=folder / "start.safetensors", loss=LOSSES["mse"](), **RECIPES["fine-tune"])
    assert "--loss" not in record.words() and "--recipe" not in record.words() and "--preset" not in record.words()
    assert status_of(*record.words()) == 0
    by_command = trained(record)
    exec(record.python(), {"print": lambda *_: None})
    by_python = trained(record)
    assert all(torch.equal(weights, by_python.weights[name]) for name, weights in by_command.weights.items())


@pytest.mark.usefixtures("one_torch_thread")
def test_command_runs_in_a_process_of_its_own(folder, tmp_path, monkeypatch):
    # the process has the network of the preset's own size
    monkeypatch.undo()
    record = record_in(folder)
    monkeypatch.chdir(tmp_path)
    assert run_forked(*shlex.split(record.bash())[1:]).returncode == 0
    by_command = trained(record)
    exec(record.python(), {"print": lambda *_: None})
    by_python = trained(record)
    assert all(torch.equal(weights, by_python.weights[name]) for name, weights in by_command.weights.items())


CHOICES = {name: st.sampled_from(info.choices) for name, info in TrainingParameters.described().items() if info.choices}
BUDGETS = {"epochs": st.integers(1, 9), "steps": st.integers(1, 9), "minutes": st.floats(0.01, 99)}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_options_become_parameters_and_the_same_options_again(data):
    drawn = {name: data.draw(choice) for name, choice in CHOICES.items()}
    drawn |= data.draw(st.sampled_from(list(RECIPES.values())))
    drawn |= {"amount": data.draw(BUDGETS[drawn["budget"]]), "seed": data.draw(st.integers(0, 3))}
    drawn |= {"neighbours": data.draw(st.sampled_from([0, 2, 4])), "vary_noise": data.draw(st.booleans())}
    try:
        parameters = TrainingParameters(**drawn)
    except InputError:
        return
    high = data.draw(st.sampled_from([None, Path("high.tif")]))
    loss = LOSSES[data.draw(st.sampled_from(list(LOSSES)))]()
    record = TrainingRecord(
        pairs=[(Path("low.tif"), high)], loss=loss, parameters=parameters, out=Path("m.safetensors")
    )
    options = _parser("train").parse_args(record.words())
    assert _parameters(options, None) == parameters and _loss(options, None, parameters.target) == loss
    assert options.out == record.out and [*options.low, *options.high] == [one for one in record.pairs[0] if one]
    assert replace(record, parameters=_parameters(options, None)).words() == record.words()
