"""What is done about noise that neighbouring pixels share, which networks take for structure; chosen by measurement.

How the bounds were found: ``docs/explanation/noise.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.images.noise.shared import measure_frames
from napari_care_losses.models.learned_noise import learned_correlation
from napari_care_losses.restoration.engines.treatment import Treatment

if TYPE_CHECKING:
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.noise.shared import SharedNoise
    from napari_care_losses.models.model import ModelCard
    from napari_care_losses.restoration.parameters import RestorationParameters

LEAST, STRONG = 0.15, 0.7
"""Correlation of neighbours from which noise is decorrelated; where it is stronger than the second along both axes,
half resolution is better."""

LEAST_SHARE = 0.025
"""Least standard deviation of the noise that matters, relative to the range of grey levels."""

MOST_EXCESS = 1.35
"""Largest power of fine detail relative to the noise's: of more, the noise that was measured is structure."""

HALVED = "Restored at half resolution: detail finer than 2 pixels is not restored."


def choose_treatment(frames: Frames, card: ModelCard, parameters: RestorationParameters) -> Treatment:
    """Measure the noise of a stack, and choose what is done about it before a model restores it.

    A few frames are read, always the same ones; those that cannot be read are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.library import list_models
    >>> from napari_care_losses.restoration.parameters import RestorationParameters
    >>> rng = np.random.default_rng(0)
    >>> blurred = gaussian_filter(rng.poisson(5, (128, 128)).astype(np.float32), 0.6)
    >>> bundled = next(entry.card for entry in list_models() if entry.bundled)
    >>> print(choose_treatment(Frames(blurred), bundled, RestorationParameters()).note)
    The noise of neighbouring pixels correlates (0.42 along y, 0.42 along x): decorrelated before restoring.
    """
    return treatment_of(measure_frames(frames), card, parameters)


def treatment_of(noise: SharedNoise | None, card: ModelCard, parameters: RestorationParameters) -> Treatment:
    """Choose what is done about the noise of a stack that was measured; the rest is as for `choose_treatment`."""
    wish = parameters.correlated_noise
    if wish == "half":
        return Treatment(halves=True, note=HALVED)
    learned = learned_correlation(card)
    if noise is None or noise.strongest < LEAST + (learned or 0):
        return Treatment()
    if noise.share < LEAST_SHARE or noise.excess > MOST_EXCESS:
        return Treatment()
    found = f"correlates ({noise.along_y:.2f} along y, {noise.along_x:.2f} along x)"
    if not noise.is_alike:
        found = "correlates more in some frames or parts than in others"
    said = f"The noise of neighbouring pixels {found}"
    if wish == "ignore":
        return Treatment(note=f"{said}, and the model may take it for structure: let it be decorrelated.")
    if not noise.is_alike:
        return Treatment(note=f"{said}. It was left as it is: try half resolution.")
    if learned is None:
        return Treatment(
            note=f"{said}. It was left as it is, because the noise that the model learned from is not known: compare "
            "with half resolution."
        )
    if min(noise.along_y, noise.along_x) > STRONG:
        return Treatment(halves=True, note=f"{said}. {HALVED}")
    return Treatment(correlation=noise.correlation, note=f"{said}: decorrelated before restoring.")
