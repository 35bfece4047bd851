"""What a training loss is: a class whose fields are its parameters; and what a training does with it."""

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
    """Base of the losses.

    Attributes
    ----------
    name : str
        Key in `LOSSES`.
    title : str
        Name shown to the user.
    predicts_scale : bool
        Whether the network needs the probabilistic head.
    free_above : float or None
        The loss leaves structure coarser than a Gaussian of this sigma free, in pixels, and the restoration ties it to
        the input (`napari_care_losses.restoration.low_band`); None where the loss determines everything.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    predicts_scale: ClassVar[bool] = False

    @property
    def free_above(self) -> float | None:  # noqa: D102 - documented by the class
        return None

    @abstractmethod
    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        prediction : Prediction
            Of shape (N, 1, Y, X).
        target : Tensor, (N, 1, Y, X)
            Clean patches.

        Returns
        -------
        Tensor, scalar
            Mean over batch and pixels.
        """

    def objective(self, *, device: torch.device, seed: int, team: Team | None = None) -> Objective:
        """Return what one training minimises: this loss alone, or with something that learns beside the network.

        Parameters
        ----------
        device : torch.device
            Where the network trains.
        seed : int
            Equal seeds give equal trainings.
        team : Team, optional
            The processes that train together.
        """
        return Objective(self)


class Objective:
    """What one training minimises. Of a plain loss it has no state; validation uses the loss itself.

    Parameters
    ----------
    loss : Loss
        The training loss.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def backward(self, prediction: Prediction, low: Tensor, target: Tensor) -> float:
        """Give the gradients of a batch to the network that made the prediction.

        Parameters
        ----------
        prediction : Prediction
            Of shape (N, 1, Y, X).
        low, target : Tensor, (N, 1, Y, X)
            Noisy and clean patches.

        Returns
        -------
        float
            The loss, to be reported; NaN or infinite where a gradient is.
        """
        value = self.loss(prediction, target)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def update(self, prediction: Prediction, low: Tensor, target: Tensor) -> None:
        """Learn from a batch whose gradients the network has been given."""

    def state(self) -> dict[str, Tensor]:
        """Return copies, on the processor, of all that `load_state` needs to go on exactly from here."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on where `state` was taken."""
