"""The base of the losses, and of what a training minimises."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from napari_care_losses.parameters import Parameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.models.unet import Prediction


@dataclass(frozen=True, kw_only=True)
class Loss(Parameters):
    """Base of the losses; a loss's parameters are its fields."""

    name: ClassVar[str]
    """Key in `LOSSES`."""
    title: ClassVar[str]
    """Name shown to the user."""
    predicts_scale: ClassVar[bool] = False
    """Whether the network needs the probabilistic head."""
    gives_mean: ClassVar[bool] = False
    """Whether the network learns the mean of noisy targets, or nearly so; others learn the median or something else."""

    is_pixelwise: ClassVar[bool] = False
    """Whether it is the mean of what each pixel gives by itself, so that pixels can be left out."""

    @property
    def free_above(self) -> float | None:
        """Sigma of a Gaussian, in pixels: structure coarser than that does not change the loss; None for no such.

        The restoration takes it from the input (`napari_care_losses.restoration.low_band`).
        """
        return None

    @abstractmethod
    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return the loss, a scalar: the mean over batch and pixels.

        Prediction and target (clean patches) are of shape (N, 1, Y, X), in normalised units. Pixelwise
        losses are also given those of some pixels alone, of shape (M,).
        """

    def objective(self, *, device: torch.device, seed: int, team: Team | None = None) -> Objective:
        """Return what a training minimises: this loss alone, unless a loss has a part that learns.

        That part has the random seed, and the processes of the team train it together.
        """
        return Objective(self)


class Objective:
    """What a training minimises: a loss, without state of its own. Validation uses the loss directly."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def backward(self, prediction: Prediction, low: Tensor, target: Tensor) -> float:
        """Backpropagate the loss of a batch to the network that made the prediction; return the loss to report.

        The prediction, the noisy (`low`) and the clean patches are of shape (N, 1, Y, X). The loss is NaN or infinite
        where a gradient is.
        """
        value = self.loss(prediction, target)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def update(self, prediction: Prediction, low: Tensor, target: Tensor) -> None:
        """Train the part that learns, after `backward`, on the same batch."""

    def state(self) -> dict[str, Tensor]:
        """Return copies, in the CPU's memory, of all that `load_state` needs to continue exactly."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from a `state`."""
