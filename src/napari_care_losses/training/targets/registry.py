"""The table of targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.losses.registry import LOSSES, loss_class
from napari_care_losses.training.targets.blind_spots import BlindSpots
from napari_care_losses.training.targets.clean import Clean
from napari_care_losses.training.targets.neighbours import Neighbours
from napari_care_losses.training.targets.next_frame import NextFrame
from napari_care_losses.training.targets.own_photons import OwnPhotons
from napari_care_losses.training.targets.shot import Shot

if TYPE_CHECKING:
    from napari_care_losses.losses.base import Loss
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.training.targets.base import Target

TARGETS: dict[str, Target] = {
    target.name: target for target in (Clean(), Shot(), NextFrame(), Neighbours(), OwnPhotons(), BlindSpots())
}
"""Every target by its name.

Examples
--------
>>> list(TARGETS)
['clean', 'shot', 'next', 'neighbours', 'self', 'blind_spots']
"""


def suited_loss(target: str, loss: Loss) -> Loss:
    """Return a loss that suits what the network learns from: the one given if it does, else FFT, else another.

    Examples
    --------
    >>> suited_loss("clean", LOSSES["laplace"]()).name, suited_loss("self", LOSSES["laplace"]()).name
    ('laplace', 'fft')
    >>> suited_loss("blind_spots", LOSSES["fft"]()).name
    'mse'
    """
    others = (LOSSES[name]() for name in ("fft", "mse", *LOSSES))
    return next((one for one in (loss, *others) if _suits(target, one)), loss)


def _suits(target: str, loss: Loss) -> bool:
    """Return whether a target can be learnt with a loss, and nothing speaks against it."""
    try:
        TARGETS[target].check_loss(loss)
    except InputError:
        return False
    return not TARGETS[target].loss_remark(loss)


def fine_tuning_loss(card: ModelCard, target: str) -> Loss:
    """Return the loss to train a model further with: its own if that suits what the network learns from, else FFT.

    Examples
    --------
    >>> from napari_care_losses.models.library import find_model
    >>> from napari_care_losses.models.model import read_card
    >>> card = read_card(find_model("laplace-lite"))
    >>> fine_tuning_loss(card, "clean").name, fine_tuning_loss(card, "self").name
    ('laplace', 'fft')
    """
    try:
        own = loss_class(card.loss).from_dict(card.loss_parameters)
    except CareError:
        # of a model of another tool
        own = LOSSES["fft"]()
    return suited_loss(target, own)
