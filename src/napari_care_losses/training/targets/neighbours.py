"""The noisy frames of a movie or z-stack alone: each is predicted from the frames around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_care_losses.images.noise.change import changed_share
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.training.targets.base import MAX_CHECKED, Exposures, Target
from napari_care_losses.training.targets.two_shots import LEAST_CHANGED, MOST_CHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters


class Neighbours(Target):
    """The frame itself, of which the network sees its neighbours only, in training and after it.

    What is the same in all of them is not noise, whatever noise there is, as long as that of one frame tells nothing of
    the next one's: DeepInterpolation (Lecoq et al. 2021, doi:10.1038/s41592-021-01285-2). What a single frame shows,
    and those around it do not, is lost.
    """

    name: ClassVar[str] = "neighbours"
    is_blind: ClassVar[bool] = True

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return _Frame(share, parameters.patch_size)

    def problem(self, pair: Pair) -> str:  # noqa: D102
        changed = _changed(pair)
        if changed <= MOST_CHANGED:
            return ""
        return (
            f"About {changed:.0%} of the structure changes to the next frame: the frames around one do not tell what "
            "it shows. Choose the target 'self', or a movie with more frames a second."
        )

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        if _changed(pair) <= LEAST_CHANGED:
            return []
        return [
            f"More than {LEAST_CHANGED:.0%} of the structure changes to the next frame: what moves will be blurred. "
            "The target 'self' does not blur it."
        ]

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:  # noqa: D102
        shares = [_changed(pair) for pair in evenly_spaced(pairs, MAX_CHECKED)]
        return [f"About {np.median(shares):.0%} of the structure changes from frame to frame."] if shares else []


class _Frame:
    """Patches of an image that are their own target; `PatchSource` puts the neighbours around."""

    def __init__(self, share: Share, patch_size: int) -> None:
        self._size, self._image = patch_size, share.pair.low[share.region]

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        image = self._image[top : top + self._size, left : left + self._size]
        return image, image


def _changed(pair: Pair) -> float:
    """Return the share of the structure that changes to the next frame; 0 where no frame is known."""
    around = () if pair.around is None else pair.around.low
    return changed_share(pair.low, around[len(around) // 2]) if around else 0.0
