"""Another noisy shot of the same field as the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_care_losses.images.noise.change import changed_share, shows_structure, symmetric_map
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.training.pair_checks import warnings_of
from napari_care_losses.training.targets.base import MAX_CHECKED, Exposures, Target
from napari_care_losses.training.targets.two_shots import LEAST_CHANGED, MOST_CHANGED, TwoShots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters


LEAST_RATIO = 1.25
"""How many times as bright one shot must be as the other for the two to differ in exposure."""


class Shot(Target):
    """A second noisy image of the same field: Noise2Noise (Lehtinen et al. 2018, arXiv:1803.04189)."""

    name: ClassVar[str] = "shot"
    takes_high: ClassVar[bool] = True

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return TwoShots(share, parameters.patch_size, either_way=False)

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        said = warnings_of(pair.low, pair.second, target_is_noisy=True)
        if said or not all(map(shows_structure, (pair.low, pair.second))):
            return said
        changed = changed_share(pair.low, pair.second)
        if changed <= LEAST_CHANGED:
            return []
        if changed > MOST_CHANGED:
            return [
                f"About {changed:.0%} of the structure is another one in the second shot: choose shots of one field."
            ]
        return [f"About {changed:.0%} of the structure changes between the shots: what moves will be blurred."]

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:  # noqa: D102
        gains = [symmetric_map(pair.low, pair.second)[0] for pair in evenly_spaced(pairs, MAX_CHECKED)]
        gain = float(np.median(gains)) if gains else 0.0
        if gain == 0 or 1 / LEAST_RATIO < gain < LEAST_RATIO:
            return []
        return [
            f"The second shot is {gain:.2g} times as bright as the first: its grey levels are brought to the first's."
        ]
