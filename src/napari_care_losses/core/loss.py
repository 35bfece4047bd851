"""What a training loss is: a class whose fields are the loss's parameters."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from napari_care_losses.core.parameters import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.core.network import Prediction


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
        the input (`napari_care_losses.core.low_band`); None where the loss determines everything.
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
