"""Training a model on pairs: an iterator of reports that can be closed at any step and resumed exactly."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import itertools
import math
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_care_losses.compute.devices import choose_device
from napari_care_losses.compute.distributed import Team, check_team
from napari_care_losses.compute.memory import freed_memory_kept, require_memory
from napari_care_losses.compute.precision import why_not
from napari_care_losses.compute.prefetch import prefetch
from napari_care_losses.errors import ComputeError, InputError
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.learned_noise import noise_statistics
from napari_care_losses.models.model import PROVENANCE, Model, ModelCard
from napari_care_losses.models.unet import copied_weights
from napari_care_losses.training import checkpoint as states
from napari_care_losses.training.learner import Learner, check_loss
from napari_care_losses.training.pairs import (
    check_neighbours,
    check_sizes,
    fingerprint,
    neighbour_provenance,
    split_pairs,
)
from napari_care_losses.training.parameters import TrainingParameters, check_patch_size
from napari_care_losses.training.patches import PatchSource, draw_batch, draw_validation
from napari_care_losses.training.progress import Epoch, Preparing, Report, RunProgress, Step
from napari_care_losses.training.targets.registry import TARGETS
from napari_care_losses.training.validation.intervals import with_intervals
from napari_care_losses.training.validation.preview import choose_view, make_preview
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.progress import Preview
    from napari_care_losses.training.validation.preview import PreviewRegion

MAX_NAMED_PAIRS = 100
"""Most pairs whose names a model's card holds."""


class Trainer:
    """Trains one network on pairs of images.

    Parameters
    ----------
    pairs : sequence of Pair
        Low and high exposures, or noisy images as the target of the parameters asks; split 4:1 by image into training
        and validation.
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
    provenance : mapping of str to str, optional
        How to train the model again, as `napari_care_losses.provenance.Record.texts` gives it, for its card.

    Raises
    ------
    InputError
        If there is no pair, all are too small, the target or the neighbours cannot be had of them, the model to start
        from reads other neighbours, the device does not exist or lacks the precision, or the team does not fit the
        batch.

    Examples
    --------
    >>> from napari_care_losses.losses.registry import LOSSES
    >>> from napari_care_losses.training.pairs import Pair
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.random((3, 24, 24))
    >>> pairs = [Pair(image + rng.normal(0, 0.2, image.shape), image, f"field {i}") for i, image in enumerate(clean)]
    >>> settings = TrainingParameters(
    ...     preset="lite", budget="steps", amount=4, steps_per_epoch=2, patch_size=16, batch_size=2
    ... )
    >>> trainer = Trainer(pairs, LOSSES["mae"](), settings, device="cpu")
    >>> [report.step for report in trainer.run() if isinstance(report, Epoch)]
    [2, 4]
    >>> trainer.model().card.training["steps"]
    4
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
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        self.team = team or Team()
        # a card holds no text of several lines
        self._provenance = {name: text.splitlines() for name, text in (provenance or {}).items()}
        self.parameters = parameters = parameters or TrainingParameters()
        self.loss = loss
        self._pairs = list(pairs)
        self._structure = structure
        self._origin = None if start_from is None else start_from.digest()
        self._device = torch.device(choose_device(device))
        self._rng = np.random.default_rng(parameters.seed)
        shape = PRESETS[parameters.preset] if start_from is None else start_from.card.care
        self._preset = parameters.preset if start_from is None else start_from.card.preset
        self._target = TARGETS[parameters.target]
        check_neighbours(self._pairs, parameters.neighbours, shape.neighbours if start_from else 0)
        self._architecture = dataclasses.replace(
            shape,
            predicts_scale=loss.predicts_scale,
            neighbours=parameters.neighbours,
            is_blind=self._target.is_blind,
        )
        if reason := why_not(parameters.precision, self._device):
            raise InputError(f"{reason}: choose the precision float32, or another device.")
        check_patch_size(parameters.patch_size, shape.block)
        check_sizes(self._pairs, parameters.patch_size)
        self._target.check_loss(loss)
        self._target.check(self._pairs)
        check_team(self.team, parameters.batch_size)
        self._learner = Learner(
            self._architecture, loss, parameters, start_from=start_from, device=self._device, team=self.team
        )
        self._progress = RunProgress()
        self._best = copied_weights(self._learner.network)
        self._sources: list[PatchSource] = []
        self._shares: list[Share] = []
        self._validation: list[Batch] = []
        self._view: PreviewRegion | None = None
        self._drawn: Iterator[tuple[Batch, np.random.Generator]] = iter(())

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self._progress.step

    @property
    def seconds(self) -> float:
        """Seconds of training and validation so far, those before a resumption included."""
        return self._progress.seconds

    @property
    def is_finished(self) -> bool:
        """Whether the budget is used up and the last epoch validated."""
        return self._fraction() >= 1.0 and not self._progress.epoch_losses

    @property
    def history(self) -> list[Epoch]:
        """The reports of all epochs so far, those before a resumption included."""
        return [Epoch(*values) for values in self._progress.history]

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
            self._drawn = stack.enter_context(closing(prefetch(self._batches())))
            while True:
                # Also before the first step, if the run was closed between an epoch's last step and its validation.
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

    def model(self, *, with_started_epoch: bool = True) -> Model:
        """Return the model of the lowest validation loss; the weights `with_started_epoch` are validated too."""
        progress, parameters = self._progress, self.parameters
        best_loss, weights = progress.best_loss, self._best
        if progress.epoch_losses and with_started_epoch:
            current_loss = self._learner.validate(self._validation)
            if current_loss < best_loss:
                best_loss, weights = current_loss, copied_weights(self._learner.result)
        training = {
            **parameters.to_dict(),
            **neighbour_provenance(self._pairs),
            "pairs": len(self._pairs),
            "names": [pair.name for pair in self._pairs[:MAX_NAMED_PAIRS]],
            "steps": progress.step,
            "seconds": round(progress.seconds, 1),
            "best_validation_loss": best_loss if math.isfinite(best_loss) else None,
            "started_from": self._origin,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "versions": {"napari-care-losses": __version__, "torch": torch.__version__},
            **({PROVENANCE: self._provenance} if self._provenance else {}),
        }
        card = ModelCard(
            structure=self._structure,
            loss=self.loss.name,
            loss_parameters=self.loss.to_dict(),
            preset=self._preset,
            architecture=self._architecture,
            training=training,
            statistics=noise_statistics([pair.low for pair in self._pairs]),
        )
        return Model(card, {name: values.numpy() for name, values in weights.items()})

    def calibrated(self) -> Model:
        """Return `model` with intervals that hold the true values of the validation images; none if the device fails.

        The images are restored for that, which takes seconds.
        """
        model = self.model()
        try:
            return with_intervals(model, self._shares, device=self._device.type)
        except ComputeError:
            return model

    def preview(self) -> Preview | None:
        """Restore a fixed region of a validation image with the present weights; the training does not change.

        None before the images have been read, and if no region has contrast or the memory is too small.
        """
        if self._view is None:
            return None
        try:
            return make_preview(self._view, self._learner.restore, self.loss)
        except ComputeError:
            return None

    def save_state(self, path: Path) -> None:
        """Write all that `load_state` needs to continue exactly here; raises as `checkpoint.write_state` does."""
        values = {
            "identity": self._identity(),
            "amount": self.parameters.amount,
            "structure": self._structure,
            "progress": dataclasses.asdict(self._progress),
            "plateau": self._learner.plateau.state_dict(),
            "learning_rate": self._learner.learning_rate,
            "rng": self._rng.bit_generator.state,
        }
        states.write_state(path, values, self._learner.pack(self._best))

    def load_state(self, path: Path) -> None:
        """Continue the run that wrote `path`; the budget may differ.

        Raises
        ------
        ResumeError
            If the file is damaged, or was written with other pairs, loss or settings.
        """
        values, tensors = states.read_state(path)
        states.check_identity(values["identity"], self._identity())
        if not self._sources:
            for _ in self._prepare():
                pass
        with states.readable(path):
            self._best = self._learner.unpack(tensors, states.plateau_of(values))
            self._learner.learning_rate = float(values["learning_rate"])
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
        self._shares = shares = split_pairs(self._pairs, parameters.patch_size, self._rng)
        for done, share in enumerate(shares, 1):
            source = PatchSource(share, parameters, self._rng)
            (validation if share.validates else training).append(source)
            yield Preparing(min(done, total), total)
        self._view = choose_view(shares, self._architecture.block, self._target)
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
        """Yield batches without end, each with the random generator as it is after drawing it.

        Batches are drawn ahead of the steps: a resumed run continues after the last batch used, not the last one drawn.
        """
        rng, count = self._rng, self.team.share(self.parameters.batch_size)
        if self.team.size > 1:
            # Every process and step has its own generator: a state need not hold those of all processes.
            for step in itertools.count(self._progress.step):
                own = np.random.default_rng([self.parameters.seed, 2, self.team.rank, step])
                yield draw_batch(self._sources, count, own), rng
        while True:
            rng = copy.deepcopy(rng)
            yield draw_batch(self._sources, count, rng), rng

    def _step(self) -> float:
        """Take one step and return its loss."""
        with self._learner.failures():
            batch, self._rng = next(self._drawn)
        if self.parameters.budget != "epochs":
            falling = 0.5 * (1 + math.cos(math.pi * self._fraction()))
            self._learner.learning_rate = self.parameters.learning_rate * falling
        return self._learner.step(batch, self._progress)

    def _step_report(self, value: float, first_step: int, first_seconds: float) -> Step:
        progress, fraction = self._progress, self._fraction()
        speed = (progress.step - first_step) / max(progress.seconds - first_seconds, 1e-9)
        seconds_left = progress.seconds * (1 - fraction) / fraction if fraction else math.inf
        return Step(progress.step, fraction, value, speed, seconds_left, self._learner.learning_rate)

    def _end_epoch(self) -> Epoch:
        progress, begun = self._progress, time.perf_counter()
        validation_loss = self.team.from_first(self._learner.validate(self._validation) if self.team.is_first else 0.0)
        rate = self._learner.learning_rate
        check_loss(validation_loss, progress, rate)
        is_best = validation_loss < progress.best_loss
        if is_best:
            progress.best_loss, self._best = validation_loss, copied_weights(self._learner.result)
        if self.parameters.budget == "epochs":
            self._learner.plateau.step(validation_loss)
        training_loss = math.fsum(progress.epoch_losses) / len(progress.epoch_losses)
        progress.epoch_losses = []
        epoch = Epoch(len(progress.history) + 1, progress.step, training_loss, validation_loss, rate, is_best)
        progress.history.append(list(epoch))
        progress.seconds = self.team.from_first(progress.seconds + time.perf_counter() - begun)
        return epoch
