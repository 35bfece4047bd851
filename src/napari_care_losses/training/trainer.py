"""Training a model on pairs: an iterator of reports that can be closed at any step and resumed exactly."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import time
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_care_losses.compute import optimizer_state
from napari_care_losses.compute.allocation import freed_memory_kept
from napari_care_losses.compute.devices import choose_device
from napari_care_losses.compute.distributed import Team, check_team
from napari_care_losses.compute.memory import require_memory
from napari_care_losses.compute.prefetch import ahead
from napari_care_losses.errors import ComputeError, ResumeError
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.match import summarize_images
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork, copied_weights, training_layout
from napari_care_losses.training import checkpoint as states
from napari_care_losses.training.averaging import WeightAverage
from napari_care_losses.training.divergence import check_loss
from napari_care_losses.training.pairs import fingerprint, split_pairs
from napari_care_losses.training.parameters import DEFAULT_STEPS_PER_EPOCH, TrainingParameters, check_patch_size
from napari_care_losses.training.patches import PatchSource, draw_batch, draw_validation
from napari_care_losses.training.progress import Epoch, Preparing, Report, Step
from napari_care_losses.training.provenance import provenance
from napari_care_losses.training.validation_preview import choose_view, make_preview

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.progress import Preview
    from napari_care_losses.training.validation_preview import View

__all__ = ["DEFAULT_STEPS_PER_EPOCH", "Epoch", "Preparing", "Report", "Step", "Trainer", "TrainingParameters"]

PLATEAU_PATIENCE = 9
"""Epochs without a better validation loss before the rate halves: Keras halves at the 10th, torch after the 9th."""


class Trainer:
    """Trains one network on pairs of images.

    Parameters
    ----------
    pairs : sequence of Pair
        Low and high exposures; split 4:1 by image into training and validation.
    loss : Loss
        The training loss.
    parameters : TrainingParameters, optional
        The paper's by default.
    structure : str
        What the images show, for the model's card.
    start_from : Model, optional
        Model whose weights to start from (fine-tuning); it decides the architecture.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    team : Team, optional
        The processes that train together; all of them are given the same pairs, loss and parameters.

    Raises
    ------
    InputError
        If there is no pair, an image is too small, the device does not exist, or the team does not fit the batch.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        loss: Loss,
        parameters: TrainingParameters | None = None,
        *,
        structure: str = "other",
        start_from: Model | None = None,
        device: str = "auto",
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        self.parameters = parameters = parameters or TrainingParameters()
        self.loss = loss
        self._pairs = list(pairs)
        self._structure = structure
        self._origin = None if start_from is None else start_from.digest()
        self._device = choose_device(device)
        generator = torch.Generator().manual_seed(parameters.seed)
        self._rng = np.random.default_rng(parameters.seed)
        shape = PRESETS[parameters.preset] if start_from is None else start_from.card.care
        self._preset = parameters.preset if start_from is None else start_from.card.preset
        self._architecture = dataclasses.replace(shape, predicts_scale=loss.predicts_scale)
        check_patch_size(parameters.patch_size, shape.block)
        network = CareNetwork(self._architecture, generator)
        if start_from is not None:
            shared = {name: value for name, value in start_from.weights.items() if name in network.state_dict()}
            network.load_state_dict({**network.state_dict(), **shared})
        layout = training_layout(self._architecture, self._device)
        self._network = network.to(self._device, memory_format=layout)  # type: ignore[call-overload]
        self._average = WeightAverage(self._network) if parameters.average_weights else None
        self._optimizer = torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, eps=1e-7)
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, factor=0.5, patience=PLATEAU_PATIENCE, threshold=0.0
        )
        self._objective = loss.objective(device=self._device, seed=parameters.seed, team=self.team)
        check_team(self.team, parameters.batch_size)
        self._progress = states.RunProgress()
        self._best = copied_weights(network)
        self._sources: list[PatchSource] = []
        self._validation: list[Batch] = []
        self._view: View | None = None
        self._drawn: Iterator[tuple[Batch, np.random.Generator]] = iter(())

    @property
    def has_started(self) -> bool:
        """Whether a step was taken."""
        return self._progress.step > 0

    @property
    def is_finished(self) -> bool:
        """Whether the budget is used up and the last epoch validated."""
        return self._fraction() >= 1.0 and not self._progress.epoch_losses

    @property
    def history(self) -> list[Epoch]:
        """The reports of all epochs so far, those before a resumption included."""
        return [Epoch(*values) for values in self._progress.history]

    @property
    def _result(self) -> CareNetwork:
        """The network that a model is made of: the one trained, or the average of its weights."""
        return self._network if self._average is None else self._average.network

    @cached_property
    def _image_statistics(self) -> dict[str, Any]:
        return summarize_images([pair.low for pair in self._pairs])

    def run(self) -> Generator[Report, None, None]:
        """Train until the budget is used up; close the iterator to stop, call again to go on.

        Yields
        ------
        Preparing, Step or Epoch
            One a step, and one more at the end of every epoch.

        Raises
        ------
        TrainingDivergedError
            If the loss became NaN, infinite or huge; `model` still gives the best weights before that.
        ComputeError
            If the device fails, or has less memory than a step takes.
        """
        if not self._sources:
            yield from self._prepare()
        progress, started = self._progress, (self._progress.step, self._progress.seconds)
        with ExitStack() as stack:
            if self._device.type == "cpu":
                stack.enter_context(freed_memory_kept())
            self._drawn = stack.enter_context(closing(ahead(self._batches())))
            while True:
                # Also true at once where the run was closed between an epoch's last step and its validation.
                if self._epoch_is_over():
                    yield self._end_epoch()
                if self.is_finished:
                    return
                begun = time.perf_counter()
                value = self._step()
                progress.step += 1
                progress.epoch_losses.append(value)
                progress.seconds = self.team.from_first(progress.seconds + time.perf_counter() - begun)
                yield self._step_report(value, *started)

    def model(self) -> Model:
        """Return the model of the lowest validation loss so far, the weights of a started epoch included."""
        progress = self._progress
        best_loss, weights = progress.best_loss, self._best
        if progress.epoch_losses:
            current_loss = self._validate()
            if current_loss < best_loss:
                best_loss, weights = current_loss, copied_weights(self._result)
        card = ModelCard(
            structure=self._structure,
            loss=self.loss.name,
            loss_parameters=self.loss.to_dict(),
            preset=self._preset,
            architecture=self._architecture,
            training=provenance(self.parameters, self._pairs, progress, best_loss=best_loss, started_from=self._origin),
            statistics=self._image_statistics,
        )
        return Model(card, weights)

    def preview(self) -> Preview | None:
        """Restore a fixed region of a validation image with the weights as they stand; the training does not change.

        None before the images have been read, or where a region with contrast, or the memory for it, is missing.
        """
        if self._view is None:
            return None
        low = torch.from_numpy(self._view.low)[None, None].to(self._device)
        network = self._result.eval()
        try:
            with self._failures(), torch.inference_mode():
                restored = network(low).mean[0, 0].float().cpu().numpy()
        except ComputeError:
            return None
        return make_preview(self._view, restored, self.loss)

    def save_state(self, path: Path) -> None:
        """Write all that `load_state` needs to go on exactly where this run stands.

        Raises
        ------
        InputError
            If the folder does not exist.
        OutputError
            If the file cannot be written.
        """
        average = None if self._average is None else copied_weights(self._average.network)
        tensors = optimizer_state.pack_tensors(
            copied_weights(self._network), self._best, self._optimizer.state_dict(), average, self._objective.state()
        )
        values = {
            "identity": self._identity(),
            "amount": self.parameters.amount,
            "structure": self._structure,
            "progress": dataclasses.asdict(self._progress),
            "plateau": self._plateau.state_dict(),
            "learning_rate": self._learning_rate,
            "rng": self._rng.bit_generator.state,
        }
        states.write_state(path, values, tensors)

    def load_state(self, path: Path) -> None:
        """Go on where the run that wrote `path` stood; the budget may be another one.

        Raises
        ------
        ResumeError
            If the file is damaged, or was written with other pairs, loss or settings.
        """
        values, tensors = states.read_state(path)
        mine, found = self._identity(), values["identity"]
        differing = sorted(key for key in mine if found.get(key) != mine[key])
        if differing:
            raise ResumeError(
                f"The stopped training had another {', '.join(differing)}: give the same, or start afresh."
            )
        if not self._sources:
            for _ in self._prepare():
                pass
        with states.readable(path):
            weights, self._best, moments, average, objective = optimizer_state.unpack_tensors(
                tensors, self._network.state_dict()
            )
            self._network.load_state_dict(weights)
            if self._average is not None:
                self._average.network.load_state_dict(average)
            self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})
            self._objective.load_state(objective)
            self._plateau.load_state_dict(states.plateau_of(values))
            self._set_learning_rate(float(values["learning_rate"]))
            self._progress = states.progress_of(values)
            self._rng.bit_generator.state = values["rng"]

    def _identity(self) -> dict[str, Any]:
        """Return what must be equal for a run to be resumed, the budget left out."""
        settings = self.parameters.to_dict()
        settings.pop("amount")
        return {
            "loss": {"name": self.loss.name, **self.loss.to_dict()},
            "pairs": fingerprint(self._pairs),
            "starting model": self._origin,
            **settings,
        }

    def _prepare(self) -> Iterator[Preparing]:
        parameters, total = self.parameters, len(self._pairs)
        training: list[PatchSource] = []
        validation: list[PatchSource] = []
        yield Preparing(0, total)
        shares = split_pairs(self._pairs, parameters.patch_size, self._rng)
        for done, share in enumerate(shares, 1):
            source = PatchSource(share, parameters, self._rng)
            (validation if share.validates else training).append(source)
            yield Preparing(min(done, total), total)
        self._view = choose_view(shares, self._architecture.block)
        self._validation = draw_validation(validation, parameters)
        if self._device.type == "cpu":
            each, count = self._architecture.step_memory_per_pixel * parameters.patch_size**2, parameters.batch_size
            require_memory(each * self.team.share(count), "training", "choose a smaller batch or patch")
        self._sources = training

    def _fraction(self) -> float:
        return self.parameters.fraction(self._progress.step, self._progress.seconds)

    def _epoch_is_over(self) -> bool:
        steps = len(self._progress.epoch_losses)
        return steps >= self.parameters.steps_per_epoch or (steps > 0 and self._fraction() >= 1.0)

    def _batches(self) -> Generator[tuple[Batch, np.random.Generator], None, None]:
        """Yield batches without end, each with the random generator as it stood after it.

        They are drawn ahead of the steps: the run stands where the last batch used was drawn, not the last one drawn.
        """
        rng, count = self._rng, self.team.share(self.parameters.batch_size)
        if self.team.size > 1:
            # A generator of its own for every process and step: a state need not hold those of all processes.
            for step in itertools.count(self._progress.step):
                own = np.random.default_rng([self.parameters.seed, 2, self.team.rank, step])
                yield draw_batch(self._sources, count, own), rng
        while True:
            rng = copy.deepcopy(rng)
            yield draw_batch(self._sources, count, rng), rng

    def _step(self) -> float:
        """Take one step and return its loss."""
        with self._failures():
            batch, self._rng = next(self._drawn)
            return self._optimize(batch)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Translate the libraries' errors: the viewer's workers drop a `RuntimeError` in silence."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            raise ComputeError(
                f"Training failed on the {self._device.type} device ({error or 'out of memory'}). "
                "If memory ran out, choose a smaller batch or patch, or close other programs."
            ) from error

    def _optimize(self, batch: Batch) -> float:
        low, high = self._to_device(batch)
        if self.parameters.budget != "epochs":
            falling = 0.5 * (1 + math.cos(math.pi * self._fraction()))
            self._set_learning_rate(self.parameters.learning_rate * falling)
        self._network.train()
        self._optimizer.zero_grad()
        prediction = self._network(low)
        value = self._objective.backward(prediction, low, high)
        value = self.team.average(self._network.parameters(), value, len(low) / self.parameters.batch_size)
        check_loss(value, self._progress, self._learning_rate, batch)
        self._objective.update(prediction, low, high)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self._progress.step + 1)
        return value

    def _step_report(self, value: float, first_step: int, first_seconds: float) -> Step:
        progress, fraction = self._progress, self._fraction()
        speed = (progress.step - first_step) / max(progress.seconds - first_seconds, 1e-9)
        seconds_left = progress.seconds * (1 - fraction) / fraction if fraction else math.inf
        return Step(progress.step, fraction, value, speed, seconds_left, self._learning_rate)

    def _end_epoch(self) -> Epoch:
        progress, begun = self._progress, time.perf_counter()
        validation_loss = self.team.from_first(self._validate() if self.team.is_first else 0.0)
        rate = self._learning_rate
        check_loss(validation_loss, progress, rate)
        is_best = validation_loss < progress.best_loss
        if is_best:
            progress.best_loss, self._best = validation_loss, copied_weights(self._result)
        if self.parameters.budget == "epochs":
            self._plateau.step(validation_loss)
        training_loss = math.fsum(progress.epoch_losses) / len(progress.epoch_losses)
        progress.epoch_losses = []
        epoch = Epoch(len(progress.history) + 1, progress.step, training_loss, validation_loss, rate, is_best)
        progress.history.append(list(epoch))
        progress.seconds = self.team.from_first(progress.seconds + time.perf_counter() - begun)
        return epoch

    def _validate(self) -> float:
        network = self._result.eval()
        total = count = 0.0
        with self._failures(), torch.inference_mode():
            for batch in self._validation:
                low, high = self._to_device(batch)
                total += self.loss(network(low), high).item() * len(low)
                count += len(low)
        return total / count

    def _to_device(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = (torch.from_numpy(images).to(self._device) for images in batch)
        return low, high

    @property
    def _learning_rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def _set_learning_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
