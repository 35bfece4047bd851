"""`kill -9` at random moments: nothing opens as whole that is not, and what is resumed becomes what it would have been.

Jobs are killed and begun anew until they have come to their end, which is compared with that of an undisturbed one.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
import torch
import zarr
from counts import QUICK, SIZE, say, scaled, size_of_images, write_images
from killed_jobs import Victim

from napari_care_losses.errors import CareError
from napari_care_losses.experiments.entries import paper_experiments
from napari_care_losses.experiments.results import load_result
from napari_care_losses.experiments.runner import run_experiment
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.io.written_frames import journal_path
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import Model, ModelCard, load_model
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.training.checkpoint import read_state, state_path
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Step
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

KILLS = 50
"""Of every kind of work."""

EPOCH, EPOCHS = 10, 4
"""Steps an epoch and epochs of a training."""

FRAMES = 8


def run(scale: float) -> dict[str, float]:
    """Kill every kind of work."""
    kills, size = scaled(KILLS, scale), size_of_images(scale)
    counts: dict[str, float] = {}
    for kill_some in (_kill_trainings, _kill_saving, _kill_tiff, _kill_zarr, _kill_experiments):
        with TemporaryDirectory() as name:
            counts |= kill_some(Path(name), kills, size)
        say(f"kill: {counts}")
    return counts


def _train(reached: Any, folder: Path) -> None:
    torch.set_num_threads(1)
    pairs = pairs_from_frames(read_stack(folder / "low.tif"), read_stack(folder / "high.tif"), "pair")
    settings = {**QUICK, "budget": "epochs", "amount": EPOCHS, "steps_per_epoch": EPOCH}
    trainer = Trainer(pairs, LOSSES["fft"](), TrainingParameters(**settings), device="cpu")
    for report in train_to_file(trainer, folder / "model.safetensors", resume=True):
        if isinstance(report, Step):
            reached.value = report.step


def _kill_trainings(folder: Path, kills: int, size: int) -> dict[str, float]:
    victim, out, trained, most_lost = Victim(_train, seed=1), folder / "model.safetensors", 0, 0
    write_images(folder, 5, size)
    victim.finish(folder)
    expected = load_model(out).digest()
    while victim.kills < kills or not trained:
        out.unlink(missing_ok=True)
        state_path(out).unlink()
        while not victim.attempt(kills, folder):
            _look_for_models(folder, {expected})
            lost = victim.reached - _step_saved(state_path(out))
            most_lost = max(most_lost, lost)
            assert lost <= EPOCH, f"{lost} steps are lost, an epoch has {EPOCH}"
        assert load_model(out).digest() == expected
        assert _others(folder, "low.tif", "high.tif") == ["model.resume", "model.safetensors"], _others(folder)
        trained += 1
    return {"kills_training": victim.kills, "trainings_resumed_bit_equal": trained, "most_steps_lost": most_lost}


def _step_saved(path: Path) -> int:
    return int(read_state(path)[0]["progress"]["step"]) if path.is_file() else 0


def _save(reached: Any, folder: Path) -> None:
    models = [load_model(folder / f"{name}.safetensors") for name in "ab"]
    for number in range(30):
        models[number % 2].save(folder / "saved.safetensors")
        reached.value = number


def _kill_saving(folder: Path, kills: int, _size: int) -> dict[str, float]:
    models = [_model(seed=seed, preset="care") for seed in (1, 2)]
    for name, model in zip("ab", models, strict=True):
        model.save(folder / f"{name}.safetensors")
    victim, digests = Victim(_save, seed=2), {model.digest() for model in models}
    victim.finish(folder)
    while victim.kills < kills:
        victim.kill(folder)
        assert _look_for_models(folder, digests) >= 3
    models[0].save(folder / "saved.safetensors")
    assert _others(folder) == ["a.safetensors", "b.safetensors", "saved.safetensors"], _others(folder)
    return {"kills_saving_models": victim.kills}


def _look_for_models(folder: Path, digests: set[str]) -> int:
    """Check that whatever opens as a model, under whatever name, is one of those made; return how many do."""
    whole = 0
    for path in folder.iterdir():
        try:
            found = load_model(path).digest()
        except CareError:
            assert path.suffix != ".safetensors", f"{path.name} is no whole model"
            continue
        assert found in digests, f"{path.name} opens as a model that nobody made"
        whole += 1
    return whole


def _restore(reached: Any, folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    source = folder / "low.tif"
    parameters = RestorationParameters(engine="torch")
    model = load_model(folder / "model.safetensors")
    run = RunOptions(device="cpu", resume=True)
    for progress in restore_to_file(read_stack(source), model, out, parameters, run, source=source):
        if progress.frame is not None:
            reached.value += 1


def _kill_tiff(folder: Path, kills: int, size: int) -> dict[str, float]:
    victim, finished, most_lost = _kill_restorations(folder, kills, size, folder / "out.tif", seed=3)
    return {"kills_tiff": victim.kills, "tiffs_resumed": finished, "most_frames_lost_tiff": most_lost}


def _kill_zarr(folder: Path, kills: int, size: int) -> dict[str, float]:
    victim, finished, most_lost = _kill_restorations(folder, kills, size, folder / "out.ome.zarr", seed=4)
    return {"kills_zarr": victim.kills, "zarrs_resumed": finished, "most_frames_lost_zarr": most_lost}


def _kill_restorations(folder: Path, kills: int, size: int, out: Path, *, seed: int) -> tuple[Victim, int, int]:
    """Kill restorations, half of them of a stack that was restored before by another model."""
    victim, finished, most_lost = Victim(_restore, seed=seed), 0, 0
    write_images(folder, FRAMES, size)
    model, another = (_model(seed=number) for number in (1, 2))
    stacks = {}
    for name, one in (("earlier", another), ("expected", model)):
        one.save(folder / "model.safetensors")
        victim.finish(folder, out)
        stacks[name] = _pixels(out)
    inputs = {path: _pixels(path) for path in (folder / "low.tif", folder / "high.tif")}
    while victim.kills < kills or not finished:
        _remove(out)
        is_replaced = bool(finished % 2)
        if is_replaced:
            save_stack(out, Frames(stacks["earlier"], "TYX"))
        done = 0
        while not victim.attempt(kills, folder, out):
            for path in folder.iterdir():
                if path not in inputs:
                    _check_whole(path, stacks.values() if is_replaced else [stacks["expected"]])
            is_in_place = out.exists() and np.array_equal(_pixels(out), stacks["expected"])
            noted = FRAMES if is_in_place else _noted(out)
            lost = done + victim.reached - noted
            assert lost <= 1, f"{lost} frames are lost"
            done, most_lost = noted, max(most_lost, lost)
        np.testing.assert_array_equal(_pixels(out), stacks["expected"])
        assert _others(folder, "low.tif", "high.tif") == ["model.safetensors", out.name], _others(folder)
        finished += 1
    return victim, finished, most_lost


def _noted(out: Path) -> int:
    """Return the number of frames that a run which goes on finds done."""
    journal = journal_path(out)
    return max(0, journal.read_text().count("\n") - 1) if journal.is_file() else 0


def _pixels(path: Path) -> np.ndarray:
    return np.stack(list(read_stack(path)))


def _check_whole(path: Path, expected) -> None:
    """Check that a file that opens as a stack, by our readers or by those of TIFF and Zarr, is a whole one."""
    found = []
    for read in (_pixels, tifffile.imread, _of_group):
        try:
            found.append(read(path))
        except Exception:  # noqa: BLE001 - readers of what is no stack raise errors of every kind
            continue
    for pixels in found:
        assert any(np.array_equal(pixels, one) for one in expected), f"{path.name} opens as a stack and is not whole"


def _of_group(path: Path) -> np.ndarray:
    """Return the pixels of an image as every program finds them: by the metadata of its group."""
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    dataset = attributes.get("ome", attributes)["multiscales"][0]["datasets"][0]["path"]
    return np.asarray(zarr.open_array(path / dataset, mode="r"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _experiment(reached: Any, folder: Path, baselines: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    entry = paper_experiments()["MM"].smoke()
    entry = replace(entry, methods=entry.methods[:1], reference=entry.methods[0].name, baselines=baselines)
    settings = {**QUICK, "budget": "steps", "amount": 20.0, "steps_per_epoch": 10}
    for _ in run_experiment(entry, folder / "run", TrainingParameters(**settings), device="cpu"):
        reached.value += 1


def _kill_experiments(folder: Path, kills: int, size: int) -> dict[str, float]:
    victim, finished = Victim(_experiment, seed=5), 0
    # their strengths are sought by many restorations
    baselines = paper_experiments()["MM"].baselines if size == SIZE else ()
    victim.finish(folder, baselines)
    result = folder / "run" / "MM.json"
    expected, names = load_result(result).scores, _everything(folder)
    while victim.kills < kills or not finished:
        shutil.rmtree(folder / "run")
        while not victim.attempt(kills, folder, baselines):
            for path in folder.rglob("*"):
                _check_opens(path)
        assert load_result(result).scores == expected
        assert _everything(folder) == names, _everything(folder)
        finished += 1
    return {"kills_experiments": victim.kills, "experiments_resumed": finished}


def _check_opens(path: Path) -> None:
    """Check that a file of an experiment that has its final name is whole."""
    if path.suffix == ".safetensors":
        load_model(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".html":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    elif path.suffix == ".csv":
        assert path.read_text(encoding="utf-8").endswith("\n")


def _everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _others(folder: Path, *known: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def _model(*, seed: int, preset: str = "lite") -> Model:
    network = CareNetwork(PRESETS[preset], torch.Generator().manual_seed(seed))
    card = ModelCard(structure="other", loss="mae", preset=preset, architecture=PRESETS[preset])
    return Model(card, network.state_dict())
