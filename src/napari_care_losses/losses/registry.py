"""The table of losses.

To add a loss, write a class in a module of this folder and add it to `LOSSES`: forms, command line, experiments and
contract tests go through the table. Torch is imported where a loss is called, so that the forms load without it.

Examples
--------
>>> from napari_care_losses.losses.registry import LOSSES
>>> list(LOSSES)[:4]
['laplace', 'fft', 'bandpass', 'fft+bandpass']
>>> LOSSES["bandpass"](sigma_large=8)
Bandpass(sigma_small=0.5, sigma_large=8.0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.errors import ParameterError
from napari_care_losses.losses.adversarial import Adversarial
from napari_care_losses.losses.focal import FocalFrequency, LogFocalFrequency
from napari_care_losses.losses.frequency import Bandpass, Fourier, FourierBandpass
from napari_care_losses.losses.pixelwise import Charbonnier, Laplace, MeanAbsoluteError, MeanSquaredError
from napari_care_losses.losses.pyramid import LaplacianPyramid
from napari_care_losses.losses.structural import MsSsimL1, Sobel, Ssim

if TYPE_CHECKING:
    from napari_care_losses.losses.base import Loss

LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (
        *(Laplace, Fourier, Bandpass, FourierBandpass, MsSsimL1, Ssim, Sobel, Adversarial),
        *(LaplacianPyramid, FocalFrequency, LogFocalFrequency),
        *(MeanAbsoluteError, MeanSquaredError, Charbonnier),
    )
}
"""Every loss by its name, the paper's three first."""


def loss_class(name: str) -> type[Loss]:
    """Return the loss called `name`.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in LOSSES:
        raise ParameterError(f"There is no loss {name!r}; choose one of {', '.join(LOSSES)}.")
    return LOSSES[name]


def loss_title(name: str) -> str:
    """Return the title of a loss, or the name itself where this version does not know the loss."""
    return LOSSES[name].title if name in LOSSES else name
