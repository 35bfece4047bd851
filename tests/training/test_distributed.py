"""Training in several processes: shared batches, averaged gradients, one writer."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from fixtures.cli_runs import names, write
from fixtures.toy_trainings import finished, make_pairs

from napari_care_losses.cli.train import _show
from napari_care_losses.compute.distributed import Team, joined
from napari_care_losses.errors import InputError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.model import load_model
from napari_care_losses.models.unet import Prediction
from napari_care_losses.training.learner import Learner
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch, Preview, Step
from napari_care_losses.training.trainer import Trainer

QUICK = {"preset": "lite", "patch_size": 16, "batch_size": 3, "validation_patches": 2, "steps_per_epoch": 2}


class Member(Team):
    """A process of a team whose others are not there."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def trainer(team, loss="mae", **settings):
    parameters = TrainingParameters(**QUICK | {"budget": "steps", "amount": 4} | settings)
    return Trainer(make_pairs(), LOSSES[loss](), parameters, device="cpu", team=team)


def drawn(team, monkeypatch, steps=4):
    """Return the batches a process trains on."""
    batches = []
    step = Learner.step

    def noting(self, batch, progress):
        batches.append(batch)
        return step(self, batch, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", noting)
        finished(trainer(team, amount=steps))
    return [low for low, _ in batches]


def test_a_batch_is_shared_and_every_process_draws_its_own(monkeypatch):
    alone, first, second = (drawn(team, monkeypatch) for team in (Team(), Member(0, 2), Member(1, 2)))
    assert [len(batch) for batch in (alone[0], first[0], second[0])] == [3, 2, 1]
    assert [Member(rank, 4).share(6) for rank in range(4)] == [2, 2, 1, 1]
    kinds = {batch.tobytes() for batches in (alone, first, second) for step in batches for batch in step}
    assert len(kinds) == 4 * 3 + 4 * 3
    again = drawn(Member(1, 2), monkeypatch)
    assert all(np.array_equal(one, other) for one, other in zip(second, again, strict=True))


def test_a_batch_smaller_than_the_team_is_refused():
    with pytest.raises(InputError, match="A batch of 3 patches cannot be shared by 4 processes"):
        trainer(Member(0, 4))


class Threads(Team):
    """A process of a team of threads, which exchange what they say."""

    def __init__(self, rank, size, barrier, said):
        self.rank, self.size, self._barrier, self._said = rank, size, barrier, said

    def total(self, values):
        self._said[self.rank] = list(values)
        self._barrier.wait()
        sums = [sum(column) for column in zip(*self._said, strict=True)]
        self._barrier.wait()
        return sums

    def average(self, parameters, value, weight):
        gradients = [one.grad for one in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients]) * weight
        summed = torch.tensor(self.total([*flat.tolist(), value * weight]))
        *parts, total = torch.split(summed, [*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return float(total)


def test_an_adversarial_step_of_two_is_that_of_one_with_the_whole_batch():
    rng = torch.Generator().manual_seed(0)
    low, restored, true = (torch.rand(5, 1, 16, 16, generator=rng) for _ in range(3))
    loss = LOSSES["gan"](discriminator_filters=8)

    def step(part, team):
        objective = loss.objective(device=torch.device("cpu"), seed=0, team=team)
        gradients = []
        for _ in range(2):
            leaf = restored[part].clone().requires_grad_()
            objective.backward(Prediction(leaf, None), low[part], true[part])
            objective.update(Prediction(leaf, None), low[part], true[part])
            gradients.append(leaf.grad)
        return gradients, objective.state()

    whole, state = step(slice(None), Team())
    barrier, said = threading.Barrier(2), [None, None]
    parts = slice(0, 3), slice(3, 5)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda rank: step(parts[rank], Threads(rank, 2, barrier, said)), range(2)))
    for number, gradient in enumerate(whole):
        # the mean over a share; the network's gradients are averaged by the shares' sizes
        shared = torch.cat([gradients[number] * len(gradients[number]) / 5 for gradients, _ in found])
        torch.testing.assert_close(shared, gradient, rtol=1e-3, atol=1e-7)
    for _, other in found:
        for name, value in state.items():
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("set_by_others", [{}, {"WORLD_SIZE": "4"}, {"RANK": "0", "WORLD_SIZE": "1"}])
def test_without_the_launcher_it_is_one_process(monkeypatch, set_by_others):
    for name, value in set_by_others.items():
        monkeypatch.setenv(name, value)
    with joined("cpu") as team:
        assert type(team) is Team
        assert not torch.distributed.is_initialized()


def test_processes_ask_each_other_as_often_though_one_alone_makes_previews():
    class Counting(Team):
        def __init__(self, rank):
            self.rank, self.size, self.asked = rank, 2, 0

        def any(self, flag):
            self.asked += 1
            return flag

    image = np.zeros((4, 4), np.float32)
    step, epoch = Step(1, 0.5, 0.1, 1.0, 1.0), Epoch(1, 1, 0.1, 0.1, 1e-3, True)
    preview = Preview(image, image, None, np.nan, np.nan)
    teams = Counting(0), Counting(1)
    for team, reports in zip(teams, ([step, preview, epoch, preview], [step, epoch]), strict=True):
        _show(iter(reports), [], team, [])
    assert [team.asked for team in teams] == [2, 2]


@pytest.mark.slow
class TestLauncher:
    @pytest.fixture
    def pairs(self, tmp_path, monkeypatch):
        rng = np.random.default_rng(0)
        high = 100 + 800 * rng.random((6, 24, 24)).repeat(4, 1).repeat(4, 2)
        write(tmp_path / "high.tif", high.astype(np.float32))
        write(tmp_path / "low.tif", (high + rng.normal(0, 150, high.shape)).astype(np.float32))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def command(self, processes, out, *more, steps=80, loss="mae"):
        module = ["-m", "napari_care_losses.cli.main"]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        settings = f"--loss {loss} --recipe paper --preset lite --patch-size 32 --batch-size 8 --steps-per-epoch 20"
        files = f"--validation-patches 16 --low low.tif --high high.tif --device cpu --steps {steps} --out {out}"
        return [
            sys.executable,
            *(launcher + module if processes > 1 else module),
            "train",
            *f"{settings} {files}".split(),
            *more,
        ]

    def train(self, *arguments, **options):
        return subprocess.run(
            self.command(*arguments, **options), capture_output=True, text=True, timeout=900, env=self.environment()
        )

    def environment(self):
        return {**os.environ, "OMP_NUM_THREADS": "1"}

    @pytest.mark.parametrize("loss", ["mae", "gan"])
    def test_two_processes_reach_the_loss_of_one(self, pairs, loss):
        losses = {}
        for processes in (1, 2):
            done = self.train(processes, f"{processes}.safetensors", loss=loss)
            assert done.returncode == 0, done.stderr
            # said once, by the first process
            assert len(re.findall("^epoch 4 step 80", done.stdout, re.MULTILINE)) == 1
            training = load_model(pairs / f"{processes}.safetensors").card.training
            losses[processes] = training["best_validation_loss"]
        assert losses[2] == pytest.approx(losses[1], rel=0.1)
        written = [f"{processes}.{end}" for processes in (1, 2) for end in ("resume", "safetensors", "training.csv")]
        assert names(pairs) == [*written, "high.tif", "low.tif"]

    def test_a_stopped_training_is_resumed_exactly(self, pairs):
        assert self.train(2, "whole.safetensors", steps=60).returncode == 0
        process = subprocess.Popen(
            self.command(2, "parts.safetensors", steps=60),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not (pairs / "parts.resume").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
        assert "stopped: parts.safetensors holds the best model so far" in said
        assert load_model(pairs / "parts.safetensors").card.training["steps"] < 60
        again = self.train(2, "parts.safetensors", "--resume", steps=60)
        assert again.returncode == 0, again.stderr
        whole, parts = (load_model(pairs / f"{name}.safetensors") for name in ("whole", "parts"))
        for name, value in whole.weights.items():
            assert torch.equal(value, parts.weights[name]), name
