"""The network that is trained and all that a training step changes: optimizer, averaged weights, learning rate."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from napari_care_losses.compute import optimizer_state
from napari_care_losses.compute.precision import FLOAT32, computing_in
from napari_care_losses.errors import ComputeError, TrainingDivergedError
from napari_care_losses.models.unet import CareNetwork, Prediction, copied_weights, training_layout, widened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.compute.optimizer_state import Tensors
    from napari_care_losses.losses.base import Loss
    from napari_care_losses.models.architecture import Architecture
    from napari_care_losses.models.model import Model
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.progress import RunProgress

PLATEAU_PATIENCE = 9
"""Epochs without a better validation loss before the rate halves: Keras halves at the 10th, torch after the 9th."""

DECAY = 0.999
"""Largest share of the average that a step keeps."""

EXPLODED = 1e4
"""A loss above which training does not recover: losses of normalised images are about 1 at most."""

BROKEN_PIXEL = 1e3
"""A normalised pixel value above which a broken image is the probable cause."""


class Learner:
    r"""A network on its device, with its optimizer (Adam) and, if asked for, the average of its weights.

    The average is the exponential moving average

    .. math:: \bar w \leftarrow d \bar w + (1 - d) w, \quad d = \min(0.999, (1 + n) / (10 + n))

    after step n, counted from 1, so that the first steps are soon forgotten.
    Source: Polyak and Juditsky 1992, doi:10.1137/0330046 (averaging); Tarvainen and Valpola 2017, arXiv:1703.01780.

    Parameters as in `Trainer`; of a model to start from, the weights that both networks have are taken: one of single
    frames restores at first as it did, whatever its neighbours show.
    """

    def __init__(
        self,
        architecture: Architecture,
        loss: Loss,
        parameters: TrainingParameters,
        *,
        start_from: Model | None,
        device: torch.device,
        team: Team,
    ) -> None:
        self._loss, self._batch_size, self._device, self._team = loss, parameters.batch_size, device, team
        self._own, self._precision = architecture.own_channel, parameters.precision
        network = CareNetwork(architecture, torch.Generator().manual_seed(parameters.seed))
        if start_from is not None:
            weights = widened(start_from.weights, architecture)
            shared = {name: value for name, value in weights.items() if name in network.state_dict()}
            network.load_state_dict({**network.state_dict(), **shared})
        layout = training_layout(architecture, device)
        self.network: CareNetwork = network.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False) if parameters.average_weights else None
        self.optimizer = torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, eps=1e-7)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=0.5, patience=PLATEAU_PATIENCE, threshold=0.0
        )
        self.objective = loss.objective(device=device, seed=parameters.seed, team=team)

    @property
    def result(self) -> CareNetwork:
        """The network that a model is made of: the one trained, or the average of its weights."""
        return self.network if self.average is None else self.average

    @property
    def learning_rate(self) -> float:
        """Rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def step(self, batch: Batch, progress: RunProgress) -> float:
        """Take one step and return its loss.

        Raises
        ------
        TrainingDivergedError
            If the loss is NaN, infinite or huge; the weights do not change.
        ComputeError
            If the device fails.
        """
        with self.failures():
            low, high = self._to_device(batch)
            self.network.train()
            self.optimizer.zero_grad()
            prediction, high = _where_known(self._predicted(low), high)
            frame = low[:, self._own : self._own + 1]
            value = self.objective.backward(prediction, frame, high)
            value = self._team.average(self.network.parameters(), value, len(low) / self._batch_size)
            check_loss(value, progress, self.learning_rate, batch)
            self.objective.update(prediction, frame, high)
            self.optimizer.step()
            if self.average is not None:
                self.update_average(progress.step + 1)
            return value

    def _predicted(self, low: torch.Tensor) -> Prediction:
        """Return what the network gives for a batch, in float32, whatever it multiplies in: losses are sums of many."""
        if self._precision == FLOAT32:
            return cast("Prediction", self.network(low))
        with computing_in(self._precision, self._device):
            mean, scale = self.network(low)
        return Prediction(mean.float(), None if scale is None else scale.float())

    @torch.no_grad()
    def update_average(self, step: int) -> None:
        """Take the weights after step `step`, counted from 1, into the average."""
        assert self.average is not None
        decay = min(DECAY, (1 + step) / (10 + step))
        averaged, trained = (
            cast("list[torch.Tensor]", list(network.parameters())) for network in (self.average, self.network)
        )
        torch._foreach_lerp_(averaged, trained, 1 - decay)

    def validate(self, batches: Sequence[Batch]) -> float:
        """Return the mean loss over batches; raises as `step` does."""
        network = self.result.eval()
        total = count = 0.0
        with self.failures(), torch.inference_mode():
            for batch in batches:
                low, high = self._to_device(batch)
                total += self._loss(*_where_known(network(low), high)).item() * len(low)
                count += len(low)
        return total / count

    def restore(self, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restore a normalised image (Y, X), with neighbours (1 + neighbours, Y, X), with the weights as they stand.

        Raises as `step` does.
        """
        network = self.result.eval()
        with self.failures(), torch.inference_mode():
            image = torch.from_numpy(low).reshape(1, -1, *low.shape[-2:]).to(self._device)
            restored: NDArray[np.float32] = network(image).mean[0, 0].float().cpu().numpy()
        return restored

    def pack(self, best: Tensors) -> Tensors:
        """Return all tensors that a resumed run needs, the best weights so far among them."""
        average = None if self.average is None else copied_weights(self.average)
        return optimizer_state.pack_tensors(
            copied_weights(self.network), best, self.optimizer.state_dict(), average, self.objective.state()
        )

    def unpack(self, tensors: Tensors, plateau: dict[str, Any]) -> Tensors:
        """Take over what `pack` returned, and the plateau's counts; return the best weights.

        A KeyError, ValueError or RuntimeError is raised if the tensors are those of another network.
        """
        weights, best, moments, average, objective = optimizer_state.unpack_tensors(tensors, self.network.state_dict())
        self.network.load_state_dict(weights)
        if self.average is not None:
            self.average.load_state_dict(average)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.objective.load_state(objective)
        self.plateau.load_state_dict(plateau)
        return best

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Translate the libraries' errors: the viewer's workers drop a `RuntimeError` in silence."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            raise ComputeError(
                f"Training failed on the {self._device.type} device ({error or 'out of memory'}). "
                "If memory ran out, choose a smaller batch or patch, or close other programs."
            ) from error

    def _to_device(self, batch: Batch) -> list[torch.Tensor]:
        return [torch.from_numpy(images).to(self._device) for images in batch]


def _where_known(prediction: Prediction, target: torch.Tensor) -> tuple[Prediction, torch.Tensor]:
    """Return prediction and target at the pixels (M,) where the target is not NaN; unchanged where there is no NaN."""
    unknown = target.isnan()
    if not unknown.any():
        return prediction, target
    scale = None if prediction.scale is None else prediction.scale[~unknown]
    return Prediction(prediction.mean[~unknown], scale), target[~unknown]


def check_loss(value: float, progress: RunProgress, rate: float, batch: Batch | None = None) -> None:
    """Check the loss of a step, given its batch, or of a validation; `progress` is that before the step.

    Raises
    ------
    TrainingDivergedError
        If it is NaN, infinite or huge; says when, the probable cause, and what is kept.
    """
    if math.isfinite(value) and abs(value) < EXPLODED:
        return
    which, step = ("validation loss", progress.step) if batch is None else ("loss", progress.step + 1)
    before = ", ".join(f"{loss:.3g}" for loss in progress.epoch_losses[-3:])
    when = f"at step {step}, in epoch {len(progress.history) + 1}" + (f", after {before}" if before else "")
    kept = "No epoch was completed before it, so there is no model."
    if progress.history:
        kept = f"The best weights before it are kept, of validation loss {progress.best_loss:.4g}."
    raise TrainingDivergedError(f"The {which} became {value:.3g} {when}. {_cause(rate, batch)} {kept}")


def _cause(rate: float, batch: Batch | None) -> str:
    for which, patches in zip(("low", "high"), batch or (), strict=False):
        # pixels of a target that are not learnt from are NaN
        known = patches if which == "low" else patches[~np.isnan(patches)]
        highest = float(np.abs(known).max()) if known.size else math.nan
        if not highest < BROKEN_PIXEL:
            what = f"a value {highest:.0f} times its image's range" if math.isfinite(highest) else "NaN"
            return f"A {which} patch of that step holds {what}: look for broken images among the pairs."
    return f"The patches are sound, so the weights diverged: lower the learning rate, {rate:.2g} at that step."
