"""The table of targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.training.targets.blind_spots import BlindSpots
from napari_care_losses.training.targets.clean import Clean
from napari_care_losses.training.targets.neighbours import Neighbours
from napari_care_losses.training.targets.next_frame import NextFrame
from napari_care_losses.training.targets.own_photons import OwnPhotons
from napari_care_losses.training.targets.shot import Shot

if TYPE_CHECKING:
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
