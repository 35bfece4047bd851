"""The command line: training, and what Ctrl+C leaves of it."""

import signal
import sys
import time

import numpy as np
import pytest
import tifffile
import torch
from fixtures.cli_runs import QUICK, save_model, status_of, train, write
from fixtures.forked_programs import ForkedProgram, run_forked
from scipy.ndimage import gaussian_filter1d

from napari_care_losses.cli.common import stoppable
from napari_care_losses.models.model import load_model

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")


INTERRUPTED_IN_ITS_THIRD_STEP = """
import os, signal, sys
from napari_care_losses.cli.main import main
from napari_care_losses.training.trainer import Trainer
step = Trainer._step
def interrupted(self):
    if self._progress.step == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return step(self)
Trainer._step = interrupted
sys.exit(main(sys.argv[1:]))
"""


class TestTrain:
    def test_makes_a_model_and_says_what_it_did(self, folder, capsys):
        assert train("--structure", "actin", "--frames", "1:4", loss="laplace") == 0
        card = load_model(folder / "m.safetensors").card
        assert (card.structure, card.loss, card.preset) == ("actin", "laplace", "lite")
        assert (card.training["steps"], card.training["budget"]) == (4, "steps")
        assert card.training["names"] == ["low[1]", "low[2]", "low[3]"]
        said = capsys.readouterr()
        assert "epoch 1 step 2" in said.out
        assert "m.safetensors: 4 steps, best validation loss" in said.out
        assert said.err == ""

    def test_frames_choose_the_pairs(self, folder):
        assert train("--frames", "0:3", out="a.safetensors") == 0
        for name in ("low", "high"):
            write(folder / f"{name}.tif", tifffile.imread(folder / f"{name}.tif")[:3])
        assert train(out="b.safetensors") == 0
        first, second = (load_model(folder / f"{name}.safetensors").weights for name in "ab")
        assert all(torch.equal(value, second[name]) for name, value in first.items())

    def test_frames_of_several_ranges_and_one_that_is_blank(self, folder, capsys):
        stack = tifffile.imread("low.tif")
        stack[4] = 7
        write("low.tif", stack)
        assert train("--frames", "0:2,3:6") == 0
        trained = load_model(folder / "m.safetensors").card.training["names"]
        assert trained == ["low[0]", "low[1]", "low[3]", "low[5]"]
        assert "Left out: Pair low[4]: the low image is constant" in capsys.readouterr().err

    def test_only_some_frames_are_learnt_from(self, folder, capsys):
        assert train("--frames", "1:6", "--only", "0:1,3:5") == 0
        assert load_model(folder / "m.safetensors").card.training["names"] == ["low[1]", "low[4]", "low[5]"]
        alone = ["--low", "low.tif", "--loss", "mse", "--target", "next", "--only", "2:3", "--out", "n.safetensors"]
        assert status_of("train", *alone, *QUICK) == 2
        assert "The frames chosen give nothing to learn from: choose more of them." in capsys.readouterr().err

    @pytest.mark.parametrize("target", ["self", "next", "blind_spots", None])
    def test_noisy_images_alone_are_learnt_from(self, folder, capsys, target):
        write(folder / "low.tif", np.random.default_rng(0).poisson(20, (6, 28, 24)).astype(np.uint8))
        files = ["--low", "low.tif", "--loss", "mae", "--out", "m.safetensors", *QUICK, "--steps", 2]
        assert status_of("train", *files, *(["--target", target] if target else [])) == 0
        card = load_model(folder / "m.safetensors").card
        assert card.target == target or (target, card.target) == (None, "self")
        assert card.training["pairs"] == (3 if target == "next" else 6)
        said = capsys.readouterr().err
        told = {"next": "changes from frame to frame", "blind_spots": "warning: "}
        assert told.get(target, "photons") in said
        assert "warning: The loss Mean absolute error does not learn the mean" in said

    def test_blind_spots_say_which_losses_they_take(self, folder, capsys):
        files = ["--low", "low.tif", "--loss", "fft", "--out", "m.safetensors", *QUICK, "--steps", 2]
        assert status_of("train", *files, "--target", "blind_spots", "--line-noise", "horizontal") == 2
        assert "FFT mixes pixels" in capsys.readouterr().err

    def test_a_second_noisy_shot_is_learnt_from(self, folder, capsys):
        shots = np.random.default_rng(0).poisson(20, (2, 6, 28, 24)).astype(np.uint8)
        for name, shot in zip(("low", "high"), shots, strict=True):
            write(folder / f"{name}.tif", shot)
        assert train("--target", "shot", loss="mse") == 0
        assert load_model(folder / "m.safetensors").card.target == "shot"
        assert capsys.readouterr().err == ""

    def test_noise_that_correlates_is_refused_before_anything_starts(self, folder, capsys):
        noise = gaussian_filter1d(np.random.default_rng(0).normal(0, 50, (2, 256, 256)), 0.7, axis=2)
        write(folder / "low.tif", (200 + noise).astype(np.float32))
        files = ["--low", "low.tif", "--loss", "fft", "--out", "m.safetensors", *QUICK, "--steps", 2]
        assert status_of("train", *files) == 2
        assert "correlates" in capsys.readouterr().err
        assert not (folder / "m.safetensors").exists()

    def test_folders_are_paired_by_name(self, folder):
        for name, number in (("low", "1"), ("low", "2"), ("low", "10"), ("high", "01"), ("high", "02"), ("high", "10")):
            (folder / name).mkdir(exist_ok=True)
            write(folder / name / f"{name}_{number}.tif", tifffile.imread(f"{name}.tif")[int(number) % 4])
        files = ["--low", "low", "--high", "high", "--loss", "mae", "--out", "m.safetensors"]
        assert status_of("train", *files, *QUICK, "--steps", 1) == 0
        assert load_model(folder / "m.safetensors").card.training["names"] == ["low_1", "low_2", "low_10"]

    def test_several_files_are_paired_in_order(self, folder):
        for name in ("low", "high"):
            stack = tifffile.imread(folder / f"{name}.tif")
            write(folder / f"{name}1.tif", stack[:4])
            write(folder / f"{name}2.tif", stack[4:])
        files = ["--low", "low1.tif", "low2.tif", "--high", "high1.tif", "high2.tif"]
        assert status_of("train", *files, "--loss", "mae", "--out", "m.safetensors", *QUICK, "--steps", 1) == 0
        trained = load_model(folder / "m.safetensors").card.training["names"]
        assert trained == ["low1[0]", "low1[1]", "low1[2]", "low1[3]", "low2[0]", "low2[1]"]

    @pytest.mark.parametrize(
        ("budget", "expected"),
        [
            (("--epochs", 2, "--steps-per-epoch", 2), ("epochs", 2, 4, 2)),
            (("--steps", 3), ("steps", 3, 3, 100)),
            (("--minutes", 0.001), ("minutes", 0.001, None, 100)),
        ],
    )
    def test_the_budget_is_in_epochs_steps_or_minutes(self, folder, budget, expected):
        assert train(steps=budget) == 0
        training = load_model(folder / "m.safetensors").card.training
        unit, amount, steps, steps_per_epoch = expected
        assert (training["budget"], training["amount"]) == (unit, amount)
        assert training["steps_per_epoch"] == steps_per_epoch
        assert training["steps"] == steps or steps is None

    def test_the_parameters_of_a_loss_are_options(self, folder):
        assert train("--sigma-large", 4, loss="bandpass") == 0
        assert load_model(folder / "m.safetensors").card.loss_parameters == {"sigma_small": 0.5, "sigma_large": 4}

    def test_from_starts_from_a_model_of_the_library(self, folder, model_library):
        origin = save_model(model_library / "old.safetensors")
        assert train("--from", "old") == 0
        tuned = load_model(folder / "m.safetensors")
        assert tuned.card.training["started_from"] == origin.digest()
        assert not torch.equal(tuned.weights["mean.weight"], origin.weights["mean.weight"])

    def test_the_loss_is_that_of_the_model_to_start_from_where_it_suits_the_target(self, folder, model_library, capsys):
        write(folder / "low.tif", np.random.default_rng(0).poisson(20, (6, 28, 24)).astype(np.uint8))
        save_model(model_library / "old.safetensors", loss="bandpass", loss_parameters={"sigma_large": 4})
        files = ["--low", "low.tif", "--out", "m.safetensors", *QUICK, "--steps", 2]
        assert status_of("train", *files) == 2
        assert "--loss is needed, unless --from names a model" in capsys.readouterr().err
        assert status_of("train", *files, "--from", "old") == 0
        assert load_model(folder / "m.safetensors").card.loss == "fft"
        assert "does not learn the mean" not in capsys.readouterr().err
        assert status_of("train", *files, "--high", "high.tif", "--from", "old", "--sigma-small", 1) == 0
        card = load_model(folder / "m.safetensors").card
        assert (card.loss, card.loss_parameters) == ("bandpass", {"sigma_small": 1, "sigma_large": 4})

    def test_resume_continues_ends_at_once_or_starts(self, folder, capsys):
        budget = {"steps": ("--epochs", 2, "--steps-per-epoch", 2)}
        assert train("--resume", **budget) == 0
        capsys.readouterr()
        before = (folder / "m.safetensors").read_bytes()
        assert train("--resume", **budget) == 0
        assert "epoch" not in capsys.readouterr().out
        assert (folder / "m.safetensors").read_bytes() == before
        assert train("--resume", steps=("--epochs", 3, "--steps-per-epoch", 2)) == 0
        said = capsys.readouterr().out
        assert "epoch 3 step 6" in said
        assert "epoch 2" not in said
        assert train(**budget) == 0
        assert "epoch 1 step 2" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for the signal of Windows")
def test_ctrl_break_of_windows_ends_work_between_two_steps(monkeypatch):
    # one that ends no process by default, raised in this thread: late, it would otherwise end all tests here
    number = signal.SIGURG
    monkeypatch.setattr(signal, "SIGBREAK", number, raising=False)
    before = signal.getsignal(number)
    with stoppable(step for step in range(3)) as stopped:
        signal.raise_signal(number)
        assert stopped
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C reaches a process in another way there")
def test_ctrl_c_ends_a_training_that_resume_finishes(folder):
    save_model(folder / "tiny.safetensors")
    pair = ("--low", "low.tif", "--high", "high.tif")
    more = ("--from", "tiny.safetensors", "--out", "m.safetensors", *QUICK, "--steps-per-epoch", 50)
    running = ForkedProgram("train", *pair, "--loss", "mae", *more, "--epochs", 1_000_000)
    while "\n" not in running.said:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    assert running.said.startswith("epoch 1 step 50")
    running.send_signal(signal.SIGINT)
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    kept = "stopped: m.safetensors holds the best model so far; m.resume holds the training: repeat the command with"
    assert sum(line.startswith(kept) for line in said.splitlines()) == 1
    assert "Traceback" not in errors
    assert (folder / "m.resume").is_file()
    assert load_model(folder / "m.safetensors").card.training["steps"] >= 50
    epochs = said.count("epoch ")
    budget = ("--steps-per-epoch", 50, "--epochs", epochs + 1, "--resume", "--from", "tiny.safetensors")
    assert train(steps=budget) == 0
    assert load_model(folder / "m.safetensors").card.training["steps"] == 50 * (epochs + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C reaches a process in another way there")
@pytest.mark.parametrize("older", [False, True])
def test_ctrl_c_within_the_first_epoch_keeps_the_weights_unless_there_is_a_file(folder, older):
    if older:
        (folder / "m.safetensors").write_text("an older model")
    pair = ("--low", "low.tif", "--high", "high.tif")
    more = ("--out", "m.safetensors", *QUICK, "--steps-per-epoch", 100, "--steps", 100)
    done = run_forked("train", *pair, "--loss", "mae", *more, code=INTERRUPTED_IN_ITS_THIRD_STEP)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    said = done.stdout
    kept = (
        "no epoch was complete, so m.safetensors, which was there before, is unchanged"
        if older
        else "m.safetensors holds the weights after 3 steps, within the first epoch"
    )
    assert said == f"stopped: {kept}; m.resume holds the training: repeat the command with --resume to continue it\n"
    assert (folder / "m.resume").is_file()
    if older:
        assert (folder / "m.safetensors").read_text() == "an older model"
    else:
        assert load_model(folder / "m.safetensors").card.training["steps"] == 3
